"""The ledger: what each claim's verdict is, and that a verdict cannot be entered by hand."""

from __future__ import annotations

import math

import pytest

from nin.__main__ import main
from nin.companion.claims.ledger import Finding, Verdict, claim, ledger

PINNED = {
    "C1-LIN": Verdict.REPRODUCED,
    "C1-NET": Verdict.CORRECTED,
    "C2-CE": Verdict.REPRODUCED,
    "C2-MSE": Verdict.CORRECTED,
    "C3": Verdict.CORRECTED,
    "C4": Verdict.CORRECTED,
    "C5": Verdict.DIFFERS,
    "C6-CE": Verdict.DIFFERS,
    "C6-LIN": Verdict.CORRECTED,
    "C7": Verdict.REPRODUCED,
    "C8": Verdict.REPRODUCED,
    "C9": Verdict.REPRODUCED,
    "C10": Verdict.REPRODUCED,
    "C10-NET": Verdict.REPRODUCED,
    "C11": Verdict.CORRECTED,
    "C11-NET": Verdict.CORRECTED,
    "C12": Verdict.REPRODUCED,
    "C12-CE": Verdict.CORRECTED,
    "C13": Verdict.CORRECTED,
    "C14-CE": Verdict.REPRODUCED,
    "C14-LIN": Verdict.REPRODUCED,
    "C14-MSE": Verdict.CORRECTED,
    "C15": Verdict.DIFFERS,
    "C16": Verdict.CORRECTED,
    "C17-CE": Verdict.CORRECTED,
    "C17-LIN": Verdict.CORRECTED,
    "C18-CE": Verdict.CORRECTED,
    "C18-MSE": Verdict.CORRECTED,
    "C19": Verdict.DIFFERS,
    "C20": Verdict.REPRODUCED,
    "C21-LIN": Verdict.CORRECTED,
    "C21-NET": Verdict.CORRECTED,
    "C22": Verdict.CORRECTED,
    "C23": Verdict.CORRECTED,
    "C24": Verdict.CORRECTED,
    "C25": Verdict.DIFFERS,
    "C26": Verdict.DIFFERS,
    "C27": Verdict.CORRECTED,
    "C28-LIN": Verdict.CORRECTED,
    "C29": Verdict.REPRODUCED,
    "C30": Verdict.REPRODUCED,
    "C31": Verdict.REPRODUCED,
    "C32-CE": Verdict.REPRODUCED,
    "C33": Verdict.REPRODUCED,
    "EQ2": Verdict.CORRECTED,
}
"""The verdicts as of the committed code and records: a change is news, and belongs in the log."""


@pytest.mark.parametrize("id", PINNED)
def test_verdict(id):
    [found] = [c for c in ledger() if c.id == id]
    assert found.finding.verdict == PINNED[id], found.finding


def test_every_claim_is_pinned():
    assert {c.id for c in ledger()} == set(PINNED)


def test_each_claim_names_a_page_of_the_book(request):
    book = request.config.rootpath / "book"
    for c in ledger():
        assert list(book.glob(f"{c.page}.*")), f"{c.id} names the page {c.page}, which is not there"


def test_ids_are_in_reading_order():
    ids = [c.id for c in ledger()]
    assert ids.index("C20") < ids.index("C24") < ids.index("EQ2")


def test_an_id_is_entered_once():
    with pytest.raises(ValueError, match="C20 is already in the ledger"):
        claim("C20", "again", "here", "index")(lambda: ledger()[0].finding)


@pytest.mark.parametrize(("value", "err", "n"), [(math.nan, 0, 1), (1, -1, 1), (1, 0, 0)])
def test_a_finding_needs_a_usable_number(value, err, n):
    with pytest.raises(ValueError, match="a finding needs"):
        Finding(Verdict.REPRODUCED, "says", value, err, n, "unit")


def test_the_command_line_lists_the_same_verdicts(capsys):
    assert main(["claims", "C20"]) == 0
    assert "reproduced" in capsys.readouterr().out


def test_an_unknown_claim_is_an_error(capsys):
    assert main(["claims", "C999"]) == 2
    assert "no claim C999" in capsys.readouterr().err
