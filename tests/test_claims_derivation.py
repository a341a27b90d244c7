"""The verdicts of the claims of Sec. 2 and App. C, pinned."""

import pytest

from nin.companion.claims import derivation as claims
from nin.companion.claims.ledger import Verdict

EXPECTED = {
    "EQ2": (claims.factor_of_the_curvature_term, Verdict.CORRECTED),
    "C24": (claims.kinks_of_relu, Verdict.CORRECTED),
    "C25": (claims.fluctuations_of_the_second_order, Verdict.DIFFERS),
    "C27": (claims.theorem_1, Verdict.CORRECTED),
}


@pytest.mark.parametrize("id", EXPECTED)
def test_verdict(id):
    claim, verdict = EXPECTED[id]
    assert claim.id == id
    assert claim.finding.verdict == verdict


def test_printed_factor_is_excluded():
    found = claims.factor_of_the_curvature_term.finding
    assert abs(found.value - 1) < 5 * found.err
    assert abs(found.value - 0.5) > 30 * found.err


def test_printed_exponent_is_excluded():
    found = claims.theorem_1.finding
    assert abs(found.value + 1) < 5 * found.err
    assert abs(found.value + 0.5) > 100 * found.err


def test_kinks_move_rates_by_tens_of_percent():
    assert 0.05 < claims.kinks_of_relu.finding.value < 1


def test_neglected_fluctuations_exceed_the_kept_ones():
    found = claims.fluctuations_of_the_second_order.finding
    assert found.value - 1 > 10 * found.err
