"""Outcomes that go back and forth: every crossing is told, and none is chosen by a search."""

from __future__ import annotations

import numpy as np
import pytest

from nin.runs.bisection import find_border
from nin.runs.crossings import Crossings

STRENGTHS = np.geomspace(0.5, 1.6, 20)


def of_thresholds(thresholds: np.ndarray) -> Crossings:
    return Crossings(STRENGTHS, STRENGTHS > thresholds[:, None])


def test_a_run_that_crosses_once_has_one_border() -> None:
    once = of_thresholds(np.array([0.8, 1.3]))
    assert once.count.tolist() == [1, 1]
    assert once.first == pytest.approx(once.last) and once.first == pytest.approx(once.middle)
    # The nearest a grid can tell: half of its spacing.
    assert once.middle == pytest.approx([0.8, 1.3], rel=0.032)


def test_a_run_that_never_crosses_is_past_from_0_or_from_infinity() -> None:
    never = Crossings(STRENGTHS, np.array([[True] * 20, [False] * 20]))
    assert never.first.tolist() == never.last.tolist() == [0, np.inf]
    assert never.count.tolist() == [0, 0]
    assert never.middle == pytest.approx(STRENGTHS[[0, -1]])


def test_wherever_a_search_begins_it_ends_between_the_first_and_the_last_crossing() -> None:
    rng = np.random.default_rng(0)
    past = rng.random((40, 20)) < np.linspace(0, 1, 20)
    past[:, 0], past[:, -1] = False, True
    seen, log = Crossings(STRENGTHS, past), np.log(STRENGTHS)
    ends = set()
    for i, row in enumerate(past):
        for low in np.flatnonzero(~row[:-1]):
            for high in low + 1 + np.flatnonzero(row[low + 1 :]):

                def at_nearest(sigma: np.ndarray, row: np.ndarray = row) -> np.ndarray:
                    return row[np.abs(log - np.log(sigma[:, None])).argmin(1)]

                end = find_border(at_nearest, STRENGTHS[low], STRENGTHS[high], 1, 0.01).value
                assert seen.first[i] * 0.99 < end < seen.last[i] * 1.01  # the search's tolerance
                ends.add((i, np.searchsorted(STRENGTHS, end)))
    # Several crossings are several answers, and each of them is a search's somewhere.
    assert len(ends) == sum((seen.count + 1) // 2)


def test_the_mean_over_seeds_is_where_half_of_them_are_past() -> None:
    rng, spread = np.random.default_rng(1), 0.15
    means = []
    for _ in range(400):
        seen = of_thresholds(0.9 * np.exp(spread * rng.standard_normal(14)))
        means.append(np.log(seen.middle).mean())
    off = np.array(means) - np.log(0.9)
    assert abs(off.mean()) < 3 * off.std() / 20  # 400 trials
    assert off.std() == pytest.approx(spread / np.sqrt(14), rel=0.15)  # and 5 of their errors
    seen = of_thresholds(0.9 * np.exp(spread * rng.standard_normal(2001)))
    [half] = seen.majority.first
    assert half == seen.majority.last == pytest.approx(0.9, rel=0.032)  # half of the spacing


@pytest.mark.parametrize(
    ("strengths", "past"),
    [([1.0, 1.0], [[True, True]]), ([0.0, 1.0], [[True, True]]), ([1.0, 2.0], [[True]])],
    ids=["equal", "zero", "too few"],
)
def test_what_is_no_sweep_is_refused(strengths: list[float], past: list[list[bool]]) -> None:
    with pytest.raises(ValueError, match="strengths"):
        Crossings(np.array(strengths), np.array(past))
