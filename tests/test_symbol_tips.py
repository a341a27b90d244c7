"""A symbol says on hover what the notation says it is."""

from __future__ import annotations

import re
from pathlib import Path

import symbol_tips
from symbol_tips import bare, meanings

BOOK = Path(__file__).resolve().parents[1] / "book"
NOTATION = (BOOK / symbol_tips.NOTATION).read_text(encoding="utf8")


def test_a_symbol_is_one_however_it_is_typed() -> None:
    assert bare(r"w_{\rm NI}") == bare(r"w_\mathrm{NI}") == "w_NI"


def test_each_symbol_longer_than_a_letter_has_its_row_and_no_explanation_has_tex() -> None:
    told = meanings(NOTATION)
    assert len(told) > 30 and r"\sigma_\epsilon" in told and "K" in told
    assert not {symbol for symbol in told if re.fullmatch("[A-JL-Za-z]", symbol)}
    assert not {symbol: says for symbol, says in told.items() if "\\" in says or "$" in says}


def test_no_symbol_has_two_rows() -> None:
    rows = [symbols for symbols, _ in symbol_tips.ROW.findall(NOTATION)]
    symbols = [symbol for row in rows for symbol in re.split(r",\\ ", row)]
    assert len(symbols) == len(set(symbols))


def test_a_page_shows_the_meaning(built_book: Path) -> None:
    page = (built_book / "figures" / "fig3_phases_ce.html").read_text(encoding="utf8")
    assert re.search(r'<abbr title="standard deviation of ϵ[^"]*"><span class="math', page)
    assert re.search(r'<abbr title="norm of: noise injection weights[^"]*"><span class="math', page)
