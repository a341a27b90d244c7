"""Where runs cross a border that they may cross more than once, wherever a search begins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nin.runs.averages import Array


@dataclass(frozen=True)
class Crossings:
    """What came of runs at strengths that were set before any of them was looked at.

    A search by bisection ends at a crossing from short of a border to past it; where there are
    several, its start decides at which: anywhere from `first` to `last`. `middle` and `majority`
    know of no start.

    Attributes:
        strengths: > 0, rising, (strengths,).
        past: Whether each run is past the border, (seeds, strengths).

    >>> twice = Crossings(np.array([1.0, 4.0, 16.0, 64.0]), np.array([[False, True, False, True]]))
    >>> twice.first, twice.middle, twice.last, twice.count
    (array([2.]), array([8.]), array([32.]), array([3]))
    """

    strengths: Array
    past: Array

    def __post_init__(self) -> None:
        """Take what comes as arrays.

        Raises:
            ValueError: If strengths do not rise from above 0, or the shapes do not fit.
        """
        strengths, past = np.asarray(self.strengths, float), np.asarray(self.past, bool)
        if strengths.ndim != 1 or past.ndim != 2 or past.shape[1] != len(strengths):
            raise ValueError(
                "expected strengths, (strengths,), and outcomes, (seeds, strengths), not "
                f"{strengths.shape} and {past.shape}"
            )
        if not (strengths > 0).all() or not (np.diff(strengths) > 0).all():
            raise ValueError(f"strengths must be > 0 and rise, not {strengths}")
        object.__setattr__(self, "strengths", strengths)
        object.__setattr__(self, "past", past)

    @property
    def first(self) -> Array:
        """Where each run first goes over the border: 0 if it is past at the lowest strength."""
        return self._between()[np.cumprod(~self.past, 1).sum(1)]

    @property
    def last(self) -> Array:
        """Where each run is past it for good: infinite if it is short at the highest strength."""
        return self._between()[len(self.strengths) - np.cumprod(self.past[:, ::-1], 1).sum(1)]

    @property
    def count(self) -> Array:
        """How often each run crosses the border, there and back."""
        return np.diff(self.past).sum(1)

    @property
    def middle(self) -> Array:
        """Where one crossing would leave as much of the range short of the border as there is.

        The mean of the logarithms over seeds is where half of them are past it, by Spearman and
        Kaerber: the step that has the area of the curve of shares.
        """
        log = np.log(self.strengths)
        beyond = (self.past[:, 1:] + self.past[:, :-1].astype(float)) / 2 @ np.diff(log)
        return np.exp(log[-1] - beyond)

    @property
    def majority(self) -> Crossings:
        """What comes of half of the runs or more, as the outcome of one."""
        return Crossings(self.strengths, self.past.mean(0, keepdims=True) >= 0.5)

    def _between(self) -> Array:
        """Return the middles of neighbouring strengths, 0 and infinity at the ends."""
        return np.concatenate([[0], np.sqrt(self.strengths[1:] * self.strengths[:-1]), [np.inf]])
