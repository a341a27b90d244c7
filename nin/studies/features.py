"""Does a NIN's weight tell features without information from weak real ones? On record.

Each pixel of an image has unit variance, and some are *dealt anew* among the images: they keep
their law and lose the image. A NIN of strength 1 is as loud as a pixel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from nin.folders import RESULTS
from nin.networks.attachment import one_node
from nin.networks.data import Dataset
from nin.networks.models import MLP
from nin.networks.seeds import generator
from nin.runs.history import log_spaced_steps
from nin.studies.experiments import Experiment
from nin.studies.study import Shelf, bare, images_of, independent, kept, train_runs
from nin.studies.sweep import kept_all

FEATURES = Shelf(RESULTS / "features", "proposals", may_make=False)
BASE = Experiment(eta=0.1, batch_size=100, epochs=15, width=64, d_in=196, scaling="pixel")
"""A small network: 196 pixels of equal variance, 64 neurons; a run takes seconds."""
STRENGTHS = (1.0, 4.0, 16.0)
"""sigma_eps, in units of a pixel's standard deviation."""
SEEDS = tuple(range(12))
"""A run has one NIN, whose place among the pixels scatters as one draw does."""
DEALT = 49
"""A quarter of the pixels."""
BINS = 8
_LOOKS = 4  # per decade of steps


@dataclass(frozen=True)
class Telling:
    """What a record is of.

    Attributes:
        experiment: The run; its evaluations are of no account.
        dealt: How many pixels are dealt anew.
        bins: Of the mutual information.
    """

    experiment: Experiment
    dealt: int
    bins: int


@dataclass(frozen=True)
class Lengths:
    """The lengths of the first layer's weights in one run.

    Attributes:
        step: SGD steps, the last at the end, (n,).
        pixels: Norm of the weights that leave each pixel, (n, d_in).
        w_ni: |w_ni|, (n,).
        information: Mutual information of each pixel and the class, in bits, (d_in,).
        dealt: Whether a pixel was dealt anew, (d_in,).
    """

    step: np.ndarray
    pixels: np.ndarray
    w_ni: np.ndarray
    information: np.ndarray
    dealt: np.ndarray

    def groups(self, parts: int = 4) -> list[np.ndarray]:
        """Return the places of real pixels, in parts of falling information, and of dealt ones."""
        real = np.flatnonzero(~self.dealt)
        ranked = real[np.argsort(-self.information[real], kind="stable")]
        return [*np.array_split(ranked, parts), np.flatnonzero(self.dealt)]


def auc(high: ArrayLike, low: ArrayLike) -> float:
    """Return the share of pairs in which the first is larger: the area under the ROC curve.

    >>> auc([3, 4], [1, 2]), auc([1, 3], [2]), auc([1], [1])
    (1.0, 0.5, 0.5)
    """
    a, b = np.asarray(high)[:, None], np.asarray(low)[None, :]
    return float(np.mean((a > b) + (a == b) / 2))


def over_niw(found: Lengths, at: int = -1) -> list[float]:
    """Return the share of each of its `Lengths.groups` whose weights are longer than |w_ni|."""
    return [auc(found.pixels[at, group], found.w_ni[[at]]) for group in found.groups()]


def over_dealt(found: Lengths, score: np.ndarray | None = None) -> list[float]:
    """Return how a score of pixels tells each group of real ones from those dealt anew: AUC.

    Args:
        found: A run.
        score: Of each pixel, (d_in,); default the length of its weights at the end.
    """
    score = found.pixels[-1] if score is None else score
    *real, dealt = found.groups()
    return [auc(score[group], score[dealt]) for group in real]


def information(x: Tensor, y: Tensor, bins: int = BINS) -> np.ndarray:
    """Return the mutual information of each feature and the label, in bits, (d,).

    Of counts: each feature is cut at its quantiles into at most `bins` values.

    Args:
        x: Features, (n, d).
        y: Labels, (n,).
        bins: At most so many.
    """
    found = []
    for column in x.numpy().T:
        cut = np.unique(np.quantile(column, np.linspace(0, 1, bins + 1)[1:-1]))
        counts = np.zeros((len(cut) + 1, int(y.max()) + 1))
        np.add.at(counts, (np.searchsorted(cut, column, "left"), y.numpy()), 1)
        p = counts / counts.sum()
        apart = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
        found.append(np.sum(p[p > 0] * np.log2(p[p > 0] / apart[p > 0])))
    return np.array(found)


def deal(data: Dataset, dealt: int, seed: int) -> tuple[Dataset, np.ndarray]:
    """Deal the values of some pixels anew among the images, a shuffle of its own for each.

    Args:
        data: Images, (n, d_in).
        dealt: How many pixels.
        seed: Of which, and of how.

    Returns:
        The new data set, and which pixels, (d_in,) of truth values.

    Raises:
        ValueError: If there are not so many pixels.
    """
    d = data.train_x.shape[1]
    if not 1 <= dealt < d:
        raise ValueError(f"dealt must be 1 to {d - 1}, so that real pixels are left, not {dealt}")
    g = generator(seed, "dealt")
    chosen = torch.randperm(d, generator=g)[:dealt]
    parts = {}
    for part in ("train_x", "val_x"):
        x = getattr(data, part).clone()
        for pixel in chosen.tolist():
            x[:, pixel] = x[torch.randperm(len(x), generator=g), pixel]
        parts[part] = x
    return dataclasses.replace(data, **parts), np.isin(np.arange(d), chosen.numpy())


class Ruler:
    """Keeps the lengths of a network's first weights: an observer for `nin.train`.

    Attributes:
        steps: The steps to look at.
        rows: Norm of the weights that leave each input, and |w_ni| last; a row per look.
    """

    def __init__(self, steps: Sequence[int]) -> None:
        """Make an observer that looks at these steps."""
        self.steps = tuple(steps)
        self.rows: list[np.ndarray] = []

    def see(self, run: int, step: int, model: nn.Module, x: Tensor, y: Tensor, eps: Tensor) -> None:
        """Look at the network before a step; see `nin.Observer`."""
        assert isinstance(model, MLP)  # what an `Experiment` is of
        pixels = model.linear(0).weight.detach().norm(dim=0)
        niw = one_node(model)[1].w_ni.detach().norm()
        self.rows.append(torch.cat([pixels, niw[None]]).cpu().numpy())


def weight_lengths(
    experiments: Sequence[Experiment], shelf: Shelf, dealt: int = DEALT
) -> list[Lengths]:
    """Return the lengths of the first weights of each run, training what is not on record.

    Args:
        experiments: The runs; the node is at the first layer.
        shelf: Where the records lie, and whether they may be made.
        dealt: How many pixels are dealt anew, drawn by the run's seed.

    Raises:
        ValueError: If there are not so many pixels, or a run has its node elsewhere.
        RecordError: If a record is damaged, cannot be written, or is missing and may not be made.
    """
    for e in experiments:
        if e.layer != "layers.0" or not 1 <= dealt < e.d_in:
            raise ValueError(
                f"the node must be at layers.0 and 1 to {e.d_in - 1} pixels dealt anew, "
                f"not {e.layer} and {dealt}"
            )
    asked = [Telling(bare(e, epochs=e.epochs), dealt, BINS) for e in experiments]
    return kept_all(_lengths, asked, shelf)


def grid(
    base: Experiment, strengths: Sequence[float], seeds: Sequence[int]
) -> dict[tuple[bool, float], list[Experiment]]:
    """Return the runs of each kind of NIN (whether fixed) and strength, one per seed."""
    return {
        (fixed, s): [dataclasses.replace(base, sigma_eps=s, fixed=fixed, seed=k)
                     for k in independent(seeds)]
        for fixed in (True, False) for s in strengths
    }  # fmt: skip


def _lengths(asked: Telling, shelf: Shelf) -> Lengths:
    e = asked.experiment
    kind = "fixed" if e.fixed else "redrawn"
    stem = f"sigma{e.sigma_eps:g}-{kind}-seed{e.seed}"
    return kept(stem, asked, partial(_train, asked), _parse, shelf)


def _train(asked: Telling) -> dict[str, ArrayLike]:
    e = asked.experiment
    data, chosen = deal(images_of(e), asked.dealt, e.seed)
    total = e.epochs * e.steps_per_epoch
    ruler = Ruler(log_spaced_steps(total - 1, 1, _LOOKS).tolist())
    [model], _ = train_runs([e], data, evaluations=0, observer=ruler, progress=False)
    ruler.see(0, total, model, data.train_x, data.train_y, torch.empty(0))
    return {
        "step": [*ruler.steps, total],
        "lengths": np.array(ruler.rows, np.float32),
        "information": information(data.train_x, data.train_y, asked.bins).astype(np.float32),
        "dealt": chosen,
    }


def _parse(arrays: dict[str, Any]) -> Lengths:
    lengths = arrays["lengths"].astype(float)
    return Lengths(
        arrays["step"], lengths[:, :-1], lengths[:, -1], arrays["information"].astype(float),
        arrays["dealt"],
    )  # fmt: skip
