"""The same network without its data: is strong noise all that its first steps see (Sec. 3)?

The paper says that above sigma_cat the early dynamics is that of a network trained on random data
without labels. Fixed before any run was looked at:

* *the same network*: initial weights, batches and noise are those of the run on images; only what
  the network reads and is told differs (`KINDS`);
* *early*: until |w_ni| of the run without any data is largest, or has grown tenfold; where it
  never rises, until it has halved; else to the end (`early_end`);
* *like*: |w_ni| and the norm of the weights behind it stay within 10 % of those with images all
  that time; with a correction, if the largest |w_ni| of that time is within a factor two;
* *yardstick*: the same images and weights, other batches and noise;
* *grid*: both losses, two widths, strengths in units of the closed border of divergence, the
  first of which is a decay, where the paper does not say it, and three seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nin.folders import RESULTS
from nin.networks.data import Dataset
from nin.networks.log import DENSE_STEPS
from nin.networks.seeds import generator
from nin.runs.history import History
from nin.runs.phases import DECAYED, MARGIN, THROWN
from nin.studies.borders.prediction import closed_border
from nin.studies.experiments import Experiment
from nin.studies.study import Shelf, bare, images_of, independent, kept, train_runs
from nin.studies.sweep import kept_all

RANDOM_DATA = Shelf(RESULTS / "random_data", "random_data", may_make=False)
KINDS = ("images", "other labels", "random inputs", "no data", "other noise")
"""What a network is trained on: the images; them with labels dealt anew; Gaussian inputs of their
mean and covariance with such labels; inputs 0, all classes equally right; and the images again,
with other batches and noise."""
BASE = Experiment(epochs=2)
"""Learning rate and batches of Figs. 2 and 3; 84 steps, in which their catapults are over."""
LOSSES, WIDTHS, SEEDS = ("ce", "mse"), (64, 256), (0, 1, 2)
DECAY, STRONG = 0.3, (0.8, 0.95, 1.1)
"""sigma_eps over the closed border of divergence: a decay to compare with, and noise that rules."""
SHARES = (DECAY, *STRONG)
UNTRIED, UNTRIED_WIDTH, UNTRIED_SEEDS = (
    replace(BASE, eta=0.03, batch_size=250, epochs=1),
    96,
    (6, 7, 8),
)
"""A setting that nobody had looked at when the verdict over the grid was in."""
UNTRIED_STRENGTHS = (0.85, 1.05)
QUANTITIES = ("w_ni", "next", "loss")
"""|w_ni|, the norm of the weight matrix behind it, and the noisy loss."""
_OTHER = 1000  # added to the seed of batches and noise


@dataclass(frozen=True)
class Bereft:
    """What a record is of.

    Attributes:
        experiment: The run on images; its evaluations are of no account.
    """

    experiment: Experiment


@dataclass(frozen=True)
class Courses:
    """The first steps of a network on each of `KINDS`.

    Attributes:
        values: Each of `QUANTITIES` before each step, of `DENSE_STEPS` at most, (kinds, quantities,
            steps); infinite once the loss is.
    """

    values: np.ndarray

    def of(self, kind: str, quantity: str) -> np.ndarray:
        """Return the course of one quantity, (steps,)."""
        return np.asarray(self.values[KINDS.index(kind), QUANTITIES.index(quantity)])

    @property
    def end(self) -> int:
        """The last step that is early."""
        return early_end(self.of("no data", "w_ni"))

    def furthest(self, kind: str, quantity: str) -> float:
        """Return by what factor a course is away from that with images where it is furthest.

        In the early steps; at most `THROWN`.
        """
        ours, theirs = (self.of(k, quantity)[: self.end + 1] for k in ("images", kind))
        with np.errstate(invalid="ignore"):  # infinite over infinite
            away = np.exp(abs(np.log(theirs / ours)))
        return float(np.nan_to_num(away, nan=THROWN).clip(max=THROWN).max())

    def peak_ratio(self, kind: str) -> float:
        """Return the largest early |w_ni| over that with images, a factor >= 1; at most `THROWN`.

        A run is followed up to `THROWN` times its start.
        """
        ours, theirs = (
            float(w[: self.end + 1].clip(max=THROWN * w[0]).max())
            for w in (self.of(k, "w_ni") for k in ("images", kind))
        )
        return min(max(ours / theirs, theirs / ours), THROWN)


def early_end(w: np.ndarray) -> int:
    """Return the last step that is early, by |w_ni| of a run that sees the noise alone.

    >>> early_end(np.array([1.0, 2, 3, 1, 0.1]))
    2
    >>> early_end(np.array([1.0, 5, 50, np.inf]))
    2
    >>> early_end(np.array([1.0, 0.7, 0.4, 0.1]))
    2
    """
    rise = w / w[0]
    if (rise > THROWN).any():
        return int((rise > THROWN).argmax())
    if rise.max() > MARGIN:
        return int(rise.argmax())
    return int((rise < DECAYED).argmax()) if (rise < DECAYED).any() else len(w) - 1


def networks(
    base: Experiment,
    losses: Sequence[str],
    widths: Sequence[int],
    seeds: Sequence[int],
    shares: Sequence[float] = SHARES,
) -> dict[tuple[str, int, float], list[Experiment]]:
    """Return the runs by loss, width and share of the border of divergence, one per seed.

    Args:
        base: What they have in common.
        losses: Names of losses.
        widths: Neurons.
        seeds: Of weights, batches and noise.
        shares: Strengths, sigma_eps over the closed border of divergence.
    """
    found = {}
    for loss in losses:
        for width in widths:
            e = replace(base, loss=loss, width=width)
            border = closed_border(e)
            for share in shares:
                found[loss, width, share] = [
                    replace(e, sigma_eps=share * border, seed=k) for k in independent(seeds)
                ]
    return found


def first_courses(experiments: Sequence[Experiment], shelf: Shelf) -> list[Courses]:
    """Return the first steps of each network with and without its data.

    Args:
        experiments: The runs on images.
        shelf: Where the records lie, and whether they may be made.

    Raises:
        RecordError: If a record is damaged, cannot be written, or is missing and may not be made.
    """
    return kept_all(_courses, [Bereft(bare(e, epochs=e.epochs)) for e in experiments], shelf)


def without(kind: str, e: Experiment) -> Dataset:
    """Return what a network is trained on in place of the images; see `KINDS`.

    Raises:
        ValueError: If there is no such kind.
    """
    data = images_of(e)
    x, y = data.train_x, data.train_y
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, not {kind!r}")
    if kind in ("images", "other noise"):
        return data
    if kind == "no data":
        x, y = torch.zeros_like(x), torch.full((len(y), e.d_out), 1 / e.d_out)
    else:
        y = y[torch.randperm(len(y), generator=generator(e.seed, "labels"))]
    if kind == "random inputs":
        mean, root = _moments(e.scaling, e.split_seed, e.d_in, e.d_out)
        x = mean + torch.randn(x.shape, generator=generator(e.seed, "inputs")) @ root
    return replace(data, train_x=x, train_y=y)


@lru_cache(maxsize=1)
def _moments(scaling: str, split_seed: int, d_in: int, d_out: int) -> tuple[Tensor, Tensor]:
    """Return mean and symmetric root of the covariance of the training images."""
    x = images_of(
        Experiment(scaling=scaling, split_seed=split_seed, d_in=d_in, d_out=d_out)
    ).train_x
    values, vectors = torch.linalg.eigh(x.T.cov().double())
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return x.mean(0), root.float()


def _courses(asked: Bereft, shelf: Shelf) -> Courses:
    e = asked.experiment
    stem = f"{e.loss}-width{e.width}-sigma{e.sigma_eps:.4g}-seed{e.seed}"
    return kept(stem, asked, partial(_train, e), _parse, shelf)


def _train(e: Experiment) -> dict[str, np.ndarray]:
    found = []
    for kind in KINDS:
        run = replace(e, seed=e.seed + _OTHER) if kind == "other noise" else e
        _, [history] = train_runs(
            [run], without(kind, e), evaluations=0, progress=False, models=[e.network()]
        )
        found.append(_dense(history, min(e.epochs * e.steps_per_epoch, DENSE_STEPS)))
    return {"values": np.array(found, np.float32)}


def _dense(history: History, steps: int) -> np.ndarray:
    """Return `QUANTITIES` before each step, (quantities, steps), infinite once the loss is."""
    dense = np.full((len(QUANTITIES), steps), np.inf)
    first = history.step < steps
    rows = history.w_ni, history.norms["layers.1.weight"], history.loss
    dense[:, history.step[first]] = [row[first] for row in rows]
    return dense


def _parse(arrays: dict[str, Any]) -> Courses:
    return Courses(arrays["values"].astype(float))
