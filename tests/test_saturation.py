"""Bounded activations: what counts as saturated, and runs whose ends are on record."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit

from nin.networks.attachment import one_node
from nin.studies.borders.saturation import all_outcomes, outcomes, saturated_share
from nin.studies.borders.search import first_steps
from nin.studies.experiments import FIG2
from nin.studies.study import Shelf, images

TINY = dataclasses.replace(FIG2, width=16, activation="tanh")
SIGMA_EPS, SEEDS = [1.0, 3000.0], [0, 1]


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_the_share_is_that_of_flat_slopes(activation: str) -> None:
    e = dataclasses.replace(TINY, activation=activation)
    model, x = e.network(), images(e.scaling, e.split_seed).train_x[:50]
    eps = torch.linspace(-300, 300, 50)
    layer = model.linear(0)
    z = (x @ layer.weight.T + eps.unsqueeze(1) * one_node(model)[1].w_ni).detach().double().numpy()
    slope = 1 - np.tanh(z) ** 2 if activation == "tanh" else 4 * expit(z) * (1 - expit(z))
    # one neuron of 800 may be on either side by float32 rounding
    assert saturated_share(model, x, eps) == pytest.approx((slope < 0.02).mean(), abs=1.5 / 800)


def test_an_activation_without_bounds_does_not_saturate() -> None:
    model = dataclasses.replace(TINY, activation="relu").network()
    with pytest.raises(ValueError, match=r"only .* saturate, not 'relu'"):
        saturated_share(model, torch.zeros(1, 784), torch.zeros(1))


def test_outcomes_are_those_of_the_runs(tmp_path: Path) -> None:
    found = outcomes(TINY, SIGMA_EPS, SEEDS, 1, Shelf(tmp_path, "", workers=1))
    assert found.accuracy.shape == found.growth.shape == (2, 2)
    runs = [(seed, sigma) for seed in SEEDS for sigma in SIGMA_EPS]
    each = [dataclasses.replace(TINY, seed=seed, sigma_eps=sigma) for seed, sigma in runs]
    histories = [first_steps(e, 42) for e in each]
    growth = [h.w_ni[-1] / h.w_ni[0] for h in histories]
    np.testing.assert_array_equal(found.growth.T.ravel(), np.array(growth, float))
    assert not found.diverged.any()
    assert (found.saturated[1] > found.saturated[0]).all()
    assert (found.accuracy[0] > 0.15).all(), "a little is learned at weak noise"


def test_all_outcomes_are_those_of_each_loss_and_activation(tmp_path: Path) -> None:
    shelf, where = Shelf(tmp_path, ""), ([1.0], [0], 1)
    found = all_outcomes(TINY, ["mse", "ce"], ["tanh", "relu"], *where, shelf)
    assert list(found) == ["mse", "ce"] and all(list(f) == ["tanh", "relu"] for f in found.values())
    for loss, by_activation in found.items():
        for activation, each in by_activation.items():
            alone = dataclasses.replace(TINY, loss=loss, activation=activation)
            np.testing.assert_array_equal(each.growth, outcomes(alone, *where, shelf).growth)


def test_a_relu_network_diverges_and_its_accuracy_is_that_of_its_last_weights(
    tmp_path: Path,
) -> None:
    relu = dataclasses.replace(TINY, activation="relu")
    found = outcomes(relu, [3000.0], [0], 1, Shelf(tmp_path, ""))
    assert found.diverged.all() and np.isnan(found.saturated).all()
    assert found.growth[0, 0] > 10
    chance = 0.1
    assert found.accuracy[0, 0] == pytest.approx(chance, abs=0.1)


def test_the_node_must_drive_the_neurons_that_are_looked_at(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"node must be at layers\.0"):
        outcomes(
            dataclasses.replace(TINY, layer="layers.1"), SIGMA_EPS, SEEDS, 1, Shelf(tmp_path, "")
        )
