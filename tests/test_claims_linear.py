"""The verdicts of the claims of Sec. 3, pinned."""

from __future__ import annotations

import pytest

from nin.companion.claims import linear_model as claims
from nin.companion.claims.ledger import Claim, Verdict

VERDICTS = {
    "C1-LIN": (claims.four_phases_linear, Verdict.REPRODUCED),
    "C9": (claims.random_walk, Verdict.REPRODUCED),
    "C10": (claims.exponential_decay, Verdict.REPRODUCED),
    "C11": (claims.three_borders, Verdict.CORRECTED),
    "C12": (claims.catapult_linear, Verdict.REPRODUCED),
    "C13": (claims.driver, Verdict.CORRECTED),
    "C14-LIN": (claims.divergence_linear, Verdict.REPRODUCED),
    "C16": (claims.fig2_top, Verdict.CORRECTED),
    "C17-LIN": (claims.relaxation_linear, Verdict.CORRECTED),
    "C21-LIN": (claims.measured_border, Verdict.CORRECTED),
    "C26": (claims.other_outcomes, Verdict.DIFFERS),
}


@pytest.mark.parametrize("id", VERDICTS)
def test_verdict(id: str) -> None:
    claim, verdict = VERDICTS[id]
    assert isinstance(claim, Claim) and claim.id == id
    assert claim.finding.verdict == verdict, claim.finding
