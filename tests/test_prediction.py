"""Predicted borders: against dense matrices, autograd, and each other where they must agree."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.func import functional_call, jacrev

from nin.curvature.gauss_newton import output_hessian, top_curvature
from nin.curvature.local import LocalLoss
from nin.networks.attachment import one_node
from nin.networks.data import CLASSES, Dataset
from nin.networks.losses import Loss
from nin.studies.borders.forecasts import METHODS, forecast
from nin.studies.borders.noise_only import NODES, blind, noise_only_borders, quantiles
from nin.studies.borders.prediction import (
    Curve,
    Prediction,
    closed_border,
    curve,
    decay_time,
    halves,
    initial_rate,
)
from nin.studies.borders.search import find_borders
from nin.studies.experiments import FIG2, Experiment
from nin.studies.study import Shelf, images

TINY = dataclasses.replace(FIG2, width=64, batch_size=50)
ACTIVATIONS = ("relu", "tanh", "gelu", "softplus")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return images("std", 0)


def node(model: torch.nn.Module):
    return one_node(model)[1]


# ---- curvature


@pytest.mark.parametrize("loss", ["mse", "ce"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("of", ["", "w_ni"])
def test_the_largest_curvature_is_that_of_the_dense_matrix(
    loss: str, activation: str, of: str
) -> None:
    e = dataclasses.replace(TINY, loss=loss, activation=activation, depth=2, width=6, d_in=49)
    data = images("std", 0, d_in=49)
    model, x, y = e.network(), data.train_x[:15], data.train_y[:15]
    node(model).eps = 30 * torch.randn(15, generator=torch.Generator().manual_seed(0))
    weights = {k: p.detach() for k, p in model.named_parameters()}
    varied = {k: p for k, p in weights.items() if k.endswith(of)}
    blocks = jacrev(lambda part: functional_call(model, weights | part, (x,)))(varied)
    J = torch.cat([b.flatten(2) for b in blocks.values()], 2).double()
    H = torch.stack(
        [
            jacrev(jacrev(lambda z, y=y: Loss(loss).values(z, y)))(z, y)
            for z, y in zip(model(x).detach().double(), y, strict=True)
        ]
    )
    dense = torch.einsum("iap,iab,ibq->pq", J, H, J) / len(x)
    expected = float(torch.linalg.eigvalsh(dense)[-1])
    found = top_curvature(model, Loss(loss), x, y, of)
    assert found == pytest.approx(expected, rel=2e-2)  # Lanczos stops at 1e-2


def test_the_output_hessian_is_known_in_closed_form() -> None:
    z, y = torch.randn(4, CLASSES, generator=torch.Generator().manual_seed(0)), torch.arange(4)
    mse = output_hessian(Loss("mse"), z, y)
    torch.testing.assert_close(mse, 0.2 * torch.eye(CLASSES, dtype=torch.float64).expand_as(mse))
    p = z.double().softmax(-1)
    torch.testing.assert_close(
        output_hessian(Loss("ce"), z, y), torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    )


def test_a_curve_reaches_its_levels_where_a_power_law_does() -> None:
    sigma = np.geomspace(1, 100, 7)
    found = Curve(sigma, sigma**2 / 50, sigma**2 / 80).predict()
    expected = Prediction.of(np.sqrt(100), np.sqrt(160), np.sqrt(200))
    assert dataclasses.astuple(found) == pytest.approx(dataclasses.astuple(expected), rel=1e-12)


def test_a_border_beyond_the_curve_is_infinite_and_one_before_it_is_zero() -> None:
    sigma = np.geomspace(1, 100, 7)
    found = Curve(sigma, np.full(7, 3.0), np.full(7, 1.0)).predict()
    assert found == Prediction(0.0, np.inf, np.inf)


def test_what_diverges_is_past_every_border() -> None:
    assert Prediction.of(3.0, 9.0, 5.0) == Prediction(3.0, 5.0, 5.0)
    assert Prediction.of(7.0, 6.0, 5.0) == Prediction(5.0, 5.0, 5.0)
    assert Prediction.of(3.0, 1.0, 5.0) == Prediction(3.0, 3.0, 5.0)


# ---- the halves


@pytest.mark.parametrize("loss", ["mse", "ce"])
@pytest.mark.parametrize("norm", ["mean", "sum"])
def test_the_halves_give_the_curvature_of_noise_alone(loss: str, norm: str) -> None:
    e = dataclasses.replace(TINY, loss=loss, mse_norm=norm, width=64, bias=False)
    predicted = halves(e)
    model = blind(dataclasses.replace(e, sigma_eps=1.0))
    # For cross-entropy so little noise that the outputs stay near 0, where the formula takes H.
    scale = 1e-3
    node(model).eps = scale * quantiles(e.noise).repeat_interleave(CLASSES)
    x, y = torch.zeros(NODES * CLASSES, 1), torch.arange(CLASSES).repeat(NODES)
    lam, lam_w_ni = (
        e.eta * top_curvature(model, e.criterion(), x, y, of) / scale**2 for of in ("", "w_ni")
    )
    assert predicted.surge == pytest.approx(np.sqrt(2 / lam), rel=1e-2)  # Lanczos stops at 1e-2
    assert predicted.divergent == pytest.approx(np.sqrt(4 / lam), rel=1e-2)
    assert predicted.catapult == pytest.approx(
        Prediction.of(*np.sqrt([2 / lam, 2 / lam_w_ni, 4 / lam])).catapult, rel=1e-2
    )


@pytest.mark.parametrize(
    "changes", [{"depth": 2}, {"activation": "tanh"}, {"layer": "layers.1"}], ids=str
)
def test_other_networks_have_no_halves(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="one hidden ReLU layer"):
        halves(dataclasses.replace(TINY, **changes))  # type: ignore[arg-type]


# ---- noise alone


@pytest.mark.parametrize(
    "changes", [{}, {"niw_fan_in": "width"}, {"mse_norm": "half_sum"}, {"d_in": 49, "d_out": 3}]
)
def test_the_closed_form_is_the_mean_over_weights_that_are_drawn(changes: dict[str, Any]) -> None:
    e = dataclasses.replace(TINY, width=128, **changes)
    drawn = [halves(dataclasses.replace(e, seed=seed)).divergent for seed in range(30)]
    # Seeds spread by 8 %; the mean of the larger half is Tracy and Widom's up to a few percent.
    assert np.mean(drawn) == pytest.approx(closed_border(e), rel=0.06)


def test_the_closed_form_of_cross_entropy_is_rho_of_sqrt_2() -> None:
    e = dataclasses.replace(TINY, loss="ce", d_out=2, eta=0.02)
    for changed in (e, dataclasses.replace(e, width=32), dataclasses.replace(e, d_in=49)):
        rho = changed.eta * closed_border(changed) * np.sqrt(0.5 / (2 * np.pi))
        assert rho == pytest.approx(np.sqrt(2))
    for other in ({"depth": 2}, {"activation": "tanh"}):
        with pytest.raises(ValueError, match="one hidden layer of relu, gelu, softplus"):
            closed_border(dataclasses.replace(e, **other))
    with pytest.raises(ValueError, match="border must be one of"):
        closed_border(e, "decay")


@pytest.mark.parametrize("noise", ["gaussian", "uniform", "rademacher"])
def test_quantiles_have_the_law_s_mean_and_variance(noise: str) -> None:
    values = quantiles(noise)
    assert float(values.mean()) == pytest.approx(0, abs=1e-6)
    assert float(values.square().mean()) == pytest.approx(1, rel=1e-6)
    if noise == "rademacher":
        # Not every draw of 16,000 splits evenly between its two values.
        torch.testing.assert_close(values.abs(), torch.ones(NODES), rtol=0.02, atol=0)


def test_without_its_image_a_network_keeps_all_other_weights() -> None:
    e = dataclasses.replace(TINY, sigma_eps=3.0, depth=2, seed=5)
    seeing, unseeing = e.network(), blind(e)
    for name, weight in unseeing.state_dict().items():
        if name != "layers.0.weight":
            torch.testing.assert_close(weight, seeing.state_dict()[name], rtol=0, atol=0)
    seeing.eval(), unseeing.eval()
    torch.testing.assert_close(seeing(torch.zeros(1, 784)), unseeing(torch.zeros(1, 1)))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_noise_alone_diverges_where_gradient_descent_on_it_does(activation: str) -> None:
    e = dataclasses.replace(TINY, activation=activation, seed=1)
    steps = 40
    border = noise_only_borders(e, steps, (0.1, 1000.0))["divergent"]

    def recovers(sigma_eps: float) -> bool:
        model = blind(dataclasses.replace(e, sigma_eps=sigma_eps))
        node(model).eps = sigma_eps * quantiles(e.noise).repeat_interleave(CLASSES)
        x, y = torch.zeros(NODES * CLASSES, 1), torch.eye(CLASSES).repeat(NODES, 1)
        sizes, losses = [], []
        for _ in range(steps):
            loss = (model(x) - y).square().mean()
            sizes.append(node(model).w_ni.norm().item())
            losses.append(loss.item())
            if not np.isfinite(losses[-1]):
                return False
            model.zero_grad()
            loss.backward()
            with torch.no_grad():
                for p in model.parameters():
                    p.sub_(e.eta * p.grad)
        return sizes[-1] < 1.1 * sizes[0] or float(np.median(losses[-10:])) < 1.1 * losses[0]

    if np.isinf(border):
        assert activation == "tanh" and recovers(e.at(1000.0).sigma_eps)
    else:
        assert recovers(border / 1.02) and not recovers(border * 1.02)  # the bracket is 2 % wide


# ---- decay


@pytest.mark.parametrize("loss", ["mse", "ce"])
@pytest.mark.parametrize("seed", [0, 3])
def test_the_initial_rate_is_that_of_the_dense_hessian(loss: str, seed: int, data: Dataset) -> None:
    e = dataclasses.replace(TINY, loss=loss, depth=2, width=30, seed=seed, activation="tanh")
    model = e.network()
    w = node(model).w_ni.detach()
    local = LocalLoss(model, e.layer, data.train_x[:40], data.train_y[:40], e.criterion().values)
    h = float(w @ local.mean_hessian() @ w / w.square().sum())
    few = dataclasses.replace(data, train_x=data.train_x[:40], train_y=data.train_y[:40])
    assert initial_rate(e, few) == pytest.approx(e.eta * h, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("loss", ["mse", "ce"])
def test_the_decay_time_halves_the_weights_step_by_step(loss: str, data: Dataset) -> None:
    e = dataclasses.replace(TINY, loss=loss, width=40)
    theta = decay_time(e, data, 100)
    model = e.network()
    local = LocalLoss(model, e.layer, data.train_x[:100], data.train_y[:100], Loss(loss).values)
    w = node(model).w_ni.detach()
    start, steps = float(w.norm()), 400
    for _ in range(steps):
        w = w - theta / steps * local.mean_product(w)
    # Euler's method: relative error of the norm about theta^2 rate^2 / (2 steps), below 1 %.
    assert float(w.norm()) / start == pytest.approx(0.5, abs=0.01)


def test_weights_that_feel_no_curvature_never_decay(data: Dataset) -> None:
    e = dataclasses.replace(TINY, bias=False)
    few = {"train_x": torch.zeros_like(data.train_x[:20]), "train_y": data.train_y[:20]}
    blank = dataclasses.replace(data, **few)
    # Without an input every neuron is at its kink, where the derivative is taken as 0.
    assert decay_time(e, blank, 20) == np.inf


# ---- all together


def test_a_forecast_comes_back_from_its_record(tmp_path: Path) -> None:
    e, shelf = dataclasses.replace(TINY, width=8), Shelf(tmp_path, "", workers=1)
    made = forecast(e, (0, 1), 10, shelf)
    stamp = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    again = forecast(dataclasses.replace(e, sigma_eps=9.0, seed=4), (0, 1), 10, shelf)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == stamp
    for method in METHODS:
        one, two = made.borders(method), again.borders(method)
        assert set(one) == {"surge", "catapult", "divergent"}
        for name in one:
            np.testing.assert_array_equal(one[name], two[name])
            assert one[name].shape == (2,)
    assert forecast(dataclasses.replace(e, depth=2), (0,), 10, shelf).borders("halves") == {}
    with pytest.raises(ValueError, match="method must be one of"):
        made.borders("guess")


def test_the_forecast_of_a_new_network_is_near_what_training_finds(tmp_path: Path) -> None:
    e = dataclasses.replace(TINY, width=96, eta=0.03, batch_size=256)
    seeds, steps = (11, 12, 13), 40
    shelf = Shelf(tmp_path, "", workers=1)
    measured = find_borders([e], ["divergent"], seeds, steps, shelf)[e]["divergent"]
    predicted = forecast(e, seeds, steps, shelf)
    for method in METHODS:
        ratio = measured / predicted.borders(method)["divergent"]
        # At this large eta the noise is weak enough for the images to count: 16 % in the formula.
        assert abs(np.log(ratio).mean()) < 0.2, method


def test_curves_use_the_experiment_s_noise_law_and_seed(data: Dataset) -> None:
    base: Experiment = dataclasses.replace(TINY, seed=1)
    one = curve(base, [40.0], data, 100)
    assert one.lam.shape == (1,) and one.lam > one.lam_w_ni
    others = [dataclasses.replace(base, seed=2), dataclasses.replace(base, noise="rademacher")]
    for other in others:
        assert curve(other, [40.0], data, 100).lam != one.lam
    same = dataclasses.replace(base, sigma_eps=7.0)
    np.testing.assert_array_equal(curve(same, [40.0], data, 100).lam, one.lam)
