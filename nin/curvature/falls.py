"""How far a weight falls along a run, beside how far rates say that it should."""

from __future__ import annotations

import numpy as np

from nin.curvature.measured_slope import ratio
from nin.runs.averages import Array


def fall_beside(step: Array, size: Array, rates: Array, left: float) -> Array:
    """Return how far the logarithm of a length fell, and how far each rate says, (1 + rates,).

    The rates are summed up over the steps, from the start to the last look before the length has
    come below a share of its start for the first time.

    Args:
        step: Of each look, (n,).
        size: The length at each, > 0, (n,).
        rates: What is said of its fall in a step, (rates, n).
        left: That share: kicks matter less while a weight is long.

    >>> step = np.arange(5.0)
    >>> fall_beside(step, np.exp(-step), np.array([np.ones(5), np.zeros(5)]), 0.1)
    array([2., 2., 0.])
    """
    below = np.flatnonzero(size < left * size[0])
    end = max(int(below[0]) if len(below) else len(step), 2)
    said = np.trapezoid(rates[:, :end], step[:end])
    return np.array([np.log(size[0] / size[end - 1]), *said])


def fall_ratio(falls: Array, by: int) -> tuple[float, float]:
    """Return how far runs fell over how far they should, of sums over runs, and the error.

    Args:
        falls: As `fall_beside` returns them, a row for each independent run.
        by: The column of what should be.

    Returns:
        The ratio and its error: 0 with one run, which has none.
    """
    measured, said = falls[:, 0], falls[:, by]
    if len(falls) == 1:
        return float(measured[0] / said[0]), 0.0
    found = ratio(measured, said)
    return found.value, found.err
