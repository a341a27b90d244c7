"""All predictions of one configuration's borders, kept on record beside the measured ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nin.curvature.gauss_newton import SAMPLES
from nin.studies.borders.noise_only import noise_only_borders
from nin.studies.borders.prediction import Curve, curve, decay_time, halves
from nin.studies.borders.search import K_RANGE
from nin.studies.experiments import Experiment
from nin.studies.records import Made
from nin.studies.study import Shelf, bare, images_of, independent, kept, together
from nin.studies.sweep import kept_all

METHODS = ("halves", "curvature", "noise only")
"""A formula, the curvature at the initial weights, and the dynamics without data."""
_GRID = 9  # noise strengths of a curve: factors of 3 in the variance


@dataclass(frozen=True)
class Forecast:
    """The predicted borders of a configuration, for each seed.

    Attributes:
        base: The experiment; its noise strength, seed, epochs and evaluations are of no account.
        seeds: Seeds of the initial weights.
        steps: Length of the runs.
        curves: The curvature against the noise, one for each seed.
        theta: `nin.studies.borders.prediction.decay_time` of each, (seeds,).
        noise_only: sigma_eps by border, (seeds,) each.
        made: How it was made; ``"seconds"`` is the time of all.
    """

    base: Experiment
    seeds: tuple[int, ...]
    steps: int
    curves: list[Curve]
    theta: np.ndarray
    noise_only: dict[str, np.ndarray]
    made: Made

    def borders(self, method: str) -> dict[str, np.ndarray]:
        """Return sigma_eps by border, (seeds,) each; infinite where nothing is predicted.

        Args:
            method: One of `METHODS`. ``"halves"`` is there for one hidden ReLU layer only, and
                gives no borders otherwise.

        Raises:
            ValueError: If there is no such method.
        """
        if method not in METHODS:
            raise ValueError(f"method must be one of {METHODS}, not {method!r}")
        if method == "noise only":
            return self.noise_only
        if method == "halves":
            e = self.base
            if (e.depth, e.activation, e.layer) != (1, "relu", "layers.0"):
                return {}
            found = [halves(dataclasses.replace(e, seed=k)) for k in self.seeds]
        else:
            found = [c.predict() for c in self.curves]
        names = [f.name for f in dataclasses.fields(found[0])]
        return {name: np.array([getattr(p, name) for p in found]) for name in names}

    def decay(self, steps: int) -> np.ndarray:
        """Return the noise at which half of |w_ni| is left after some steps: sigma_eps, (seeds,).

        Args:
            steps: SGD steps.
        """
        return np.sqrt(self.theta / (self.base.eta * steps))


@dataclass(frozen=True)
class Forecasting:
    """What a record is of: the forecast for one seed.

    Attributes:
        experiment: The network, with the seed.
        steps: Length of the runs to predict.
        samples: Images behind the curvature.
        strengths: Of the noise, of a curve.
    """

    experiment: Experiment
    steps: int
    samples: int
    strengths: int


def forecasts(
    bases: Sequence[Experiment], seeds: Sequence[int], steps: int, shelf: Shelf
) -> dict[Experiment, Forecast]:
    """Predict the borders of configurations side by side, or read them from the records.

    Args:
        bases: The experiments.
        seeds: Seeds of the initial weights.
        steps: Length of the runs to predict.
        shelf: Where the records lie, and whether they may be made.

    Raises:
        ValueError: If there is no seed, or one is named twice.
        RecordError: If a record is damaged, cannot be written, or is not there and may not be made.
    """
    seeds = independent(seeds)
    grid = [
        Forecasting(bare(e, sigma_eps=0.0, seed=k), steps, SAMPLES, _GRID)
        for e in bases
        for k in seeds
    ]
    found = kept_all(_forecast, grid, shelf)
    each = (found[i : i + len(seeds)] for i in range(0, len(found), len(seeds)))
    return {e: _gathered(e, seeds, steps, parts) for e, parts in zip(bases, each, strict=True)}


def forecast(base: Experiment, seeds: Sequence[int], steps: int, shelf: Shelf) -> Forecast:
    """Predict one configuration's borders; see `forecasts`."""
    return forecasts([base], seeds, steps, shelf)[base]


def _gathered(
    base: Experiment, seeds: Sequence[int], steps: int, found: Sequence[dict[str, Any]]
) -> Forecast:
    alone = [name for name in found[0] if name.startswith("noise_only/")]
    return Forecast(
        bare(base, sigma_eps=0.0, seed=0),
        tuple(seeds),
        steps,
        [Curve(one["sigma_eps"], one["lam"], one["lam_w_ni"]) for one in found],
        np.array([one["theta"] for one in found]),
        {name.split("/")[1]: np.array([one[name] for one in found]) for name in alone},
        together([one["made"] for one in found]),
    )


def _forecast(asked: Forecasting, shelf: Shelf) -> dict[str, Any]:
    e = asked.experiment
    stem = f"forecast-{e.loss}-{e.activation}-depth{e.depth}-seed{e.seed}"
    return kept(stem, asked, partial(_compute, asked), dict, shelf)


def _compute(asked: Forecasting) -> dict[str, ArrayLike]:
    e, K = asked.experiment, K_RANGE[asked.experiment.loss]
    data = images_of(e)
    low, high = (e.at(k).sigma_eps for k in K)
    sigma_eps = np.geomspace(low, high, asked.strengths)
    found = curve(e, sigma_eps.tolist(), data, asked.samples)
    alone = noise_only_borders(e, asked.steps, K)
    return {
        "sigma_eps": sigma_eps,
        "lam": found.lam,
        "lam_w_ni": found.lam_w_ni,
        "theta": decay_time(e, data, asked.samples),
        **{f"noise_only/{name}": sigma for name, sigma in alone.items()},
    }
