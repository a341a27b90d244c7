"""Windows of real training in which |w_ni| is watched step by step, kept on record.

A *window* is some consecutive SGD steps of a run. Of each step an observer keeps the measured pull
on w_ni and what Eq. (2) says of it on the same batch; before the first step of a window it also
averages over the noise, by quadrature. All rates are per step.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from tqdm.auto import tqdm

from nin.curvature.eq2 import step_rates
from nin.curvature.local import local_loss
from nin.curvature.pull import NODES, noise_averages
from nin.curvature.slope import Slope, ratio
from nin.networks.data import N_TRAIN
from nin.networks.losses import Loss
from nin.networks.nodes import find_node
from nin.networks.training import hide_bar, train
from nin.runs.phases import Phase, classify_phase
from nin.studies.experiment import FIG1, Experiment
from nin.studies.records import (
    RESULTS,
    RecordError,
    provenance,
    read_arrays,
    record_key,
    write_arrays,
)
from nin.studies.study import one_thread, training_data

COURSES = RESULTS / "curvature"
K_VALUES = (1e-4, 0.01, 0.1, 0.5, 1.0, 1.2)
"""From the decoupled phase to the catapult, in the unit of Table 1."""
LAYERS = ("layers.0", "layers.1", "layers.2")
SEEDS = (0, 1, 2)
STARTS, LENGTH = (0, 40, 300), 20
"""Windows of 20 steps within the first epoch, of 329."""
SMOOTH = dataclasses.replace(FIG1, activation="softplus")
"""A network without kinks beside the paper's."""
DEEPER_K = (0.01, 0.1, 1.0)
"""At the layers behind the first, and for the smooth network."""
LATE_K, LATE_STARTS = (0.1, 0.35, 0.9), (640, 960)
"""Where |w_ni| has come down to its floor: in the second and third epoch."""
PROBES = 8
"""Random directions of the trace."""
_STEP = ("pull", "fall", "kick", "curvature", "kinks", "bend")
_POINT = ("exact", "averaged", "trace", "size", "reach", "loss")


class Watch:
    """Keeps the rates of every step in some windows of one run: an observer for `nin.train`.

    Attributes:
        steps: The steps to look at, one past each window's end included.
        arrays: What was seen, NaN where nothing was: the names of `Course`.
    """

    def __init__(self, eta: float, loss: Loss, starts: Sequence[int], length: int) -> None:
        """Make an observer.

        Args:
            eta: Learning rate of the run.
            loss: Its loss.
            starts: First step of each window, rising.
            length: Steps of a window, no more than lie between two starts.

        Raises:
            ValueError: If windows overlap, or there is none.
        """
        if length < 1 or not len(starts) or any(np.diff(starts) <= length) or min(starts) < 0:
            raise ValueError(
                f"windows need rising starts >= 0, further apart than their length >= 1, "
                f"not starts={list(starts)}, length={length}"
            )
        self.eta, self.loss = eta, loss
        places = ((w, i) for w in range(len(starts)) for i in range(length + 1))
        self.steps = {starts[w] + i: (w, i) for w, i in places}
        self.arrays: dict[str, np.ndarray] = {
            name: np.full((len(starts), length), np.nan) for name in _STEP
        }
        self.arrays |= {name: np.full(len(starts), np.nan) for name in _POINT}
        self._last: dict[int, Tensor] = {}

    def see(self, run: int, step: int, model: nn.Module, x: Tensor, y: Tensor, eps: Tensor) -> None:
        """Look at the network before a step; see `nin.networks.training.Observer`."""
        found = find_node(model)
        assert found is not None  # a run without noise has no NIW to watch
        w, sigma_eps = found[1].w_ni.detach(), found[1].sigma_eps
        (window, i), size = self.steps[step], float(w.double().norm())
        if i:
            before = self._last[run]
            self.arrays["fall"][window, i - 1] = float((before.norm() / size).log())
            self.arrays["pull"][window, i - 1] = 1 - float(before @ w.double() / before.dot(before))
        self._last[run] = w.double().clone()
        if i == self.arrays["fall"].shape[1]:
            return
        layer = found[0].rpartition(".")[0]
        local = local_loss(model, layer, x, y, self.loss)
        for name, value in step_rates(local, w, eps, sigma_eps, self.eta).items():
            self.arrays[name][window, i] = value
        if i == 0:
            mean = noise_averages(local, w, sigma_eps)
            spread = sigma_eps * size / len(w) ** 0.5
            point = {
                "exact": self.eta * mean.pull / size**2,
                "averaged": self.eta * mean.curvature / size**2,
                "trace": self.eta * sigma_eps**2 * local.trace(PROBES)[0] / len(w),
                "size": size,
                "reach": spread / float(local.pre_activations().square().mean().sqrt()),
                "loss": float(local.values().mean()),
            }
            for name, value in point.items():
                self.arrays[name][window] = value


@dataclass(frozen=True)
class Course:
    """What was seen of one run, all rates per step.

    Attributes:
        experiment: The run; its epochs and evaluations are of no account.
        starts: First step of each window.
        pull: Measured fall along w_ni, -w_ni . (w_ni' - w_ni) / |w_ni|^2, (windows, length), as
            are the next five.
        fall: Measured fall of ln|w_ni|: the pull and, to second order, the bend.
        kick: Of these names, see `step_rates`.
        curvature: See `step_rates`.
        kinks: See `step_rates`.
        bend: See `step_rates`.
        exact: Before each window's first step, the rate averaged over the noise, (windows,), as
            are the next five.
        averaged: The same from the local Hessian, averaged over the noise.
        trace: eta sigma_eps^2 tr<H>/features: the rate of a random direction, by Hutchinson.
        size: |w_ni|.
        reach: Root mean square of sigma_eps w_ni over that of the pre-activations.
        loss: Clean loss of the batch.
        step: Steps at which the whole run was recorded, (n,).
        w_ni: |w_ni| there.
        phase: The run's phase, by `nin.runs.phases.classify_phase`.
        made: How it was made.
    """

    experiment: Experiment
    starts: tuple[int, ...]
    pull: np.ndarray
    fall: np.ndarray
    kick: np.ndarray
    curvature: np.ndarray
    kinks: np.ndarray
    bend: np.ndarray
    exact: np.ndarray
    averaged: np.ndarray
    trace: np.ndarray
    size: np.ndarray
    reach: np.ndarray
    loss: np.ndarray
    step: np.ndarray
    w_ni: np.ndarray
    phase: Phase
    made: dict[str, str | int | float]


def course_path(e: Experiment, starts: Sequence[int], length: int, folder: Path) -> Path:
    """Return where the record of a run's windows lies, or shall lie."""
    key = record_key(dataclasses.asdict(_bare(e)), list(starts), length, NODES, PROBES)
    return folder / f"{e.activation}-{e.layer}-K{e.K:.4g}-seed{e.seed}-{key}.npz"


def measure(e: Experiment, starts: Sequence[int], length: int, folder: Path) -> None:
    """Train an experiment as far as its last window, watch it, and write the record.

    Args:
        e: The experiment, with sigma_eps > 0.
        starts: First step of each window.
        length: Steps of a window.
        folder: Where the record goes.

    Raises:
        ValueError: If windows overlap, or there is no noise.
        RecordError: If the record cannot be written.
    """
    watch, made = Watch(e.eta, e.criterion(), starts, length), provenance("cpu")
    begun = time.perf_counter()
    with one_thread():
        (history,) = train(
            [e.network()],
            training_data(e.scaling, e.split_seed),
            loss=e.criterion(),
            eta=e.eta,
            batch_size=e.batch_size,
            epochs=max(watch.steps) // -(-N_TRAIN // e.batch_size) + 1,
            seeds=[e.seed],
            evaluations=0,
            progress=False,
            observer=watch,
        )
    made |= {"threads": 1, "seconds": round(time.perf_counter() - begun, 1)}
    about = "windows of one run: see nin.studies.windows.Course"
    phase = classify_phase(history).phase
    meta = {"experiment": dataclasses.asdict(_bare(e)), "phase": phase, "made": made}
    meta["about"] = about
    arrays = {name: values.astype(np.float32) for name, values in watch.arrays.items()}
    arrays |= {"step": history.step, "w_ni": history.w_ni, "starts": np.array(starts)}
    arrays |= {"meta": np.array(json.dumps(meta, sort_keys=True))}
    write_arrays(course_path(e, starts, length, folder), arrays)


def courses(
    experiments: Sequence[Experiment],
    starts: Sequence[int] = STARTS,
    length: int = LENGTH,
    folder: Path = COURSES,
    *,
    workers: int = 1,
    may_train: bool = True,
    recompute: bool = False,
    progress: bool | None = None,
) -> list[Course]:
    """Return what was seen of each run, training what is not on record.

    Args:
        experiments: The runs, each with sigma_eps > 0.
        starts: First step of each window.
        length: Steps of a window.
        folder: Where the records lie.
        workers: Processes that train at once, one run each.
        may_train: Whether to train what is not on record; else that is an error.
        recompute: Whether to train even what is on record.
        progress: Whether to show a bar; default: on a terminal or in a notebook, not in CI.

    Raises:
        ValueError: If windows overlap, or a run has no noise.
        RecordError: If a record is damaged, cannot be written, or is missing and may not be made.
    """
    Watch(1.0, Loss(), starts, length)  # refuses bad windows before anything trains
    paths = {e: course_path(e, starts, length, folder) for e in experiments}
    todo = [e for e, path in paths.items() if recompute or not path.exists()]
    if any(e.sigma_eps == 0 for e in experiments):
        raise ValueError("a run without noise has no rate of decay: give sigma_eps > 0")
    if todo and not may_train:
        missing = paths[todo[0]]
        raise RecordError(f"{missing} is missing; `python -m nin figures curvature` makes it")
    one = partial(measure, starts=tuple(starts), length=length, folder=folder)
    bar = {"total": len(todo), "unit": "run", "disable": hide_bar(progress), "leave": False}
    if workers > 1 and len(todo) > 1:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            list(tqdm(pool.map(one, todo), **bar))
    else:
        list(tqdm(map(one, todo), **bar))
    return [read_arrays(path, _course) for path in paths.values()]


def slope(found: Sequence[Course], window: int, with_kinks: bool = False) -> Slope:
    """Return the measured over the predicted pull on w_ni in a window of real steps.

    What is measured is the pull of all steps and runs less that of the kick, which is known
    because its noise is. The error is that of the scatter of single steps, whose noise is
    independent. Steps of diverged runs do not count.

    Args:
        found: Runs alike in all but the seed.
        window: Which window.
        with_kinks: Whether the prediction counts kinks.
    """
    measured = np.concatenate([(c.pull - c.kick)[window] for c in found])
    said = np.concatenate([(c.curvature + with_kinks * c.kinks)[window] for c in found])
    there = np.isfinite(measured) & np.isfinite(said)
    return ratio(measured[there], said[there])


def predicted_floor(c: Course, window: int) -> float:
    """Return the |w_ni| at which the walk of the kicks would balance the pull of the curvature.

    To leading order ``|w_ni|^2 = eta <|g|^2> / (2 batch_size h)`` with h the curvature along w_ni
    per square of its length: the noise strength cancels. Here pull and walk are those of the
    window's batches, with the kinks and all that `step_rates` counts as bend, some of which grows
    with the noise; the walk goes as 1/|w_ni|^2. Steps without either number do not count.

    Args:
        c: A run.
        window: Which window.

    Returns:
        |w_ni|; NaN where the predicted pull or walk has the wrong sign.
    """
    pull, walk = (c.curvature + c.kinks)[window], -c.bend[window]
    there = np.isfinite(pull) & np.isfinite(walk)
    total, walked = float(pull[there].sum()), float(walk[there].sum())
    if total <= 0 or walked <= 0:
        return float("nan")
    return float(c.size[window] * np.sqrt(walked / total))


def paper_runs(layers: Sequence[str] = LAYERS) -> list[Experiment]:
    """Return the runs of Fig. 1's network that page and claims read."""
    return [
        FIG1.at(K, layer=layer, seed=seed)
        for layer in layers
        for K in (K_VALUES if layer == LAYERS[0] else DEEPER_K)
        for seed in SEEDS
    ]


def smooth_runs() -> list[Experiment]:
    """Return the runs of the network without kinks."""
    return [SMOOTH.at(K, seed=seed) for K in DEEPER_K for seed in SEEDS]


def late_runs() -> list[Experiment]:
    """Return the runs of Fig. 1's network that are watched where |w_ni| rests on its floor."""
    return [FIG1.at(K, seed=seed) for K in LATE_K for seed in SEEDS]


def _bare(e: Experiment) -> Experiment:
    """Return the experiment without what its record does not depend on."""
    return dataclasses.replace(e, epochs=1, evaluations=1)


def _course(arrays: dict[str, np.ndarray]) -> Course:
    meta = json.loads(str(arrays.pop("meta")))
    starts = tuple(arrays.pop("starts").tolist())
    values = {name: a.astype(float) for name, a in arrays.items()}
    kept: dict[str, Any] = {"phase": Phase(meta["phase"]), "made": meta["made"]} | values
    return Course(Experiment(**meta["experiment"]), starts, **kept)
