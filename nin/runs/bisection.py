"""A search for the noise strength at which something begins."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from nin.runs.averages import Array

FIRST_STEP = 0.1
"""In ln(sigma_eps), of a walk from a prediction: most are not further off."""


@dataclass(frozen=True)
class Border:
    """A border found by bisection, once for each seed.

    Attributes:
        value: Geometric mean of the border over seeds, or NaN where nothing was found.
        err: One standard error of `value`: seeds and the width of the last brackets.
        values: The border of each seed that has one in the range.
        below: Number of seeds that are past the border already at the low end.
        above: Number of seeds that are not past it at the high end.
    """

    value: float
    err: float
    values: Array = field(repr=False)
    below: int
    above: int

    @property
    def found(self) -> bool:
        """Whether any seed has a border in the range."""
        return bool(len(self.values))


def find_border(
    past: Callable[[Array], Array], low: float, high: float, seeds: int, tolerance: float = 1e-3
) -> Border:
    """Bracket the noise strength at which something begins, by bisection in its logarithm.

    Args:
        past: Says of sigma_eps, one for each seed, (seeds,), whether each run is past the border.
        low: Smallest sigma_eps to look at, > 0.
        high: Largest, > `low`.
        seeds: Number of independent runs.
        tolerance: Relative width of the last brackets; where floating-point numbers lie further
            apart, the search ends there.

    Raises:
        ValueError: If the range or the number of seeds is empty.

    >>> border = find_border(lambda sigma: sigma > 2.0, 1.0, 10.0, seeds=3)
    >>> round(border.value, 2), border.found
    (2.0, True)
    """
    if not (0 < low < high and seeds >= 1 and tolerance > 0):
        raise ValueError(
            f"expected 0 < low < high, seeds >= 1 and tolerance > 0, "
            f"not {low}, {high}, {seeds}, {tolerance}"
        )
    lo, hi = np.full(seeds, np.log(low)), np.full(seeds, np.log(high))
    at_low, at_high = (np.asarray(past(np.exp(ends)), bool) for ends in (lo, hi))
    middle = (lo + hi) / 2
    while (hi - lo).max() > tolerance and ((lo < middle) & (middle < hi)).any():
        beyond = np.asarray(past(np.exp(middle)), bool)
        hi, lo = np.where(beyond, middle, hi), np.where(beyond, lo, middle)
        middle = (lo + hi) / 2
    middle = ((lo + hi) / 2)[~at_low & at_high]
    n, width = len(middle), float((hi - lo).max())
    value = float(np.exp(middle.mean())) if n else float("nan")
    spread = float(middle.var(ddof=1)) / n if n > 1 else 0.0
    err = value * np.sqrt(spread + width**2 / 12)  # a bracket's own error does not average out
    return Border(value, float(err), np.exp(middle), int(at_low.sum()), int((~at_high).sum()))


def border_of_one(
    past: Callable[[float], bool], low: float, high: float, tolerance: float, around: float | None
) -> float:
    """Return the border of a single run, searched for from where it is said to be.

    Args:
        past: Says of a sigma_eps whether it is past the border.
        low: Smallest sigma_eps to look at, > 0.
        high: Largest, > `low`.
        tolerance: As for `find_border`.
        around: A prediction, from which to walk in steps that double until the border is passed;
            None: the whole range is bisected.

    Returns:
        sigma_eps: 0 if the low end of the range is past the border already, infinite if the high
        end is short of it.

    Raises:
        ValueError: If the range is empty.

    >>> seen = []
    >>> border_of_one(lambda s: seen.append(s) or s > 2.0, 1.0, 100.0, 0.03, around=1.9) > 1.97
    True
    >>> len({round(s, 6) for s in seen})
    4
    """
    if not 0 < low < high:
        raise ValueError(f"expected 0 < low < high, not {low}, {high}")
    if around is not None:
        low, high = _walk(past, low, high, around)
    at_low, at_high = past(low), past(high)
    if at_low or not at_high:
        return 0.0 if at_low else float("inf")
    return find_border(lambda s: np.array([past(float(s[0]))]), low, high, 1, tolerance).value


def _walk(past: Callable[[float], bool], low: float, high: float, at: float) -> tuple[float, float]:
    """Return two ends with the border between them; if no step passes it, an end of the range."""
    at = min(max(low, at), high)
    is_past = past(at)
    end, step = (low, -FIRST_STEP) if is_past else (high, FIRST_STEP)
    while at != end:
        there = min(max(at * math.exp(step), low), high)
        if past(there) != is_past:
            return min(at, there), max(at, there)
        at, step = there, 2 * step
    return end, end
