"""The page of claims: its filter in a browser, its links, its figure."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from claims_filter import HTML, STYLE
from js_modules import bundle, sources
from playwright.sync_api import Browser, Page

from nin.companion.claims.finding import Verdict
from nin.companion.claims.ledger import Claim, ledger
from nin.companion.figures.ledger_dots import VERDICT_STYLES, draw_ledger
from nin.companion.verdicts import all_verdicts

BOOK = Path(__file__).resolve().parents[1] / "book"


def row(c: Claim) -> str:
    """A row of the ledger's table as the book's builder makes it: its first cell is HTML."""
    [line] = [x for x in all_verdicts().data.split("\n") if f'id="claim-{c.id}"' in x]
    return f"<tr><td>{line.split('|')[1].split('<br>')[0]}</td><td>{c.words}</td></tr>"


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Page:
    """The filter and the table, opened from a file."""
    form = HTML.format(style=STYLE.read_text("utf8"), script=bundle("filter", sources()))
    table = f"<table>{''.join(map(row, ledger()))}</table>"
    (tmp_path / "claims.html").write_text(f"<!doctype html>{form}{table}", encoding="utf8")
    page = browser.new_page()
    page.goto((tmp_path / "claims.html").as_uri())
    return page


def shown(page: Page) -> set[str]:
    return set(page.locator("tr:visible a").all_inner_texts())


def test_all_claims_are_shown_first_and_the_fields_say_how_many_each_has(page: Page) -> None:
    assert shown(page) == {c.id for c in ledger()}
    counts = Counter(c.finding.verdict for c in ledger())
    options = page.locator("select[name=verdict] option").all_inner_texts()
    assert set(options) == {"all", *(f"{verdict} ({n})" for verdict, n in counts.items())}


def test_fields_narrow_the_table_together_and_say_so(page: Page) -> None:
    page.get_by_label("Verdict").select_option("reproduced in part")
    page.get_by_label("Section").select_option("Sec. 1")
    page.get_by_label("Figure").select_option("Fig. 1")
    asked = {"Sec. 1", "Fig. 1"}
    wanted = {
        c.id for c in ledger() if c.finding.verdict == Verdict.PARTLY and asked <= {*c.places}
    }
    assert wanted and shown(page) == wanted
    said = f"{len(wanted)} of {len(ledger())} claims: “reproduced in part”, “Sec. 1”, “Fig. 1”"
    assert page.locator("output[aria-live=polite]").inner_text() == said


def test_words_are_found_and_the_keyboard_alone_shows_all_again(page: Page) -> None:
    page.get_by_label("Words").press_sequentially("catapult Phase")
    words = {c.id: c.words.lower() for c in ledger()}
    assert shown(page) == {
        id for id, text in words.items() if "catapult" in text and "phase" in text
    }
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_function(f"document.querySelectorAll('tr:not([hidden])').length == {len(words)}")


def test_a_link_to_a_claim_that_is_filtered_out_shows_it(page: Page) -> None:
    page.get_by_label("Verdict").select_option("differs")
    assert "C20" not in shown(page)
    page.evaluate("location.hash = '#claim-C20'")
    page.wait_for_function("!document.querySelector('#claim-C20').closest('tr').hidden")


@pytest.mark.parametrize("width", [390, 1200])
def test_on_a_phone_a_claim_s_cells_lie_one_below_the_other_and_are_still_a_table(
    page: Page, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.add_style_tag(path=BOOK / "_static" / "nin.css")
    page.evaluate(
        "for (const row of document.querySelectorAll('tr')) row.insertCell().textContent = 'found'"
    )
    page.get_by_label("Verdict").select_option("differs")
    assert shown(page) == {c.id for c in ledger() if c.finding.verdict == "differs"}
    boxes = "row => [...row.cells].map(cell => cell.getBoundingClientRect()).map(r => [r.x, r.y])"
    cells = page.locator("tr:visible").first.evaluate(boxes)
    lefts, tops = ({corner[i] for corner in cells} for i in (0, 1))
    assert (len(lefts), len(tops)) == ((1, 3) if width == 390 else (3, 1))
    read = page.locator("table").aria_snapshot()
    assert read.startswith("- table:") and "- row" in read and "- cell" in read


def labels(page: str) -> set[str]:
    """Names of the figures and sections of a notebook."""
    found = set()
    for cell in json.loads((BOOK / f"{page}.ipynb").read_text(encoding="utf8"))["cells"]:
        found.add(cell["metadata"].get("mystnb", {}).get("figure", {}).get("name"))
        lines = "".join(cell["source"]).split("\n")
        found |= {line[1:-2] for line in lines if line.startswith("(") and line.endswith(")=")}
    return found


def test_each_claim_is_shown_at_a_label_of_its_page() -> None:
    for c in ledger():
        label = c.shown.partition("#")[2]
        assert not label or label in labels(c.page), f"{c.id} is shown at {c.shown}"


def test_the_figure_has_a_point_over_the_paper_s_number_for_each_claim_with_one() -> None:
    fig, ax = plt.subplots()
    draw_ledger(ax, ledger())
    drawn = {text.get_text().split()[-1] for text in ax.get_yticklabels()}
    found = {c.id: c.finding for c in ledger() if c.finding.verdict in VERDICT_STYLES}
    assert drawn == {id for id, f in found.items() if f.expected}
    ratios = {id: f.value / f.expected for id, f in found.items() if f.expected}
    points = [line.get_xdata() for line in ax.lines if line.get_linestyle() == "None"]
    centres = np.concatenate([np.asarray(x, dtype=float) for x in points])
    for ratio in ratios.values():
        assert abs(centres / ratio - 1).min() < 1e-9  # rounding
    plt.close(fig)
    # The paper prints half of the curvature term, and a root in place of a variance.
    assert [ratios["EQ2"], ratios["C27"]] == pytest.approx([2, 2], rel=0.02)
