"""The network cut off after the first order in the noise, and the curvature of its loss."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from nin.curvature.gauss_newton import LinearInNoise
from nin.networks.attachment import one_node
from nin.studies.borders.prediction import curve, second_order_curvature
from nin.studies.borders.search import find_borders
from nin.studies.borders.second_order import SAMPLES, share_of_border
from nin.studies.experiments import FIG2, FIG3
from nin.studies.study import Shelf, images

TINY = dataclasses.replace(FIG2, width=32)


@pytest.mark.parametrize(("activation", "depth"), [("gelu", 1), ("softplus", 3), ("tanh", 2)])
def test_the_change_is_the_derivative_by_the_noise(activation: str, depth: int) -> None:
    model = dataclasses.replace(TINY, activation=activation, depth=depth).network().double()
    g = torch.Generator().manual_seed(0)
    x, eps = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((6, 784), (6,)))
    clean, change = LinearInNoise(model, eps).orders(x)
    node = one_node(model)[1]
    h = 1e-5  # central differences: errors of h^2 and of 1e-16 / h

    def outputs(factor: float) -> torch.Tensor:
        node.eps = factor * eps
        return model.train()(x)

    torch.testing.assert_close(clean, outputs(0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(change, (outputs(h) - outputs(-h)) / (2 * h), rtol=1e-7, atol=1e-8)


def test_a_linear_network_is_cut_off_nowhere() -> None:
    e = dataclasses.replace(TINY, activation="linear", depth=2)
    data = images(e.scaling, e.split_seed)
    sigma_eps = e.at(20.0).sigma_eps
    whole = curve(e, [sigma_eps], data, n=100).lam[0]
    # each eigenvalue is good to one percent
    assert second_order_curvature(e, sigma_eps, data, n=100) == pytest.approx(whole, rel=0.02)


def test_it_grows_as_the_square_of_the_noise() -> None:
    data = images("std", 0)
    weak, strong = (second_order_curvature(FIG3, s, data, n=50) for s in (1000.0, 3000.0))
    assert strong / weak == pytest.approx(9, rel=0.02)  # cross-entropy: no saturation of its own


def test_a_node_elsewhere_is_an_error() -> None:
    e = dataclasses.replace(TINY, layer="layers.1")
    with pytest.raises(ValueError, match=r"needs its node at layers\.0"):
        LinearInNoise(e.network(), torch.zeros(3))


def test_the_share_is_the_curvature_at_the_border_over_that_of_the_linear_model(
    tmp_path: Path,
) -> None:
    shelf, seeds, steps = Shelf(tmp_path, "network_borders", workers=1), (0, 1), 30
    small = dataclasses.replace(TINY, batch_size=50)
    linear, growing = (dataclasses.replace(small, activation=a) for a in ("linear", "square"))
    wild = dataclasses.replace(small, eta=10.0)  # no noise is needed to make it diverge
    where = {"mse": (0.05, 500.0)}
    bases = [linear, growing, wild]
    found = share_of_border(bases, seeds, steps, shelf, K=where, tolerance=0.05)
    borders = find_borders(
        [growing], ["divergent"], seeds, steps, shelf, K=where["mse"], tolerance=0.05
    )
    for seed, share in zip(seeds, found[growing], strict=True):
        sigma_eps = borders[growing]["divergent"][seed]
        run = dataclasses.replace(growing, seed=seed)
        lam = second_order_curvature(run, sigma_eps, images("std", 0), SAMPLES)
        assert share == pytest.approx(lam / 4, rel=1e-4)  # the record takes six digits
    assert found[growing].max() < 0.7 < found[linear].min()
    assert np.isnan(found[wild]).all()
