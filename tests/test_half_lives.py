"""What halves |w_ni|: the same run, the same steps, and parts that another observer sees too."""

from __future__ import annotations

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pytest

from nin.companion.figures.halving import draw_halving
from nin.companion.rest_tables import SHARES, shares
from nin.runs.times import time_to
from nin.studies.experiments import FIG1
from nin.studies.half_lives import (
    HALF_LIVES,
    PARTS,
    HalfLife,
    Halved,
    Halving,
    decay_runs,
    half_lives,
    stride_at,
)
from nin.studies.study import Shelf, train_runs
from nin.studies.windows import Watch

SMALL = dataclasses.replace(FIG1, width=32, depth=2).at(0.02, epochs=1)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("halves"), "fig1_timescales", workers=1)


@pytest.fixture(scope="module")
def halved(shelf: Shelf) -> Halved:
    [found] = half_lives([SMALL], shelf)
    return found


def test_the_half_life_is_that_of_the_run_and_the_fall_is_ln_2(halved: Halved) -> None:
    _, [h] = train_runs([SMALL], evaluations=0, progress=False)
    n = int(halved.steps) + 2
    assert list(h.step[:n]) == list(range(n))  # early on each step is on record
    peer = time_to(h.step, h.w_ni, fraction=0.5).value
    assert halved.steps == pytest.approx(peer, rel=1e-5)  # |w_ni| is recorded in float32
    assert halved.fall == pytest.approx(np.log(2), rel=1e-12)  # by its definition


def test_the_parts_are_those_that_a_watch_sees(shelf: Shelf) -> None:
    strong = SMALL.at(0.2, epochs=1)
    assert stride_at(strong.K) == 1
    [halved] = half_lives([strong], shelf)
    n = int(np.ceil(halved.steps))
    watch = Watch(strong.eta, strong.criterion(), (0,), n)
    train_runs([strong], evaluations=0, observer=watch, progress=False)
    weight = np.ones(n)
    weight[-1] = halved.steps - (n - 1)
    for name in PARTS:
        said = float(watch.arrays[name][0] @ weight)
        assert halved.parts[name] == pytest.approx(said, rel=1e-5, abs=1e-6)  # float32 records
    assert halved.pull == pytest.approx(float(watch.arrays["pull"][0] @ weight), rel=1e-5)
    assert halved.first == pytest.approx(watch.arrays["curvature"][0, 0], rel=1e-6)


def test_what_never_halves_takes_forever(shelf: Shelf) -> None:
    [found] = half_lives([SMALL.at(1e-4, epochs=1)], shelf)
    assert found.steps == np.inf and found.fall < np.log(2)


def test_a_look_stands_for_its_stride() -> None:
    every, third = (Halving(SMALL.eta, SMALL.criterion(), 9, stride) for stride in (1, 3))
    for watch in (every, third):
        train_runs([SMALL.at(1e-4)], epochs=1, evaluations=0, observer=watch, progress=False)
    assert len(every.falls) == len(third.falls) == 8  # the ninth step has no end
    np.testing.assert_array_equal(third.rates, every.rates[::3])


def test_a_longer_life_has_a_longer_stride_and_epochs_enough() -> None:
    assert [stride_at(K) for K in (0.02, 0.5)] == [9, 1]
    for e in decay_runs():
        assert e.epochs * e.steps_per_epoch > 14 / e.K  # the half-life, about
    for found in half_lives(decay_runs(), HALF_LIVES):
        assert found.steps < found.experiment.epochs * found.experiment.steps_per_epoch
    assert HalfLife(SMALL, 1) != HalfLife(SMALL, 2)


def test_what_is_drawn_adds_up_to_one(halved: Halved) -> None:
    fig, ax = plt.subplots()
    draw_halving(ax, {SMALL.sigma_eps: [halved, halved]})
    points = {c.get_label(): c.lines[0].get_xydata()[0] for c in ax.containers}
    plt.close(fig)
    assert points.keys() == SHARES.keys()
    assert sum(y for _, y in points.values()) == pytest.approx(1, rel=1e-9)  # rounding
    assert points["walk"][1] == pytest.approx(shares([halved], "walk")[0])
    assert points["walk"][1] < 0 < points["curvature"][1]
