"""The pull on w_ni for one batch: quadratic losses, smooth networks, kinks, the logarithm."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from nin import curvature
from nin.curvature import pull
from nin.curvature.local import LocalLoss
from nin.networks.losses import Loss
from nin.networks.models import MLP
from nin.networks.seeds import generator


def setting(
    activation: str, loss: str = "ce", depth: int = 2, width: int = 12, samples: int = 40
) -> tuple[LocalLoss, Tensor]:
    """A local loss in double precision, and noise weights."""
    g = generator(0, "probe tests")
    model = MLP(10, width, depth, 3, activation=activation, seed=1).double()
    x = torch.randn(samples, 10, generator=g).double()
    y = torch.randint(3, (samples,), generator=g)
    w = torch.randn(width, generator=g).double() / math.sqrt(10)
    return curvature.local_loss(model, "layers.0", x, y, Loss(loss)), w


@pytest.mark.parametrize("layer", ["layers.0", "layers.1", "layers.2"])
def test_the_tail_of_a_network_has_the_same_local_loss(layer: str) -> None:
    g = generator(0, "tail")
    model = MLP(5, 7, 2, 3, activation="gelu").double()
    x, y = torch.randn(6, 5, generator=g).double(), torch.randint(3, (6,), generator=g)
    whole = LocalLoss(model, layer, x, y, Loss("ce").values)
    tail = curvature.local_loss(model, layer, x, y, Loss("ce"))
    shift = torch.randn(whole.gradient().shape, generator=g).double()
    # double precision: rounding only
    assert torch.allclose(tail.values(shift), whole.values(shift), atol=1e-13)
    w = shift[0]
    for a, b in zip(
        tail.gradient_and_product(w, shift), whole.gradient_and_product(w, shift), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("sigma_eps", [0.1, 30.0])
def test_a_quadratic_loss_has_slope_one_at_any_noise(sigma_eps: float) -> None:
    local, w = setting("linear", "mse")
    said = curvature.step_rates(local, w, torch.zeros(40), sigma_eps, eta=0.1)["curvature"]
    found = curvature.noise_averages(local, w, sigma_eps)
    rate = 0.1 / float(w @ w)
    # What lies beyond five standard deviations: 2e-5 of the variance.
    assert rate * found.pull == pytest.approx(said, rel=1e-4)
    assert rate * found.curvature == pytest.approx(said, rel=1e-9)


def test_one_step_of_a_quadratic_loss_is_kick_and_curvature_and_nothing_else() -> None:
    local, w = setting("linear", "mse")
    eps = 3 * torch.randn(40, generator=generator(1, "eps")).double()
    step = 0.1 * curvature.niw_gradient(local, w, eps)
    pull = float(w @ step / (w @ w))
    kick = curvature.step_rates(local, w, eps, 3.0, eta=0.1)["kick"]
    each = local.hessian() @ w @ w
    assert pull - kick == pytest.approx(0.1 * float((eps**2 * each).mean() / (w @ w)), rel=1e-10)


@pytest.mark.parametrize("activation", ["softplus", "tanh", "gelu"])
@pytest.mark.parametrize("sigma_eps", [0.05, 5.0])
def test_the_averaged_hessian_gives_the_pull_of_smooth_networks(
    activation: str, sigma_eps: float
) -> None:
    local, w = setting(activation)
    found = curvature.noise_averages(local, w, sigma_eps, nodes=100)
    # Stein's identity up to the noise beyond five standard deviations, 2e-5 of it.
    assert found.pull == pytest.approx(found.curvature, rel=1e-3)


def test_the_averaged_hessian_gives_the_pull_for_gaussian_noise_only() -> None:
    """Of two values +-sigma_eps the pull is that of the Hessian averaged uniformly in between."""
    local, w = setting("softplus")
    sigma_eps = 5.0

    def at(eps: float) -> tuple[float, float]:
        g, hw = local.gradient_and_product(w, (eps * w).expand(len(local.x), -1))
        return float(w @ g.mean(0)), float(w @ hw.mean(0))

    ends = [at(eps) for eps in (-sigma_eps, sigma_eps)]
    pull = sigma_eps * (ends[1][0] - ends[0][0]) / 2
    own_law = sigma_eps**2 * (ends[0][1] + ends[1][1]) / 2
    nodes, weights = np.polynomial.legendre.leggauss(40)
    between = sum(a * at(sigma_eps * x)[1] for x, a in zip(nodes, weights, strict=True)) / 2
    assert pull == pytest.approx(sigma_eps**2 * between, rel=1e-6)  # the quadrature's error
    assert abs(own_law / pull - 1) > 0.2


def test_strong_noise_is_beyond_the_hessian_at_a_point() -> None:
    local, w = setting("softplus")
    point = float(w @ local.mean_product(w))
    weak, strong = (curvature.noise_averages(local, w, s, 100).pull / s**2 for s in (0.05, 10.0))
    assert weak == pytest.approx(point, rel=0.01)  # the fourth order: sigma_eps^2 w^2 = 2.5e-4
    assert strong < 0.5 * point  # the softmax saturates


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_kinks_of_all_layers_complete_the_pull(depth: int) -> None:
    local, w = setting("relu", depth=depth, width=30, samples=1000)
    sigma_eps = 0.02
    found = curvature.noise_averages(local, w, sigma_eps, nodes=200)
    point = sigma_eps**2 * float(w @ local.mean_product(w))
    kinks = curvature.kink_pull(local, w, sigma_eps)
    assert abs(kinks) > 0.5 * point  # at the start of training they are as strong as curvature
    # What is left: units that cross while others do, next order in the noise; a few percent.
    assert abs(found.pull - point - kinks) < 0.12 * abs(kinks)
    # A Hessian that is averaged where it exists does not see them.
    assert abs(found.curvature - point) < 0.05 * abs(kinks)


def test_kinks_of_one_layer_are_those_of_one_step() -> None:
    local, w = setting("relu", depth=1)
    g = generator(0, "probe tests")
    model = MLP(10, 12, 1, 3, activation="relu", seed=1).double()
    x, y = torch.randn(40, 10, generator=g).double(), torch.randint(3, (40,), generator=g)
    peer = curvature.kinks(LocalLoss(model, "layers.0", x, y, Loss("ce").values), w, 0.3)
    assert curvature.kink_pull(local, w, 0.3) == pytest.approx(float(w @ peer), rel=1e-12)


def test_smooth_networks_and_last_layers_have_no_kinks() -> None:
    assert curvature.kink_pull(*setting("softplus"), 0.3) == 0
    model = MLP(10, 12, 1, 3, activation="relu").double()
    x, y = torch.ones(4, 10).double(), torch.zeros(4, dtype=torch.int64)
    last = curvature.local_loss(model, "layers.1", x, y, Loss("ce"))
    assert curvature.kink_pull(last, torch.ones(3).double(), 0.3) == 0


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_pull_is_the_slope_of_the_noisy_loss_against_the_noise(activation: str) -> None:
    local, w = setting(activation)
    at, h = np.linspace(-pull.NEAR_REACH, pull.NEAR_REACH, 100), 1e-4
    weight = np.exp(-(at**2) / 2)

    def noisy_loss(sigma_eps: float) -> float:
        shifts = ((sigma_eps * a * w).expand(len(local.x), -1) for a in at)
        return float(np.average([float(local.values(s).mean()) for s in shifts], weights=weight))

    slope = (noisy_loss(1 + h) - noisy_loss(1 - h)) / (2 * h)  # at sigma_eps = 1
    # The same noise values, so that kinks matter only where one is crossed within h.
    assert curvature.noise_averages(local, w, 1.0, 100).pull == pytest.approx(slope, rel=1e-3)


def test_the_logarithm_falls_by_pull_and_bend() -> None:
    local, w = setting("linear", "mse", samples=10)
    sigma_eps, eta, draws = 1.0, 0.1, 50_000
    g = generator(3, "bend")
    rates = curvature.step_rates(local, w, torch.zeros(10), sigma_eps, eta)
    slopes, second = local.gradient(), local.hessian() @ w
    eps = sigma_eps * torch.randn(draws, 10, generator=g).double()
    after = w - eta * (eps @ slopes + eps.square() @ second) / 10  # exact: the loss is quadratic
    falls = (w.norm() / after.norm(dim=1)).log() - eta * eps @ (slopes @ w) / (10 * (w @ w))
    err = float(falls.std() / draws**0.5)
    gap = float(falls.mean()) - rates["curvature"] - rates["bend"]
    # False alarm below 1e-5; third order in the step.
    assert abs(gap) < 4.5 * err + 0.1 * abs(rates["bend"])
    assert abs(rates["bend"]) > 10 * err


def test_bad_noise_is_named() -> None:
    local, w = setting("relu")
    with pytest.raises(ValueError, match="sigma_eps > 0, not 0"):
        curvature.noise_averages(local, w, 0.0)
