"""All predictions of one configuration's borders, kept on record beside the measured ones."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from nin.curvature.gauss_newton import SAMPLES
from nin.networks.training import hide_bar
from nin.studies.borders.noise_only import noise_only_borders
from nin.studies.borders.prediction import Curve, curve, decay_time, halves
from nin.studies.borders.search import BORDERS_FOLDER, K_RANGE
from nin.studies.experiment import Experiment
from nin.studies.records import provenance, read_or_make, record_key
from nin.studies.study import one_thread, training_data

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
    made: dict[str, str | int | float]

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


def forecast(
    base: Experiment,
    seeds: Sequence[int],
    steps: int,
    folder: Path = BORDERS_FOLDER,
    *,
    may_compute: bool = True,
    recompute: bool = False,
    progress: bool | None = None,
) -> Forecast:
    """Predict a configuration's borders, or read them from the record.

    Args:
        base: The experiment.
        seeds: Seeds of the initial weights.
        steps: Length of the runs to predict.
        folder: Where the record lies.
        may_compute: Whether to compute what is not on record; else that is an error.
        recompute: Whether to compute even what is on record.
        progress: Whether to show a bar; default: on a terminal or in a notebook, not in CI.

    Raises:
        RecordError: If the record is damaged, cannot be written, or is not there and may not be
            made.
    """
    base = dataclasses.replace(base, sigma_eps=0.0, seed=0, epochs=1, evaluations=1)
    key = record_key(dataclasses.asdict(base), list(seeds), steps, SAMPLES, _GRID)
    path = folder / f"forecast-{base.loss}-{base.activation}-depth{base.depth}-{key}.npz"

    def make() -> dict[str, np.ndarray]:
        with one_thread():
            return _compute(base, seeds, steps, progress)

    options = {"may_make": may_compute, "recompute": recompute}
    return read_or_make(path, make, _forecast, "network_borders", **options)


def _compute(
    base: Experiment, seeds: Sequence[int], steps: int, progress: bool | None
) -> dict[str, np.ndarray]:
    start, made = time.perf_counter(), provenance("cpu")
    data, K = training_data(base.scaling, base.split_seed), K_RANGE[base.loss]
    low, high = (base.at(k).sigma_eps for k in K)
    sigma_eps = np.geomspace(low, high, _GRID)
    rows: dict[str, list[object]] = {}
    for seed in tqdm(seeds, unit="seed", disable=hide_bar(progress), leave=False):
        e = dataclasses.replace(base, seed=seed)
        found = curve(e, sigma_eps.tolist(), data)
        row = {"lam": found.lam, "lam_w_ni": found.lam_w_ni, "theta": decay_time(e, data)}
        alone = noise_only_borders(e, steps, K)
        for name, value in (row | {f"noise_only/{b}": s for b, s in alone.items()}).items():
            rows.setdefault(name, []).append(value)
    made["seconds"] = round(time.perf_counter() - start, 1)
    about = "one row per seed: see nin.studies.borders.forecasts.Forecast"
    what = {"experiment": dataclasses.asdict(base), "steps": steps, "made": made, "about": about}
    return {name: np.array(values) for name, values in rows.items()} | {
        "seed": np.array(seeds, np.int64),
        "sigma_eps": sigma_eps,
        "meta": np.array(json.dumps(what, sort_keys=True)),
    }


def _forecast(arrays: dict[str, np.ndarray]) -> Forecast:
    """Invert `_compute`."""
    meta, sigma_eps = json.loads(str(arrays["meta"])), arrays["sigma_eps"]
    curves = [
        Curve(sigma_eps, *both) for both in zip(arrays["lam"], arrays["lam_w_ni"], strict=True)
    ]
    return Forecast(
        Experiment(**meta["experiment"]),
        tuple(arrays["seed"].tolist()),
        meta["steps"],
        curves,
        arrays["theta"],
        {k.split("/")[1]: v for k, v in arrays.items() if k.startswith("noise_only/")},
        meta["made"],
    )
