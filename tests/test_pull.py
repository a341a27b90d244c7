"""One step of w_ni: the exact gradient, the prediction, and how well they agree."""

import math

import numpy as np
import pytest
import torch

from nin import curvature
from nin.curvature.local import LocalLoss
from nin.networks.attachment import attach
from nin.networks.losses import Loss
from nin.networks.models import MLP
from nin.networks.seeds import generator


def setting(activation="tanh", width=12, samples=40, seed=0, loss="ce"):
    g = generator(seed, "onestep tests")
    model = MLP(10, width, 1, 3, activation=activation, seed=seed).double()
    x = torch.randn(samples, 10, generator=g).double()
    y = torch.randint(3, (samples,), generator=g)
    w = torch.randn(width, generator=g).double() / math.sqrt(10)
    return LocalLoss(model, "layers.0", x, y, Loss(loss).values), w


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_gradient_is_that_of_the_attached_node(activation):
    local, w = setting(activation)
    node = attach(local.model, "layers.0", sigma_eps=1.0).double()
    node.w_ni.data.copy_(w)
    node.eps = torch.randn(len(local.x), generator=generator(1, "eps")).double()
    local.model.train()
    local.loss(local.model(local.x), local.y).mean().backward()
    # double precision: rounding only
    assert torch.allclose(curvature.niw_gradient(local, w, node.eps), node.w_ni.grad, atol=1e-12)


@pytest.mark.parametrize("activation", ["tanh", "softplus"])
def test_slope_is_one_and_not_one_half(activation):
    local, w = setting(activation)
    predicted = curvature.predicted_gradient(local, w, 0.05)
    found = curvature.slope(curvature.sampled_gradients(local, w, 0.05, draws=300), predicted)
    assert found.sigmas_from(1) < 4.5  # false alarm: below 1e-5; order four: 3e-4
    assert found.sigmas_from(0.5) > 10
    half = curvature.predicted_gradient(local, w, 0.05, "printed")
    assert torch.allclose(2 * half, predicted)
    with pytest.raises(ValueError, match="not 'as printed'"):
        curvature.predicted_gradient(local, w, 0.05, "as printed")


def test_without_mirror_images_the_mean_is_the_same_and_the_scatter_larger():
    local, w = setting()
    predicted = curvature.predicted_gradient(local, w, 0.3)
    found = {
        mirrored: curvature.slope(
            curvature.sampled_gradients(local, w, 0.3, draws=400, antithetic=mirrored), predicted
        )
        for mirrored in (True, False)
    }
    gap = abs(found[True].value - found[False].value)
    assert gap < 4.5 * found[False].err
    assert found[False].err > 2 * found[True].err


@pytest.mark.parametrize("noise", ["gaussian", "uniform", "rademacher"])
def test_drift_is_the_same_for_every_law_of_unit_variance(noise):
    local, w = setting()
    predicted = curvature.predicted_gradient(local, w, 0.05)
    gradients = curvature.sampled_gradients(local, w, 0.05, draws=200, noise=noise, seed=3)
    found = curvature.slope(gradients, predicted)
    # Rademacher noise has eps^2 = 1 and so no scatter; its only error is order four, 1e-3 here.
    assert abs(found.value - 1) < 4.5 * found.err + 2e-3


def test_quadrature_is_the_mean_of_many_draws():
    local, w = setting()
    exact = curvature.mean_gradient(local, w, 1.5)
    sampled = curvature.sampled_gradients(local, w, 1.5, draws=800)
    error = (sampled.mean(0) - exact) / (sampled.std(0) / len(sampled) ** 0.5)
    assert error.abs().max() < 5  # of 12 components; false alarm below 1e-5


def test_quadrature_is_that_of_gauss_and_hermite_where_all_is_smooth():
    local, w = setting("softplus")
    at, weights = np.polynomial.hermite_e.hermegauss(60)
    gauss = sum(
        weight * curvature.niw_gradient(local, w, torch.tensor(1.5 * node).double())
        for node, weight in zip(at, weights / weights.sum(), strict=True)
    )
    # what lies beyond the reach: 3e-12 of the noise, times its square
    assert torch.allclose(curvature.mean_gradient(local, w, 1.5), gauss, rtol=1e-9, atol=1e-12)


def test_strong_noise_saturates_bounded_units():
    pull = {}
    for activation in ("relu", "tanh"):
        local, w = setting(activation, loss="mse")
        weak, strong = (
            float(curvature.mean_gradient(local, w, sigma, nodes=300).norm()) for sigma in (10, 40)
        )
        pull[activation] = strong / weak
    # Without a bound the loss is quadratic in strong noise; with one, the pull stops growing.
    assert pull["relu"] == pytest.approx(16, rel=0.1)  # the data are felt too
    assert pull["tanh"] < 2


@pytest.mark.parametrize("activation", ["tanh", "softplus"])
def test_error_is_the_fourth_order(activation):
    local, w = setting(activation)
    missed = {}
    for sigma in (0.02, 0.04):
        predicted = curvature.predicted_gradient(local, w, sigma)
        measured = curvature.mean_gradient(local, w, sigma)
        fourth = curvature.next_order(local, w, sigma)
        missed[sigma] = curvature.missed_part(measured, predicted)
        # The sixth order is sigma^2, or 2e-3, of the fourth.
        assert torch.allclose(measured - predicted, fourth, atol=0.02 * float(fourth.norm()))
    assert math.log2(missed[0.04] / missed[0.02]) == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize("loss", ["ce", "mse"])
@pytest.mark.parametrize("depth", [1, 2])
def test_kinks_complete_the_prediction_for_relu(loss, depth):
    g = generator(5, "kinks")
    model = MLP(10, 30, depth, 3, activation="relu", seed=2).double()
    x, y = torch.randn(3000, 10, generator=g).double(), torch.randint(3, (3000,), generator=g)
    w = torch.randn(30, generator=g).double() / math.sqrt(10)
    local = LocalLoss(model, "layers.0", x, y, Loss(loss).values)
    measured = curvature.mean_gradient(local, w, 0.2, nodes=300)
    predicted = curvature.predicted_gradient(local, w, 0.2)
    without = curvature.missed_part(measured, predicted)
    completed = curvature.missed_part(measured, predicted + curvature.kinks(local, w, 0.2))
    # What is left: the kink of the next layer if there is one, and crossings by strong noise.
    assert completed < (0.06 if depth == 1 else 0.5) * without
    assert without > 0.1


def test_odd_and_even_fluctuations_are_kick_and_footnote_2():
    local, w = setting(samples=60)
    sigma = 0.05
    odd, even = curvature.fluctuations(local, w, sigma, draws=1500)
    kick = sigma * float(local.gradient().square().sum(1).mean().sqrt()) / len(local.x) ** 0.5
    curved = float(local.product(w).square().sum(1).mean().sqrt())
    neglected = math.sqrt(2) * sigma**2 * curved / len(local.x) ** 0.5
    # A width of 1500 draws has an error of 2 % at most (one effective dimension); 5 of them.
    assert odd == pytest.approx(kick, rel=0.1)
    assert even == pytest.approx(neglected, rel=0.1)


def test_bad_input_is_named():
    local, w = setting()
    with pytest.raises(ValueError, match="sigma_eps > 0 and draws >= 1"):
        curvature.sampled_gradients(local, w, 0.0, draws=3)
    with pytest.raises(ValueError, match="at least 2 draws"):
        curvature.slope(w.unsqueeze(0), w)
    with pytest.raises(ValueError, match="activation='relu' only"):
        curvature.kinks(local, w, 0.1)
    relu, _ = setting("relu")
    last = LocalLoss(relu.model, "layers.1", relu.x, relu.y, relu.loss)
    with pytest.raises(ValueError, match="last layer"):
        curvature.kinks(last, torch.ones(3).double(), 0.1)
