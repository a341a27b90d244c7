"""Windows of real training in which |w_ni| is watched step by step, kept on record.

A *window* is some consecutive SGD steps of a run. Of each step an observer keeps the measured pull
on w_ni and what Eq. (2) says of it on the same batch; before the first step of a window it also
averages over the noise, by quadrature. All rates are per step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor, nn

from nin.curvature.eq2 import step_rates
from nin.curvature.local import local_loss
from nin.curvature.measured_slope import Slope, ratio
from nin.curvature.pull import NODES, noise_averages
from nin.folders import RESULTS
from nin.networks.attachment import one_node
from nin.networks.losses import Loss
from nin.runs.phases import Phase, classify_phase
from nin.studies.experiments import FIG1, Experiment
from nin.studies.records import Made
from nin.studies.study import Shelf, bare, kept, train_runs
from nin.studies.sweep import kept_all

WINDOWS = Shelf(RESULTS / "curvature", "curvature", may_make=False)
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
DIRECTIONS = 8
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
        check_windows(starts, length)
        self.eta, self.loss = eta, loss
        places = ((w, i) for w in range(len(starts)) for i in range(length + 1))
        self.steps = {starts[w] + i: (w, i) for w, i in places}
        self.arrays: dict[str, np.ndarray] = {
            name: np.full((len(starts), length), np.nan) for name in _STEP
        }
        self.arrays |= {name: np.full(len(starts), np.nan) for name in _POINT}
        self._last = Tensor()

    def see(self, run: int, step: int, model: nn.Module, x: Tensor, y: Tensor, eps: Tensor) -> None:
        """Look at the network before a step; see `nin.Observer`.

        Raises:
            ValueError: If it is not the only run, or has no node.
        """
        layer, node = one_node(model)
        w, sigma_eps = node.w_ni.detach(), node.sigma_eps
        if run:
            raise ValueError("a watch keeps one run: give each run a watch of its own")
        (window, i), size = self.steps[step], float(w.double().norm())
        if i:
            before = self._last
            self.arrays["fall"][window, i - 1] = float((before.norm() / size).log())
            self.arrays["pull"][window, i - 1] = 1 - float(before @ w.double() / before.dot(before))
        self._last = w.double().clone()
        if i == self.arrays["fall"].shape[1]:
            return
        local = local_loss(model, layer, x, y, self.loss)
        for name, value in step_rates(local, w, eps, sigma_eps, self.eta).items():
            self.arrays[name][window, i] = value
        if i == 0:
            mean = noise_averages(local, w, sigma_eps)
            spread = sigma_eps * size / len(w) ** 0.5
            point = {
                "exact": self.eta * mean.pull / size**2,
                "averaged": self.eta * mean.curvature / size**2,
                "trace": self.eta * sigma_eps**2 * local.trace(DIRECTIONS)[0] / len(w),
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
    made: Made


@dataclass(frozen=True)
class Windows:
    """What a record of windows is of.

    Attributes:
        experiment: The run; its epochs and evaluations are of no account.
        starts: First step of each window.
        length: Steps of a window.
        nodes: Noise values of the quadrature.
        directions: Random directions of the trace.
    """

    experiment: Experiment
    starts: tuple[int, ...]
    length: int
    nodes: int
    directions: int


def check_windows(starts: Sequence[int], length: int) -> None:
    """Refuse windows in which nothing could be watched.

    Args:
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


def window_courses(
    experiments: Sequence[Experiment],
    shelf: Shelf,
    starts: Sequence[int] = STARTS,
    length: int = LENGTH,
) -> list[Course]:
    """Return what was seen of each run, training what is not on record.

    Args:
        experiments: The runs, each with sigma_eps > 0.
        shelf: Where the records lie, and whether they may be made.
        starts: First step of each window.
        length: Steps of a window.

    Raises:
        ValueError: If windows overlap, or a run has no noise.
        RecordError: If a record is damaged, cannot be written, or is missing and may not be made.
    """
    check_windows(starts, length)
    if any(e.sigma_eps == 0 for e in experiments):
        raise ValueError("a run without noise has no rate of decay: give sigma_eps > 0")
    asked = [Windows(bare(e), tuple(starts), length, NODES, DIRECTIONS) for e in experiments]
    return kept_all(_course, asked, shelf)


def _course(asked: Windows, shelf: Shelf) -> Course:
    e = asked.experiment
    stem = f"{e.activation}-{e.layer}-K{e.K:.4g}-seed{e.seed}"
    return kept(stem, asked, partial(_train, asked), partial(_parse, asked), shelf)


def _train(asked: Windows) -> dict[str, ArrayLike]:
    """Train as far as the last window, and watch."""
    e = asked.experiment
    watch = Watch(e.eta, e.criterion(), asked.starts, asked.length)
    epochs = max(watch.steps) // e.steps_per_epoch + 1
    _, [history] = train_runs([e], epochs=epochs, evaluations=0, observer=watch, progress=False)
    arrays: dict[str, ArrayLike] = {n: a.astype(np.float32) for n, a in watch.arrays.items()}
    phase = classify_phase(history).phase
    return arrays | {"step": history.step, "w_ni": history.w_ni, "phase": str(phase)}


def _parse(asked: Windows, arrays: dict[str, Any]) -> Course:
    made, phase = arrays.pop("made"), Phase(str(arrays.pop("phase")))
    values = {name: a.astype(float) for name, a in arrays.items()}
    return Course(asked.experiment, asked.starts, **values, phase=phase, made=made)


def window_slope(found: Sequence[Course], window: int, with_kinks: bool = False) -> Slope:
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
    said = np.concatenate([_said(c, with_kinks)[window] for c in found])
    there = np.isfinite(measured) & np.isfinite(said)
    return ratio(measured[there], said[there])


def _said(c: Course, with_kinks: bool) -> np.ndarray:
    """Return the predicted pull; unknown kinks count only where kinks are counted."""
    return c.curvature + c.kinks if with_kinks else c.curvature


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


def smooth_runs() -> list[Experiment]:
    """Return the runs of the network without kinks."""
    return [SMOOTH.at(K, seed=seed) for K in DEEPER_K for seed in SEEDS]


def late_runs() -> list[Experiment]:
    """Return the runs of Fig. 1's network that are watched where |w_ni| rests on its floor."""
    return [FIG1.at(K, seed=seed) for K in LATE_K for seed in SEEDS]
