"""Is one way better than others at an equal price? Frontiers of points, and errors by jackknife."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import special

from nin.runs.averages import mean


def frontier(paths: Sequence[np.ndarray], at: float) -> float:
    """Return the most that any path gains where it keeps at least what is asked.

    A path is the straight line from each of its points to the next, as a setting is turned up.
    Where none keeps so much, what is gained at the point that keeps the most counts.

    Args:
        paths: What is kept and what is gained, (points, 2) each.
        at: What is to be kept.

    >>> path = np.array([[0.75, 0.25], [0.5, 0.75]])
    >>> frontier([path], 0.625), frontier([path], 1.0)
    (0.5, 0.25)
    """
    points = np.concatenate([_with_crossings(path, at) for path in paths])
    enough = points[:, 0] >= at
    if not enough.any():
        enough = points[:, 0] == points[:, 0].max()
    return float(points[enough, 1].max())


def level(paths: Sequence[np.ndarray], at: float) -> float:
    """Return the most that any path gains where it keeps just what is asked.

    Where none keeps so much or so little, what is gained at the point that keeps nearest to it.

    Args:
        paths: As for `frontier`.
        at: What is to be kept.

    >>> path = np.array([[0.75, 0.25], [0.5, 0.75]])
    >>> level([path], 0.625), level([path], 0.25)
    (0.5, 0.75)
    """
    points = np.concatenate([_with_crossings(path, at) for path in paths])
    off = np.abs(points[:, 0] - at)
    return float(points[off == off.min(), 1].max())


def _with_crossings(path: np.ndarray, at: float) -> np.ndarray:
    """Return a path's points, and those where it passes a value of its first coordinate."""
    below = path[:, 0] < at
    [first] = np.nonzero(below[1:] != below[:-1])
    (x0, y0), (x1, y1) = path[first].T, path[first + 1].T
    gained = y0 + (at - x0) / (x1 - x0) * (y1 - y0)
    return np.concatenate([path, np.column_stack([np.full_like(gained, at), gained])])


def advantage(
    points: np.ndarray,
    paths: Sequence[np.ndarray],
    above: Callable[[Sequence[np.ndarray], float], float] = frontier,
) -> tuple[float, float]:
    """Return by how much points lie above a frontier, on average, and the standard error.

    Means over seeds make points and frontier, since the best of noisy points flatters itself; the
    error, of the frontier too, comes from leaving out each seed in turn (jackknife). Seeds pair:
    runs of one seed share what they start from.

    Args:
        points: What is kept and what is gained, (seeds, points, 2).
        paths: Those that make the frontier, (seeds, points, 2) each.
        above: `frontier`, or `level`.

    Returns:
        The value, less its bias to first order, and its error: 0 with one seed, which has none.
    """

    def found(seeds: np.ndarray) -> float:
        lines = [path[seeds].mean(0) for path in paths]
        return float(np.mean([y - above(lines, x) for x, y in points[seeds].mean(0)]))

    seeds = np.arange(len(points))
    if len(seeds) == 1:
        return found(seeds), 0.0
    less = np.array([found(np.delete(seeds, k)) for k in seeds])
    return mean(len(seeds) * found(seeds) - (len(seeds) - 1) * less)


def half_interval(err: float, n: int, comparisons: int = 1, level: float = 0.05) -> float:
    """Return half of the interval of a mean by Student's law, shared by several (Bonferroni).

    Args:
        err: Standard error.
        n: Independent values; of one there is no interval: infinite.
        comparisons: Intervals that shall all hold at once.
        level: How often one of them may fail.

    >>> round(half_interval(1.0, 5), 3)
    2.776
    """
    if n < 2:
        return float("inf")
    return float(special.stdtrit(n - 1, 1 - level / 2 / comparisons)) * err
