"""A fixed NIN in the linear model: least squares, and what the noise is worth."""

from __future__ import annotations

import numpy as np
import pytest

from nin.linear.fixed_noise import fit_fixed_noise, least_squares

SETS = 20_000


def test_the_weights_are_those_of_numpy_s_least_squares() -> None:
    x, eps, r = np.random.default_rng(0).standard_normal((3, 6, 9)) * [[[1]], [[30]], [[2]]]
    for found, *row in zip(least_squares(x, eps, r), x, eps, r, strict=True):
        expected = np.linalg.lstsq(np.stack(row[:2], 1), row[2])[0]
        # normal equations lose the square of a condition number of about 30, of 16 digits
        np.testing.assert_allclose(found, expected, rtol=1e-11)


@pytest.mark.parametrize(("m", "s", "sigma_eps"), [(8, 0.3, 1.0), (40, 2.0, 10.0)])
def test_noise_is_worth_what_is_left_to_explain(m: int, s: float, sigma_eps: float) -> None:
    found = fit_fixed_noise(SETS, m, s, sigma_eps)
    # Exact at any m: by the mean of an inverse Wishart matrix of two features, and that of one
    # over a beta variable, 1 less the squared correlation of the two.
    for values, expected in ((found.weight**2, m / (m - 3)), (found.worth, (m - 1) / (m - 3))):
        err = values.std() / SETS**0.5
        assert abs(values.mean() - expected) < 4.5 * err  # false alarm: below 1e-5
        assert err < 0.05
    assert abs(found.weight.mean()) < 4.5 * found.weight.std() / SETS**0.5


def test_the_strength_of_the_noise_and_of_the_rest_drop_out() -> None:
    one, other = fit_fixed_noise(50, 20, 1.0, 1.0), fit_fixed_noise(50, 20, 0.25, 8.0)
    np.testing.assert_allclose(one.weight, other.weight, rtol=1e-10)  # the same draws: rounding
    np.testing.assert_allclose(one.worth, other.worth, rtol=1e-10)


@pytest.mark.parametrize(
    "bad", [(0, 9, 1.0, 1.0), (5, 3, 1.0, 1.0), (5, 9, 0.0, 1.0), (5, 9, 1.0, -1.0)]
)
def test_what_cannot_be_fitted_is_refused(bad: tuple[int, int, float, float]) -> None:
    with pytest.raises(ValueError, match="m >= 4"):
        fit_fixed_noise(*bad)
