"""Monte Carlo of batch averages: the exponent, the constants, and where Theorem 1 ends."""

import numpy as np
import pytest

from nin.linear import batch_means as mc
from nin.theory import symbols as s
from nin.theory import theorem
from nin.theory import two_layer as linear

# 16 fits and 112 variances at 5 standard errors: a false alarm in 1e4 runs at most.
FAR = 5


@pytest.fixture(scope="module")
def scalings():
    return {law: mc.measure_scaling(law, (1, 2, 3, 4), seed=11) for law in mc.LAWS}


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("law", mc.LAWS)
def test_variance_falls_as_one_over_the_batch_size(scalings, law, n):
    fit = scalings[law][n]
    assert abs(fit.exponent + 1) < FAR * fit.exponent_err
    assert abs(fit.exponent + 0.5) > 10 * fit.exponent_err  # the printed root is excluded


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("law", mc.LAWS)
def test_variance_has_the_size_of_theorem_1(scalings, law, n):
    fit = scalings[law][n]
    stated = mc.predicted_variance(theorem.THEOREM.corrected, law, n, fit.sizes)
    assert np.all(np.abs(fit.variance - stated) < FAR * fit.err)


@pytest.mark.parametrize("law", mc.LAWS)
def test_laws_have_the_moments_that_they_claim(law):
    eps = mc.LAWS[law].draw(np.random.default_rng(3), (400_000,))
    for order in (1, 2, 3, 4):
        sample = eps**order
        error = sample.std() / len(sample) ** 0.5
        # 1e-12: Rademacher noise has no scatter in its even powers
        assert abs(sample.mean() - float(mc.moment(law, order))) < FAR * error + 1e-12


def test_cauchy_noise_does_not_average_out():
    width = [
        mc.quartile_width(mc.batch_means("cauchy", (1,), size, 4000, seed=1)[0])
        for size in (10, 1000)
    ]
    # The quartile width of 4000 Cauchy draws has an error of 3.5 %; of a ratio, 5 %.
    assert width[1] / width[0] == pytest.approx(1, abs=0.25)


def test_batches_of_a_fixed_node_vary_less():
    values = np.random.default_rng(0).normal(size=60)
    for size in (1, 15, 45, 60):
        found = mc.fixed_batch_means(values, size, 20_000, seed=4)
        stated = mc.fixed_variance(values, size)
        # 5 standard errors of a variance; a mean of a few values is no more peaked than Gaussian
        assert found.var() == pytest.approx(stated, rel=FAR * (2 / 20_000) ** 0.5, abs=1e-20)
    with pytest.raises(ValueError, match="from 1 to 60"):
        mc.fixed_batch_means(values, 61, 10, seed=0)


@pytest.mark.parametrize("batch_size", [8, 64])
def test_neglected_ratio_is_the_formula_for_every_batch(batch_size):
    weights = {s.w1: 0.8, s.w0: 0.3, s.u: -0.5, s.M: 1.0, s.sigma_x: 1.3}
    stated = float(linear.FN2.corrected.rhs.subs({**weights, s.sigma_eps: 4.0}))
    found = mc.measure_neglected(weights, 4.0, batch_size, batches=20_000)
    # Each width has a relative error of sqrt((kurtosis - 1) / 4 n), kurtosis at most 3 + 12/|B|.
    error = (2 * (2 + 12 / batch_size) / (4 * 20_000)) ** 0.5
    assert abs(found / stated - 1) < FAR * error


def test_same_seed_same_averages():
    one, again = (mc.batch_means("laplace", (1, 2), 7, 50, seed=5) for _ in range(2))
    assert np.array_equal(one, again)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="a law among"):
        mc.batch_means("lorentz", (1,), 10, 10, seed=0)
    with pytest.raises(ValueError, match="batches >= 1"):
        mc.batch_means("gaussian", (0,), 10, 10, seed=0)
