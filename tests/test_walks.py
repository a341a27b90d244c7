"""The walk of w_ni: its geometry, and ballistic against diffusive."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nin.networks.attachment import one_node
from nin.networks.training import train
from nin.studies.study import Shelf, images
from nin.studies.walks import FIG1_WEAK, cosines, distances, increments

SMALL = replace(FIG1_WEAK, width=24, depth=1, epochs=4)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("walks"), "fig1_decay", workers=1)


@pytest.mark.parametrize("angle", [0.0, 0.3, 2.0])
def test_distances_and_cosines_are_those_of_the_vectors(angle: float) -> None:
    steps = np.array([[1.0, 0], [2 * np.cos(angle), 2 * np.sin(angle)]])
    products = (steps @ steps.T)[None]
    np.testing.assert_allclose(distances(products)[0], np.linalg.norm(steps.cumsum(0), axis=1))
    np.testing.assert_allclose(cosines(products), [np.cos(angle)])


def test_a_fixed_nin_walks_straight_and_a_redrawn_one_at_random(shelf: Shelf) -> None:
    anew = increments(SMALL, [0, 1, 2, 3], shelf)
    fixed = increments(replace(SMALL, fixed=True), [0, 1, 2, 3], shelf)
    np.testing.assert_allclose(fixed[:, 0, 0], anew[:, 0, 0])  # no image was seen twice
    # Independent directions in 24 dimensions: cosines of 1/sqrt(24) each, six pairs, four seeds.
    assert abs(cosines(anew).mean()) < 4 / (24 * 6 * 4) ** 0.5
    assert cosines(fixed).min() > 0.3
    assert np.all(distances(fixed)[:, -1] > distances(anew)[:, -1])


def test_the_walk_ends_where_the_run_does(shelf: Shelf) -> None:
    model = SMALL.network()
    w = one_node(model)[1].w_ni
    start = w.detach().clone()
    data = images(SMALL.scaling, SMALL.split_seed)
    options = {"eta": SMALL.eta, "batch_size": SMALL.batch_size, "epochs": SMALL.epochs}
    train([model], data, **options, seeds=[0], evaluations=0)  # type: ignore[arg-type]
    far = float((w.detach() - start).double().norm() / start.double().norm())
    # Products of float32 differences of weights: good to 1e-4 of a walk this short.
    assert distances(increments(SMALL, [0, 1], shelf))[0, -1] == pytest.approx(far, rel=1e-4)
