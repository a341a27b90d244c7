"""What halves |w_ni|: the pull, the kinks and the walk of the steps until then, kept on record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor, nn

from nin.curvature.eq2 import step_rates
from nin.curvature.local import local_loss
from nin.folders import RESULTS
from nin.networks.attachment import one_node
from nin.networks.losses import Loss
from nin.studies.experiments import FIG1, Experiment
from nin.studies.records import Made
from nin.studies.study import Shelf, bare, kept, train_runs
from nin.studies.sweep import kept_all

HALF_LIVES = Shelf(RESULTS / "half_lives", "fig1_timescales", may_make=False)
K_VALUES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Strengths of Fig. 1 (right) in the decay phase."""
SEEDS = (0, 1, 2)
NARROW, NARROW_K, NARROW_BATCHES = replace(FIG1, width=256), 0.05, (128, 512)
"""A narrower network, to see whether what holds for Fig. 1's holds elsewhere."""
_LOOKS = 80  # at the rates on the way, about: they change little from one step to the next
PARTS = ("curvature", "kinks", "bend", "kick")


class Halving:
    """Keeps what takes |w_ni| to one half: an observer for `nin.train`.

    Attributes:
        steps: The steps to look at.
        falls: Measured fall of ln|w_ni| and pull along w_ni of each step, (steps, 2).
        rates: `PARTS` of `step_rates` at every `stride`-th step.
        done: Whether one half is reached; what comes after is not looked at.
    """

    def __init__(self, eta: float, loss: Loss, steps: int, stride: int) -> None:
        """Make an observer.

        Args:
            eta: Learning rate of the run.
            loss: Its loss.
            steps: Steps to look at, at most.
            stride: How many steps one look at the rates stands for.
        """
        self.eta, self.loss, self.stride = eta, loss, stride
        self.steps = range(steps)
        self.falls: list[tuple[float, float]] = []
        self.rates: list[list[float]] = []
        self.done = False
        self._first = 0.0
        self._last = Tensor()

    def see(self, run: int, step: int, model: nn.Module, x: Tensor, y: Tensor, eps: Tensor) -> None:
        """Look at the network before a step; see `nin.Observer`."""
        if self.done:
            return
        layer, node = one_node(model)
        w = node.w_ni.detach().double()
        if step:
            before = self._last
            pull = 1 - float(before @ w / before.dot(before))
            self.falls.append((float((before.norm() / w.norm()).log()), pull))
            self.done = float(w.norm()) <= self._first / 2
        else:
            self._first = float(w.norm())
        self._last = w.clone()
        if not self.done and step % self.stride == 0:
            local = local_loss(model, layer, x, y, self.loss)
            found = step_rates(local, node.w_ni.detach(), eps, node.sigma_eps, self.eta)
            self.rates.append([found[name] for name in PARTS])


@dataclass(frozen=True)
class HalfLife:
    """What a record is of.

    Attributes:
        experiment: The run; its epochs are those that it may take, its evaluations of no account.
        stride: How many steps one look at the rates stands for.
    """

    experiment: Experiment
    stride: int


@dataclass(frozen=True)
class Halved:
    """What took |w_ni| of a run to one half.

    Attributes:
        experiment: The run.
        steps: How many, the last of them in part, by the logarithm; infinite if it was never there.
        first: Rate of the curvature at the first step, on its batch.
        fall: Measured fall of ln|w_ni| over these steps: ln 2.
        pull: Measured pull along w_ni, summed; what it is more than the fall is the walk.
        parts: By the names of `PARTS`, what `step_rates` says of the same steps, summed.
        made: How it was made.
    """

    experiment: Experiment
    steps: float
    first: float
    fall: float
    pull: float
    parts: dict[str, float]
    made: Made


def stride_at(K: float) -> int:
    """Return how many steps one look at the rates stands for, at Fig. 1's learning rate."""
    return max(1, round(14 / K / _LOOKS))  # the half-life is about 14/K steps there


def half_lives(experiments: Sequence[Experiment], shelf: Shelf) -> list[Halved]:
    """Return what halved |w_ni| in each run, training what is not on record.

    Args:
        experiments: The runs, each with sigma_eps > 0 and the epochs that it may take.
        shelf: Where the records lie, and whether they may be made.

    Raises:
        RecordError: If a record is damaged, cannot be written, or is missing and may not be made.
    """
    asked = [HalfLife(bare(e, epochs=e.epochs), stride_at(e.K)) for e in experiments]
    return kept_all(_halved, asked, shelf)


def decay_runs(base: Experiment = FIG1, seeds: Sequence[int] = SEEDS) -> list[Experiment]:
    """Return the runs of Fig. 1 (right) in the decay phase, each as long as it needs."""
    epochs = {K: math.ceil(0.06 / K) for K in K_VALUES}
    return [base.at(K, seed=seed, epochs=epochs[K]) for seed in seeds for K in K_VALUES]


def narrow_runs(seeds: Sequence[int] = SEEDS, width: int = NARROW.width) -> list[Experiment]:
    """Return runs of the narrow network, in batches of each size."""
    return [
        replace(NARROW, width=width, batch_size=size).at(
            NARROW_K, seed=seed, epochs=2 * size // 128
        )
        for size in NARROW_BATCHES
        for seed in seeds
    ]


def _halved(asked: HalfLife, shelf: Shelf) -> Halved:
    e = asked.experiment
    stem = f"{e.activation}-width{e.width}-K{e.K:.4g}-seed{e.seed}"
    return kept(stem, asked, partial(_train, asked), partial(_parse, asked), shelf)


def _train(asked: HalfLife) -> dict[str, ArrayLike]:
    e = asked.experiment
    watch = Halving(e.eta, e.criterion(), e.epochs * e.steps_per_epoch, asked.stride)
    train_runs([e], evaluations=0, observer=watch, progress=False)
    falls, rates = (np.array(rows, np.float32) for rows in (watch.falls, watch.rates))
    return {"falls": falls, "rates": rates, "done": watch.done}


def _parse(asked: HalfLife, arrays: dict[str, Any]) -> Halved:
    fall, pull = arrays["falls"].astype(float).T
    n = len(fall)
    weight = np.ones(n)
    if arrays["done"]:  # of the last step, the part up to one half
        weight[-1] = 1 - (fall.sum() - np.log(2)) / fall[-1]
    rates = np.repeat(_filled(arrays["rates"].astype(float)), asked.stride, 0)[:n]
    return Halved(
        asked.experiment,
        float(weight.sum()) if arrays["done"] else float("inf"),
        float(rates[0, 0]),
        float(weight @ fall),
        float(weight @ pull),
        dict(zip(PARTS, (weight @ rates).tolist(), strict=True)),
        arrays["made"],
    )


def _filled(rates: np.ndarray) -> np.ndarray:
    """Return rates, (looks, parts), with a line through what a look could not tell."""
    looks = np.arange(len(rates))
    columns = [
        np.interp(looks, looks[known], column[known])
        for column in rates.T
        for known in [np.isfinite(column)]
    ]
    return np.stack(columns, 1)
