"""Comparisons at an equal price, against a search in small steps and known answers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from nin.runs.frontiers import advantage, frontier, half_interval


@pytest.mark.parametrize("at", [0.2, 0.5, 0.62, 0.8])
def test_a_frontier_is_the_best_of_a_fine_walk_along_the_paths(at: float) -> None:
    rng = np.random.default_rng(3)
    paths = [rng.random((6, 2)), rng.random((4, 2))]
    share = np.linspace(0, 1, 20001)[:, None]
    walk = np.concatenate([a + share * (b - a) for path in paths for a, b in pairwise(path)])
    best = walk[walk[:, 0] >= at, 1].max()
    # a step of the walk is at most 1/20000 in the first coordinate, times the steepest slope
    steepest = max(abs(np.diff(p[:, 1]) / np.diff(p[:, 0])).max() for p in paths)
    assert frontier(paths, at) == pytest.approx(best, abs=steepest / 20000)


def test_what_keeps_more_than_any_path_is_compared_with_the_one_that_keeps_the_most() -> None:
    paths = [np.array([[0.9, 0.1], [0.5, 0.9]]), np.array([[0.8, 0.7]])]
    assert frontier(paths, 0.95) == 0.1


def test_an_advantage_that_all_seeds_share_is_found_without_error() -> None:
    rng = np.random.default_rng(1)
    path = np.sort(rng.random((1, 5, 2)), 1)[:, :, ::-1].repeat(4, 0)
    path[:, :, 0] = np.linspace(0.9, 0.5, 5)
    points = path[:, 1:4] + [0, 0.03]
    best = np.maximum.accumulate(path[0, :, 1])[1:4]
    value, err = advantage(points, [path])
    assert value == pytest.approx((points[0, :, 1] - best).mean())
    assert err == pytest.approx(0, abs=1e-12)  # rounding


def test_the_interval_covers_a_true_advantage_at_its_rate() -> None:
    """Robust accuracy that falls by one slope everywhere: the frontier is that line."""
    rng = np.random.default_rng(5)
    clean = np.linspace(0.9, 0.6, 4)
    hits, trials, n = 0, 400, 5
    for _ in range(trials):
        seeds = rng.normal(0, 0.01, (n, 1))  # what runs of a seed share falls out
        noise = rng.normal(0, 0.01, (2, n, 4))
        peer = np.stack([np.tile(clean, (n, 1)), 1 - clean + seeds + noise[0]], -1)
        ours = np.stack([np.tile(clean, (n, 1)), 1.02 - clean + seeds + noise[1]], -1)
        value, err = advantage(ours, [peer])
        hits += abs(value - 0.02) <= half_interval(err, n)
    assert abs(hits / trials - 0.95) < 4 * (0.95 * 0.05 / trials) ** 0.5


def test_intervals_that_share_an_error_rate_are_bonferronis() -> None:
    assert half_interval(2.0, 5, 4) == pytest.approx(2 * stats.t.isf(0.025 / 4, 4))
    assert half_interval(0.0, 1) == float("inf")
