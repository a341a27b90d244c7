"""The verdicts on a page are those of the ledger."""

from __future__ import annotations

import pytest

from nin.companion.claims.ledger import ledger
from nin.companion.verdicts import all_verdicts, verdicts_of


def test_a_page_s_table_has_a_row_of_four_cells_for_each_of_its_claims_and_each_named_one() -> None:
    claims = {c.id: c for c in ledger()}
    rows = verdicts_of("figures/fig3_phases_ce", "C19").data.split("\n")[2:]
    wanted = [c.id for c in claims.values() if c.page == "figures/fig3_phases_ce" or c.id == "C19"]
    assert len(wanted) > 3
    for row, id in zip(rows, wanted, strict=True):
        cells = row.replace(r"\|", "").strip("|").split("|")
        assert len(cells) == 4
        assert f'#claim-{id}"' in cells[0] and f"**{claims[id].finding.verdict}**" in cells[2]


def test_a_name_that_no_claim_has_is_refused() -> None:
    with pytest.raises(ValueError, match="no claim has the id or the page C999"):
        verdicts_of("C999")


def test_the_ledger_s_table_has_an_anchor_and_the_worst_cell_of_each_claim() -> None:
    rows = all_verdicts().data.split("\n")[2:]
    for row, c in zip(rows, ledger(), strict=True):
        assert row.startswith(f'| <a id="claim-{c.id}"')
        assert c.finding.worst is None or str(c.finding.worst).rsplit(": ")[-1] in row
