"""The numbers of the claims of Sec. 4 and App. D, pinned."""

from __future__ import annotations

import pytest

from nin.companion.claims import timescales as claims
from nin.companion.claims.ledger import Claim

NUMBERS = {
    claims.exponential_with_one_time: (0.35, 0.1),
    claims.rates_by_traces: (2.0, 0.02),
    claims.ratio_of_times: (1.0, 0.01),
    claims.langevin_limit: (1.0, 0.1),
}


@pytest.mark.parametrize("claim", NUMBERS, ids=lambda claim: claim.id)
def test_number(claim: Claim) -> None:
    value, tolerance = NUMBERS[claim]
    assert abs(claim.finding.value - value) < tolerance  # the tolerances of the claims' own tests
