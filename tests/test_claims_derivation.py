"""The numbers of the claims of Sec. 2 and App. C."""

from nin.companion.claims import derivation as claims


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
