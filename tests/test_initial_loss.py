"""An untrained network and its noise weights, as the theory of one step sees them."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from nin.companion.initial_loss import initial_loss
from nin.curvature.pull import niw_gradient
from nin.networks.attachment import one_node
from nin.networks.data import Dataset
from nin.networks.seeds import generator
from nin.studies.experiments import FIG1, Experiment


@pytest.fixture
def data() -> Dataset:
    g = generator(0, "initial loss")
    x, y = torch.randn(9, 784, generator=g), torch.randint(10, (9,), generator=g)
    return Dataset(x, y, x, y)


@pytest.mark.parametrize(("loss", "layer"), [("ce", "layers.0"), ("mse", "layers.1")])
def test_its_gradient_is_that_of_the_experiment_in_training(
    data: Dataset, loss: str, layer: str
) -> None:
    e: Experiment = dataclasses.replace(
        FIG1, width=12, loss=loss, layer=layer, sigma_eps=0.7, seed=3
    )
    local, w_ni = initial_loss(e, data, samples=6, dtype=torch.float64)
    model = e.network().double().train()
    node = one_node(model)[1]
    node.eps = torch.randn(6, generator=generator(1, "eps")).double()
    out = model(data.train_x[:6].double())
    e.criterion().values(out, data.train_y[:6]).mean().backward()
    assert torch.equal(w_ni, node.w_ni)
    # double precision: rounding only
    torch.testing.assert_close(
        niw_gradient(local, w_ni, node.eps), node.w_ni.grad, rtol=0, atol=1e-12
    )


def test_the_network_is_in_single_precision_unless_told_otherwise(data: Dataset) -> None:
    local, w_ni = initial_loss(dataclasses.replace(FIG1, width=12), data, samples=4)
    assert w_ni.dtype == local.x.dtype == torch.float32 and len(local.x) == 4
