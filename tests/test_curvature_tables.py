"""Tables of curvature in training say what courses and estimates hold."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from nin.companion import curvature_tables as tables
from nin.runs.phases import Phase
from nin.studies.experiments import FIG1
from nin.studies.traces import Estimates
from nin.studies.windows import Course

STARTS, SHAPE = (0, 40), (2, 4)
PULLS = (0.8, 1.2)  # over the Hessian's, of two seeds


def course(pull: float, **points: float) -> Course:
    """A run whose pull is this multiple of the Hessian's, kinks a quarter of it, walk a half."""
    ones = np.ones(SHAPE)
    steps = {"pull": pull * ones, "fall": (pull - 0.5) * ones, "kick": 0 * ones}
    steps |= {"curvature": ones, "kinks": 0.25 * ones, "bend": -0.6 * ones}
    names = ("exact", "averaged", "trace", "size", "reach", "loss", "step", "w_ni")
    at = {name: np.full(2, points.get(name, 1.0)) for name in names}
    return Course(FIG1, STARTS, **steps, **at, phase=Phase.DECAY, made={})


@pytest.fixture
def groups() -> tables.Groups:
    return {("layers.0", 0.1): [course(pull, exact=pull, trace=0.5) for pull in PULLS]}


def test_windows_are_listed_with_phase_length_and_reach(groups: tables.Groups) -> None:
    [row] = tables.watched_table(groups).rows()
    assert row == ("layers.0", 0.1, "decay, decay", 1, 1, 1, 1)


def test_a_slope_is_the_pull_over_what_is_predicted(groups: tables.Groups) -> None:
    alone = pytest.approx((np.mean(PULLS), stats.sem(PULLS)))
    kinked = pytest.approx((np.mean(PULLS) / 1.25, stats.sem(PULLS) / 1.25))
    for row, start in zip(tables.slope_table(groups).rows(), STARTS, strict=True):
        assert row[2:] == (start, alone, kinked)
    [row] = tables.strength_table(groups).rows()
    assert row[2:] == (alone, kinked, pytest.approx((0.25, 0)))
    [row] = tables.smooth_table(groups).rows()
    assert row == (0.1, alone, alone)


def test_a_window_in_which_nothing_is_predicted_has_no_slope() -> None:
    dead = [dataclasses.replace(course(1.0), curvature=np.zeros(SHAPE)) for _ in range(2)]
    assert tables.smooth_table({("layers.0", 1.0): dead}).rows() == [
        (1, *["no curvature left"] * 2)
    ]


def test_pull_and_walk_are_summed_over_the_steps_of_a_window(groups: tables.Groups) -> None:
    for row in tables.walk_table(groups).rows():
        assert row[3:] == pytest.approx((4 * np.mean(PULLS), -4 * 0.5, -4 * 0.6))


def test_predictions_of_single_batches_are_sorted_by_reach() -> None:
    near, far = course(1.0, reach=0.3, exact=1.5), course(1.0, reach=5.0, exact=0.8)
    rows = tables.reach_table({"ReLU": [near, far]}).rows()
    assert [row[1:4] for row in rows] == [("0.1 to 0.5", 2, "50.0%"), ("above 2", 2, "20.0%")]
    assert rows[0][4] == "20.0%"  # 1.5 over 1.25


def test_rates_stand_layer_by_layer(groups: tables.Groups) -> None:
    later = {("layers.1", 0.1): [course(3.0, exact=3.0)]}
    for row in tables.rate_table({**groups, **later}, [0.1]).rows():
        assert row[2:] == pytest.approx((np.mean(PULLS), 3, 1, 1))


def test_what_has_turned_is_steeper_than_a_random_direction(groups: tables.Groups) -> None:
    [row] = tables.turn_table(groups).rows()
    assert row[2:4] == pytest.approx((2, 2))  # over a trace of 0.5
    assert row[4:] == pytest.approx([np.mean(PULLS) - 0.5] * 2)


def test_a_trace_and_what_is_read_off_a_decay_have_their_errors() -> None:
    draws = np.array([1.0, 3.0]) * 1e-4
    decay, own = np.array([[2.0, 1.0], [6.0, 1.0]]), np.array([1.0, 2.0])
    e = Estimates(
        FIG1, 0, np.ones(1), np.ones((1, 2, 2)), decay, own, 0.3, draws, np.array([4]), 1,
        draws[None], 0.5, 2.0, 6.0, {},
    )  # fmt: skip
    [row] = tables.trace_table({"net": e}).rows()
    assert row[1] == pytest.approx((2, 1 / 2**0.5))  # two kinds of estimate, alike
    assert row[2] == pytest.approx((2, 1))
    assert row[3:5] == (0.5, "3.0 gradients")
    [row] = tables.decay_reading_table({"net": e}).rows()
    assert row == ("net", pytest.approx((2.5, 0.5)), 0.3)
