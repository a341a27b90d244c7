"""The verdicts of the claims of Sec. 4 and App. D, pinned with their numbers."""

from __future__ import annotations

import pytest

from nin.companion.claims import timescales as claims
from nin.companion.claims.ledger import Claim, Verdict

VERDICTS = {
    "C6-LIN": (claims.exponential_with_one_time, Verdict.CORRECTED, 0.35, 0.1),
    "C28-LIN": (claims.rates_by_traces, Verdict.CORRECTED, 2.0, 0.02),
    "C29": (claims.ratio_of_times, Verdict.REPRODUCED, 1.0, 0.01),
    "C30": (claims.langevin_limit, Verdict.REPRODUCED, 1.0, 0.1),
}


@pytest.mark.parametrize("id", VERDICTS)
def test_verdict_and_number(id: str) -> None:
    claim, verdict, value, tolerance = VERDICTS[id]
    assert isinstance(claim, Claim) and claim.id == id
    assert claim.finding.verdict == verdict, claim.finding
    assert abs(claim.finding.value - value) < tolerance  # the tolerances of the claims' own tests
