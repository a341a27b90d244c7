"""The floor of |w_ni|: how small batches, learning rate, noise and width leave it, on record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nin.folders import RESULTS
from nin.studies.experiments import FIG1, Experiment
from nin.studies.study import Shelf, independent
from nin.studies.windows import Course, check_windows, predicted_floor, window_courses

FLOORS_SHELF = Shelf(RESULTS / "floors", "floor", may_make=False)
BASE = dataclasses.replace(FIG1, width=128, batch_size=64, sigma_eps=60.0)
"""A narrower network than Fig. 1's, so that runs take seconds."""
BATCHES = (16, 32, 64, 128, 256)
OTHERS: dict[str, tuple[float, ...]] = {"sigma_eps": (40.0, 120.0), "eta": (0.025, 0.1)}
WIDTHS = (0.5, 4)
"""Varied one at a time, at each of `OTHER_BATCHES`; widths are multiples of the base's."""
OTHER_BATCHES = (32, 256)
WEAK = (10.0, 20.0)
"""Noise too weak for |w_ni| to come down in time, in batches so small that it hardly has to."""
TIMES = (60.0, 75.0, 90.0, 105.0)
"""eta times the steps at which windows begin: |w_ni| has come down, and is another at each."""
LENGTH = 20


@dataclass(frozen=True)
class Floor:
    """Where |w_ni| of a configuration rests, for each seed.

    Attributes:
        measured: Root mean square of |w_ni| over the windows, (seeds,).
        predicted: The same of `nin.studies.windows.predicted_floor`; NaN where no window has one.
        curvature: Of the local loss along w_ni, mean over the windows, (seeds,).
    """

    measured: np.ndarray
    predicted: np.ndarray
    curvature: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """Measured over predicted, (seeds,)."""
        return self.measured / self.predicted


def floor_grid(base: Experiment = BASE, batches: Sequence[int] = BATCHES) -> list[Experiment]:
    """Return the configurations whose floor is measured.

    Args:
        base: What they share where it is not varied.
        batches: Sizes of batches, rising.

    >>> len(floor_grid())
    19
    """
    varied: list[dict[str, Any]] = [{}] + [
        {name: value} for name, values in OTHERS.items() for value in values
    ]
    varied += [{"width": round(factor * base.width)} for factor in WIDTHS]
    few = [n for n in OTHER_BATCHES if n in batches] or [batches[0]]
    grid: list[tuple[int, dict[str, Any]]] = [(n, {}) for n in batches]
    grid += [(n, others) for others in varied for n in few]
    grid += [(few[0], {"sigma_eps": weak}) for weak in WEAK]
    found = [dataclasses.replace(base, batch_size=n, **others) for n, others in grid]
    return list(dict.fromkeys(found))


def starts(e: Experiment, times: Sequence[float] = TIMES) -> list[int]:
    """Return the first step of each window of a configuration.

    Args:
        e: The configuration.
        times: eta times the steps at which windows begin.

    Raises:
        ValueError: If windows overlap.
    """
    found = [round(t / e.eta) for t in times]
    check_windows(found, LENGTH)
    return found


def floors(
    grid: Sequence[Experiment], seeds: Sequence[int], shelf: Shelf, times: Sequence[float] = TIMES
) -> dict[Experiment, Floor]:
    """Measure the floor of configurations, or read it from the records.

    Args:
        grid: The configurations; seed, epochs and evaluations are of no account.
        seeds: Seeds of the runs.
        shelf: Where the records lie, and whether they may be made.
        times: eta times the steps at which windows begin.

    Raises:
        ValueError: If a configuration has no noise, windows overlap, or a seed is named twice.
        RecordError: If a record is damaged, cannot be written, or is missing and may not be made.
    """
    seeds, found = independent(seeds), {}
    for eta in dict.fromkeys(e.eta for e in grid):  # runs of one eta have their windows alike
        ours = [e for e in grid if e.eta == eta]
        runs = [dataclasses.replace(e, seed=k) for e in ours for k in seeds]
        courses = window_courses(runs, shelf, starts(ours[0], times), LENGTH)
        for i, e in enumerate(ours):
            of = courses[i * len(seeds) : (i + 1) * len(seeds)]
            found[e] = Floor(*(np.array([of_one(c) for c in of]) for of_one in _OF_ONE))
    return {e: found[e] for e in grid}


def _measured(c: Course) -> float:
    return _rms(c.size)


def _predicted(c: Course) -> float:
    return _rms(np.array([predicted_floor(c, w) for w in range(len(c.starts))]))


def _curvature(c: Course) -> float:
    per_step = c.experiment.eta * c.experiment.sigma_eps**2
    return float(np.nanmean(c.curvature)) / per_step


_OF_ONE = (_measured, _predicted, _curvature)


def _rms(sizes: np.ndarray) -> float:
    known = sizes[np.isfinite(sizes)]  # a pull of the wrong sign predicts nothing
    return float(np.sqrt(np.mean(known**2))) if len(known) else float("nan")


def power(found: Mapping[Experiment, Floor], name: str, what: str = "measured") -> np.ndarray:
    """Fit a power of one thing that is varied, configurations alike in all else sharing it.

    Args:
        found: Of `floors`.
        name: A field of `Experiment`, such as ``"batch_size"``.
        what: A field of `Floor`.

    Returns:
        The exponent of each seed, (seeds,).

    Raises:
        ValueError: If nothing differs in that field alone.
    """
    alike: dict[Experiment, list[tuple[float, np.ndarray]]] = {}
    for e, floor in found.items():
        shared = dataclasses.replace(e, **{name: getattr(BASE, name)})
        point = float(np.log(getattr(e, name))), np.log(getattr(floor, what))
        alike.setdefault(shared, []).append(point)
    x, y = [], []
    for points in alike.values():
        at, values = (np.array(column) for column in zip(*points, strict=True))
        x.append(at - at.mean())
        y.append(values - values.mean(0))
    along, values = np.concatenate(x), np.concatenate(y)
    if not along.any():
        raise ValueError(f"no two of these configurations differ in {name} alone")
    return np.asarray(along @ values / (along @ along))
