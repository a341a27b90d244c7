"""The numbers of Fig. 1 (right): powers, kinds of arithmetic, half-lives and floors."""

from __future__ import annotations

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats

from nin.companion.figures.powers import draw_powers
from nin.companion.local_power import measured_powers, times_of_both
from nin.companion.precision_gaps import PrecisionGap, overall, precision_gap, precision_table
from nin.companion.rest_tables import FLOOR_HEADS, floor_cells, halving_table
from nin.runs.history import CLEAN_QUANTITIES, History
from nin.runs.phases import Phase
from nin.studies.borders.prediction import initial_rate
from nin.studies.experiments import FIG1
from nin.studies.half_lives import Halved
from nin.studies.study import images
from nin.studies.windows import Course

SIGMA = np.array([1.0, 2.0, 4.0])


def falling(tau: float, steps: int) -> History:
    step, nothing = np.arange(steps + 1), np.zeros(0)
    ones, w_ni = np.ones(steps + 1), 3 * np.exp(-step / tau)
    clean = dict.fromkeys(CLEAN_QUANTITIES, nothing)
    return History(
        steps_per_epoch=100, step=step, loss=ones, accuracy=ones, norms={"w_ni": w_ni},
        eval_step=nothing, **clean, diverged_step=None, last_finite_loss=1.0,
    )  # fmt: skip


def test_times_are_those_of_the_short_runs_and_of_long_ones_where_these_end_too_soon() -> None:
    short = {1.0: [falling(400, 100), falling(9, 100)], 4.0: [falling(40, 100), falling(20, 100)]}
    long = {1.0: [falling(400, 900), falling(10, 900)], 4.0: [falling(1, 900), falling(1, 900)]}
    long[2.0] = [falling(200, 900), falling(5000, 900)]
    strengths, times = times_of_both(short, long, 0.5)
    np.testing.assert_allclose(strengths, [1, 4])  # one run is not there at 2
    np.testing.assert_allclose(times, [[400, 10], [40, 20]], rtol=1e-10)
    assert not len(times_of_both({}, {}, 0.5)[0])


def test_a_power_law_has_its_power_everywhere_and_a_single_strength_has_none() -> None:
    scatter = np.array([1.0, 1.1, 0.9])
    tau = 100 * SIGMA[:, None] ** -2 * scatter
    found = measured_powers(
        {0.5: (SIGMA, tau), 0.45: (SIGMA[1:], tau[1:]), 0.4: (SIGMA[:1], tau[:1])}
    )
    assert [(q.share, q.low, q.high) for q in found] == [(0.5, 1, 2), (0.5, 2, 4), (0.45, 2, 4)]
    for q in found:
        assert (q.value, q.err) == (pytest.approx(-2), pytest.approx(0, abs=1e-12))


def test_a_power_is_drawn_between_its_strengths() -> None:
    _, ax = plt.subplots()
    draw_powers(ax, measured_powers({0.5: (SIGMA, SIGMA[:, None] ** np.array([-1.0, -3.0]))}), -2)
    [container] = ax.containers
    np.testing.assert_allclose(container.lines[0].get_xydata(), [(2**0.5, -2), (8**0.5, -2)])
    plt.close()


def test_gaps_are_those_of_the_same_seeds_and_seeds_scatter_over_all() -> None:
    coarse = np.array([10.0, 20.0, 40.0])
    gap = precision_gap("w_ni", 0.1, coarse, np.array([5.0, 40.0]), [0, 2])
    assert gap is not None
    np.testing.assert_allclose(np.exp(gap.gaps), [2, 1])
    assert gap.variance == pytest.approx(np.log(2) ** 2)  # the logarithms deviate by ln 2
    rms, shift, seeds, n = overall([gap])
    assert (rms, shift) == (pytest.approx(np.log(2) / 2**0.5), pytest.approx(np.log(2) / 2))
    assert (seeds, n) == (pytest.approx(np.log(2)), 2)


def test_gaps_are_told_at_each_strength_and_over_all() -> None:
    gaps = [PrecisionGap("w_ni", K, np.log([1.1, 1 / 1.1]), 0.04) for K in (0.1, 10.0)]
    table = precision_table({"noise weights": gaps, "loss": []})
    assert table is not None
    weak, strong, pooled = table.rows()
    assert weak == ("noise weights", "0.1", "1.100, 0.909", "20.0%")
    assert strong[1] == "10"
    assert pooled[2] == f"rms {np.log(1.1):.1%}, mean +0.0% (n = 4 pairs)"
    assert precision_table({"loss": []}) is None


def test_a_time_that_is_missing_has_no_gap() -> None:
    assert precision_gap("w_ni", 0.1, np.array([1.0, np.inf]), np.ones(1), [0]) is None


def test_a_half_life_is_over_that_of_the_curvature_at_the_start() -> None:
    data = images("std", 0)
    small = dataclasses.replace(FIG1, width=16, depth=1)
    runs = []
    for seed, factor in ((0, 1.0), (1, 3.0)):
        e = small.at(0.1, seed=seed)
        steps = factor * np.log(2) / (initial_rate(e, data) * e.sigma_eps**2)
        parts = {"curvature": 2.0, "kinks": 0.5, "bend": -1.0, "kick": 0.0}
        runs.append(Halved(e, steps, 0.0, np.log(2), 0.0, parts, {}))
    [row] = halving_table({"small": runs}, data).rows()
    assert row[1] == pytest.approx((2, 1))  # 1 and 3 times
    scaled = 2 / np.log(2) / np.array([1, 3])
    assert row[2] == pytest.approx((scaled.mean(), stats.sem(scaled)))
    assert row[3] == pytest.approx((2 / np.log(2), 0))
    assert row[6] == pytest.approx((1 - 1.5 / np.log(2), 0))


def test_where_the_walk_makes_up_for_the_pull_the_floor_is_the_length() -> None:
    ones = np.ones((1, 4))
    steps = {"pull": ones, "fall": 0 * ones, "kick": 0 * ones, "curvature": ones, "kinks": 0 * ones}
    points = ("exact", "averaged", "trace", "reach", "loss", "step", "w_ni")
    one = {name: np.ones(1) for name in points} | {"size": np.array([0.3])}
    course = Course(FIG1, (0,), **steps, bend=-ones, **one, phase=Phase.DECAY, made={})
    size, floor, ratio, pull, walk = floor_cells([course, course], 0)
    assert len(FLOOR_HEADS) == 5
    for (value, err), expected in ((size, 0.3), (floor, 0.3), (ratio, 1)):
        assert (value, err) == (pytest.approx(expected), pytest.approx(0, abs=1e-12))
    assert (pull[0], walk) == (pytest.approx(1), pytest.approx(1))
