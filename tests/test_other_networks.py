"""A convnet and a transformer with a node: networks, looks, borders, against second ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nin
from nin.curvature.node_report import report
from nin.networks.attachment import NOISE_LAWS, one_node
from nin.networks.seeds import generator
from nin.networks.small_networks import ConvNet
from nin.runs.history import History
from nin.runs.phases import Phase
from nin.studies.other_networks import (
    BASE,
    LAYERS,
    PAIRS,
    SIDES,
    OtherCourse,
    OtherForecast,
    OtherNetwork,
    OtherRun,
    border_between,
    explained_falls,
    other_forecasts,
    other_runs,
)
from nin.studies.study import Shelf, images_of, train_runs

CONV = OtherNetwork("convnet", "conv0")
TINY = replace(BASE, epochs=1, batch_size=32)
SIZES: dict[str, Any] = {"base": TINY, "images": 96, "looked_at": 20}


def shelf(folder: Path) -> Shelf:
    return Shelf(folder, "beyond_mlps", workers=1)


def images(name: str, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    data = images_of(replace(BASE, d_in=SIDES[name] ** 2))
    return data.train_x[:n].reshape(-1, 1, SIDES[name], SIDES[name]), data.train_y[:n]


def test_the_convnet_is_its_formula_pixel_by_pixel() -> None:
    model, (x, _) = ConvNet(8, (2, 3), seed=1), images("convnet", 2)
    a = x[0, 0, :8, :8].double().numpy()[None]
    for layer in (model.conv0, model.conv1):
        w, padded = layer.weight.detach().double().numpy(), np.pad(a, ((0, 0), (1, 1), (1, 1)))
        side = a.shape[1]
        at = np.ndindex(len(w), side, side)
        z = np.array([(w[k] * padded[:, i : i + 3, j : j + 3]).sum() for k, i, j in at])
        a = np.maximum(z, 0).reshape(len(w), side // 2, 2, side // 2, 2).max((2, 4))
    expected = model.out.weight.detach().double().numpy() @ a.ravel()
    found = model(x[:1, :, :8, :8]).detach().double().numpy()[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)  # float32


def test_weights_of_the_convnet_have_the_variance_of_one_over_fan_in() -> None:
    for layer, fan_in in {"conv0": 9, "conv1": 72, "out": 144}.items():
        w = torch.cat([getattr(ConvNet(seed=s), layer).weight.flatten() for s in range(40)])
        error = (2 / len(w)) ** 0.5  # of a variance, over itself
        assert float(w.detach().var()) * fan_in == pytest.approx(1, abs=4 * error)
    with pytest.raises(ValueError, match="side >= 4, not 3"):
        ConvNet(3)


@pytest.mark.parametrize("name", SIDES)
def test_looks_see_the_second_difference_of_the_loss_and_the_pull_of_the_noise(
    name: str, tmp_path: Path
) -> None:
    of = OtherNetwork(name, LAYERS[name][0])
    [run] = other_runs(of, [0.02], [4], shelf(tmp_path), **SIZES)[0.02]
    model, (x, y) = of.make(0.02, 4).double(), images(name, 20)
    node, h = one_node(model)[1], 3e-6
    w = node.w_ni.detach()

    def loss_at(eps: torch.Tensor) -> torch.Tensor:
        node.eps = eps.double()
        return BASE.criterion().values(model(x.double()), y).mean()

    ends = [float(loss_at(torch.full((20,), eps)).detach()) for eps in (h, 0.0, -h)]
    along = (ends[0] - 2 * ends[1] + ends[2]) / h**2 / float(w.square().sum())
    assert run.size[0] == pytest.approx(float(w.norm()), rel=1e-6)
    # Steps small enough to cross no kink leave four digits of a second difference.
    assert run.along[0] == pytest.approx(along, rel=0.02)

    g, pull = generator(0, "onestep", "gaussian"), 0.0
    for eps in (0.02 * NOISE_LAWS["gaussian"](20, g) for _ in range(PAIRS)):
        for one in (eps, -eps):
            (slope,) = torch.autograd.grad(loss_at(one), node.w_ni)
            pull += float(w @ slope / w.square().sum()) / (2 * PAIRS)
    # Of the first order nothing is left, in float32: some digits of the second are.
    assert run.pull[0] == pytest.approx(pull, rel=0.02)


def test_a_run_is_what_the_loop_trains_and_looking_does_not_change_it(tmp_path: Path) -> None:
    [seen] = other_runs(CONV, [3.0], [1], shelf(tmp_path), **SIZES)[3.0]
    [alone] = other_runs(CONV, [3.0], [1], shelf(tmp_path), **{**SIZES, "looked_at": 0})[3.0]
    x, y = images("convnet", 96)
    data = replace(images_of(BASE), train_x=x, train_y=y, val_x=x, val_y=y)
    [history] = nin.train(
        [CONV.make(3.0, 1)], data, eta=BASE.eta, batch_size=32, epochs=1, seeds=[1], evaluations=0
    )
    for found in (seen, alone):
        np.testing.assert_array_equal(found.history.loss, history.loss)
        np.testing.assert_array_equal(found.history.w_ni, history.w_ni)
    assert not len(alone.look) and seen.look.tolist() == [0, 1, 2]


def test_momentum_is_that_of_torch_at_a_rate_that_moves_weights_as_far(tmp_path: Path) -> None:
    of = replace(CONV, momentum=0.9)
    [run] = other_runs(of, [0.1], [1], shelf(tmp_path), **SIZES)[0.1]
    name, lr = run.history.optimizer.removesuffix(", momentum=0.9)").split("=")
    assert name == "SGD(lr" and float(lr) == pytest.approx(0.1 * BASE.eta)


def test_a_blind_network_sees_no_image(tmp_path: Path) -> None:
    of = replace(CONV, blind=True)
    [run] = other_runs(of, [1e-9], [1], shelf(tmp_path), **{**SIZES, "looked_at": 0})[1e-9]
    assert run.history.loss[0] == pytest.approx(np.log(10))  # all outputs are the biases, 0


def test_a_forecast_is_what_the_report_says(tmp_path: Path) -> None:
    [told] = other_forecasts(CONV, [2], shelf(tmp_path), base=TINY, images=96)
    x, y = images("convnet", 96)
    expected = report(CONV.make(5.0, 2), x, y, "ce", eta=TINY.eta, borders=True)["conv0"]
    assert told.divergent == pytest.approx(expected.divergent)
    assert told.decay == pytest.approx(expected.decay_border(3))
    assert isinstance(told, OtherForecast)


def made(phase: Phase, sigma_eps: float = 1.0) -> OtherCourse:
    """A run in a phase, whose |w_ni| falls by a rate of 0.002 a step."""
    w, loss = {
        Phase.DECOUPLED: ([1, 1, 0.9], [1, 1, 1]),
        Phase.DECAY: ([1, 0.6, 0.3], [1, 1, 1]),
        Phase.CATAPULT: ([1, 3, 0.3], [1, 5, 1]),
        Phase.DIVERGENT: ([1, 3, 9], [1, 5, 9]),
    }[phase]
    none = np.zeros(0)
    history = History(
        1, np.arange(3), np.array(loss, float), np.ones(3), {"w_ni": np.array(w, float)}, none,
        none, none, none, none, None, 1.0,
    )  # fmt: skip
    look = np.array([0.0, 10.0, 100.0, 200.0, 800.0])
    along = np.full(5, 0.002 / BASE.eta / sigma_eps**2)
    e = replace(BASE, sigma_eps=sigma_eps)
    asked = OtherRun("convnet", "conv0", experiment=e, images=96)
    pull = 2 * along * sigma_eps**2
    return OtherCourse(asked, history, 0.5, look, np.exp(-0.002 * look), along, pull)


def test_falls_are_explained_by_the_rate_that_made_them() -> None:
    runs = [made(Phase.DECAY, s) for s in (2.0, 3.0)]
    assert explained_falls(runs, 0.5) == (pytest.approx(1), pytest.approx(0, abs=1e-9))
    assert explained_falls(runs, 0.5, by=2)[0] == pytest.approx(0.5)
    assert runs[0].falls(0.5)[0] == pytest.approx(0.4)  # step 200 is the last above one half


def test_a_border_lies_between_the_first_run_past_it_and_the_one_before() -> None:
    def runs(*phases: Sequence[Phase]) -> dict[float, list[OtherCourse]]:
        return {10.0**i: [made(p) for p in of] for i, of in enumerate(phases)}

    calm, decay, thrown = Phase.DECOUPLED, Phase.DECAY, Phase.CATAPULT
    of = runs(
        (calm, decay, calm), (decay, thrown, calm), (calm, decay, calm), (thrown, thrown, calm)
    )
    np.testing.assert_allclose(border_between(of, "decay"), [10**0.5, 0, np.inf])
    np.testing.assert_allclose(border_between(of, "catapult"), [10**2.5, 10**0.5, np.inf])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda f: OtherNetwork("none", "conv0"), "must be one of"),
        (lambda f: OtherNetwork("convnet", "conv0", momentum=1.0), "momentum must be"),
        (lambda f: other_runs(CONV, [0.0], [0], shelf(f)), "strengths > 0"),
        (lambda f: other_runs(CONV, [1.0], [0], shelf(f), images=10), "images 200 to 42000"),
        (lambda f: other_runs(CONV, [1.0], [0, 0], shelf(f)), "each named once"),
    ],
)
def test_what_is_out_of_range_is_refused_before_training(
    wrong: object, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        wrong(tmp_path / "none")  # type: ignore[operator]
    assert not (tmp_path / "none").exists()


def test_networks_that_are_given_train_in_place_of_the_experiment_s() -> None:
    e = replace(BASE, d_in=49, width=4, batch_size=3000, epochs=1, sigma_eps=1.0)
    model = e.network()
    with torch.no_grad():
        model.linear(0).weight.zero_()
    [trained], [history] = train_runs([e], evaluations=0, progress=False, models=[model])
    assert trained is model and history.norms["layers.0.weight"][0] == 0
