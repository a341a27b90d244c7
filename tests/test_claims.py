"""The ledger: what each claim's verdict is, and that a verdict cannot be entered by hand."""

from __future__ import annotations

import math

import pytest

from nin.__main__ import main
from nin.companion.claims.finding import Cell, Finding, Verdict, judge
from nin.companion.claims.ledger import claim, ledger

PINNED = {
    "C1-LIN": Verdict.PARTLY,
    "C1-NET": Verdict.PARTLY,
    "C2-CE": Verdict.REPRODUCED,
    "C2-MSE": Verdict.CORRECTED,
    "C3": Verdict.PARTLY,
    "C4": Verdict.PARTLY,
    "C5": Verdict.DIFFERS,
    "C6-CE": Verdict.DIFFERS,
    "C6-LIN": Verdict.CORRECTED,
    "C7": Verdict.PARTLY,
    "C8": Verdict.PARTLY,
    "C9": Verdict.REPRODUCED,
    "C10": Verdict.REPRODUCED,
    "C10-NET": Verdict.REPRODUCED,
    "C11": Verdict.PARTLY,
    "C11-NET": Verdict.PARTLY,
    "C12": Verdict.CORRECTED,
    "C12-CE": Verdict.CORRECTED,
    "C12-SLOW": Verdict.PARTLY,
    "C13": Verdict.PARTLY,
    "C14-CE": Verdict.REPRODUCED,
    "C14-LIN": Verdict.REPRODUCED,
    "C14-MSE": Verdict.CORRECTED,
    "C15": Verdict.REPRODUCED,
    "C16": Verdict.PARTLY,
    "C17-CE": Verdict.CORRECTED,
    "C17-DEEP": Verdict.CORRECTED,
    "C17-FIG1": Verdict.CORRECTED,
    "C17-LIN": Verdict.PARTLY,
    "C17-MSE": Verdict.DIFFERS,
    "C18-CE": Verdict.CORRECTED,
    "C18-MSE": Verdict.CORRECTED,
    "C19": Verdict.PARTLY,
    "C20": Verdict.REPRODUCED,
    "C20-DEEP": Verdict.PARTLY,
    "C21-LIN": Verdict.CORRECTED,
    "C21-NET": Verdict.PARTLY,
    "C22": Verdict.PARTLY,
    "C23": Verdict.CORRECTED,
    "C24": Verdict.CORRECTED,
    "C25": Verdict.PARTLY,
    "C26": Verdict.PARTLY,
    "C27": Verdict.CORRECTED,
    "C28-LIN": Verdict.CORRECTED,
    "C28-NET": Verdict.PARTLY,
    "C29": Verdict.REPRODUCED,
    "C30": Verdict.REPRODUCED,
    "C31": Verdict.PROTOCOL,
    "C32-CE": Verdict.REPRODUCED,
    "C32-DEEP": Verdict.PARTLY,
    "C33": Verdict.REPRODUCED,
    "C34": Verdict.CORRECTED,
    "C35": Verdict.PARTLY,
    "C36": Verdict.PARTLY,
    "C37": Verdict.PARTLY,
    "C38": Verdict.DIFFERS,
    "C39": Verdict.PARTLY,
    "C39-NET": Verdict.PARTLY,
    "C40-LIN": Verdict.REPRODUCED,
    "C40-NET": Verdict.NOT_SEEN,
    "C41": Verdict.PARTLY,
    "C43": Verdict.NOT_SEEN,
    "C44": Verdict.NOT_SEEN,
    "C45": Verdict.PARTLY,
    "C46": Verdict.PARTLY,
    "C47": Verdict.PARTLY,
    "C48": Verdict.PARTLY,
    "EQ2": Verdict.CORRECTED,
    "FN3": Verdict.CORRECTED,
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


@pytest.mark.parametrize("id", sorted(PINNED))
def test_every_claim_states_the_grid_over_which_it_was_tested(id):
    [found] = [c.finding for c in ledger() if c.id == id]
    assert found.grid
    assert found.proof or found.worst in found.cells


SEEDS_3 = {"n": 3, "err": 0.1}


def cells(*outcomes):
    """Cells of values (holds, mended) at K = 1, 2, ..."""
    return [
        Cell({"K": K, "loss": "ce"}, value, holds=holds, mended=mended, **SEEDS_3)
        for K, (value, holds, mended) in enumerate(outcomes, 1)
    ]


HOLDS, MENDED, FAILS = (1.0, True, False), (2.0, False, True), (1.5, False, False)


@pytest.mark.parametrize(
    ("outcomes", "verdict", "if_it_may"),
    [
        ([HOLDS, HOLDS], Verdict.REPRODUCED, Verdict.REPRODUCED),
        ([HOLDS, MENDED], Verdict.CORRECTED, Verdict.REPRODUCED),
        ([HOLDS, FAILS], Verdict.PARTLY, Verdict.REPRODUCED),
        ([MENDED, FAILS], Verdict.PARTLY, Verdict.NOT_SEEN),
        ([FAILS, FAILS], Verdict.DIFFERS, Verdict.NOT_SEEN),
    ],
)
def test_the_verdict_is_over_the_whole_grid(outcomes, verdict, if_it_may):
    assert Finding.over(cells(*outcomes), "says", "unit").verdict is verdict
    assert Finding.over(cells(*outcomes), "says", "unit", may=True).verdict is if_it_may


def test_the_worst_cell_is_one_that_fails_before_one_that_is_far_off():
    found = Finding.over(cells(HOLDS, MENDED, FAILS), "says", "unit")
    assert str(found.worst) == "K 3, loss ce: 1.5 ± 0.1"
    far = [(x, True, False) for x in (0.4, 1.0, 2.0)]
    worst = {s: Finding.over(cells(*far), "", "", stated=s).worst.value for s in (1, 0, math.inf)}
    assert worst == {1: 0.4, 0: 2.0, math.inf: 0.4}  # by ratio, by size, the least


def test_the_grid_s_words_are_those_of_the_cells():
    several = cells(*[HOLDS] * 5)
    assert Finding.over(several, "", "").grid == "K 1 to 5 (5 values); loss ce; 3 seeds each"
    other = Cell({"K": 1, "loss": "mse"}, 1.0, 0.0, 2, holds=True)
    apart = Cell({"eta": 0.1}, 1.0, 0.0, 3, holds=True)
    assert Finding.over([*several[:2], apart], "", "").grid == (
        "K 1, 2; loss ce; and eta 0.1; 3 seeds each"
    )
    few = Finding.over([*several[:2], other], "", "", counted="draws")
    assert few.grid == "K 1, 2; loss ce, mse (3 of 4 combinations); 2 to 3 draws each"
    assert few.n == 2
    assert Finding(Verdict.REPRODUCED, "", 0, 0, 1, "", proof="SymPy").grid == "all (SymPy)"


def test_windows_of_one_seed_are_no_independent_runs():
    """Five cells of the same three seeds are three runs, and no more certain than one cell."""
    found = Finding.over(cells(*[HOLDS] * 5), "", "")
    assert (found.n, found.err) == (3, pytest.approx(0.1))


def test_no_cell_is_no_verdict():
    with pytest.raises(ValueError, match="no cell, no verdict"):
        judge([])


@pytest.mark.parametrize(("value", "err", "n"), [(math.nan, 0, 1), (1, -1, 1), (1, 0, 0)])
def test_a_cell_needs_a_usable_number(value, err, n):
    with pytest.raises(ValueError, match="a cell needs"):
        Cell({}, value, err, n, holds=True)


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
