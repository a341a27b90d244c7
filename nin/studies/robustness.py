"""Networks with a regulariser, and what they make of spoilt test images.

All have the hidden layers of Fig. 1's kind and one learning rate; each has one of three things that
are said to regularise, a NIN, dropout or weight decay, the rest at zero. How they are compared is
in `nin.studies.leads`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F

from nin.folders import RESULTS
from nin.networks.corruptions import SEVERITIES, corrupt
from nin.networks.data import Dataset
from nin.networks.losses import accuracy
from nin.networks.models import MLP
from nin.runs.history import History
from nin.runs.phases import Phase, classify_phase
from nin.studies.borders.search import is_past
from nin.studies.experiments import FIG1, Experiment
from nin.studies.records import Made
from nin.studies.study import Shelf, images_of, independent, kept, together, train_runs
from nin.studies.sweep import kept_all

ROBUSTNESS = Shelf(RESULTS / "robustness", "robustness", may_make=False)
BASE = replace(FIG1, depth=1, width=128, epochs=20, evaluations=1)
"""Fig. 1's training in a network of seconds."""
IMAGES, TESTED = 10_000, 5_000
"""Few enough to train with that a regulariser has something to do; and those to test with."""


@dataclass(frozen=True)
class Regularised:
    """What one network is trained and tested with.

    Attributes:
        experiment: The run; its noise strength, 0 for none, and its kind of NIN.
        dropout: Share of hidden units that are left out in each step, 0 to 1.
        weight_decay: Added to the gradient of all weights but the NIWs, times these, >= 0.
        images: Training images.
        tested: Test images.
        severities: Of the corruptions, see `nin.networks.corruptions.SEVERITIES`.

    Raises:
        ValueError: If a number is out of range, or pixels are scaled each by itself.
    """

    experiment: Experiment
    dropout: float = 0.0
    weight_decay: float = 0.0
    images: int = IMAGES
    tested: int = TESTED
    severities: tuple[tuple[str, float], ...] = SEVERITIES

    def __post_init__(self) -> None:  # noqa: D105
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be a share of units, 0 to below 1, not {self.dropout}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(f"weight_decay must be finite and >= 0, not {self.weight_decay}")
        if not (self.experiment.batch_size <= self.images and self.tested >= 1):
            raise ValueError(
                f"images must be a batch at least, {self.experiment.batch_size}, and tested 1, not "
                f"{self.images} and {self.tested}"
            )
        if self.experiment.scaling == "pixel":
            raise ValueError("pixels scaled each by itself have no common black and white")


@dataclass(frozen=True)
class Robustness:
    """What networks alike in all but their seed make of test images.

    Attributes:
        train: Accuracy on the training images, (seeds,).
        clean: Accuracy on the test images, (seeds,).
        spoilt: The same spoilt, (seeds, severities).
        phases: Of each run; None without noise.
        made: How it was made.
    """

    train: np.ndarray
    clean: np.ndarray
    spoilt: np.ndarray
    phases: tuple[Phase | None, ...]
    made: Made

    @property
    def phase(self) -> Phase | None:
        """That of most runs, and divergent if one is lost."""
        if Phase.DIVERGENT in self.phases:
            return Phase.DIVERGENT
        return Counter(self.phases).most_common(1)[0][0]

    def points(self, severities: slice | Sequence[int] = slice(None)) -> np.ndarray:
        """Return clean and robust accuracy, (seeds, 2), the latter the mean over severities."""
        return np.column_stack([self.clean, self.spoilt[:, severities].mean(1)])


def noisy(plain: Regularised, K: Sequence[float], fixed: bool) -> list[Regularised]:
    """Return networks with a NIN of rising strength."""
    return [replace(plain, experiment=plain.experiment.at(k, fixed=fixed)) for k in K]


def robustness(
    configurations: Sequence[Regularised], seeds: Sequence[int], shelf: Shelf
) -> dict[Regularised, Robustness]:
    """Train and test configurations, or read from the records what came of it.

    Args:
        configurations: What to train with; the experiments' seeds are of no account.
        seeds: Seeds of the runs.
        shelf: Where the records lie, and whether they may be made.

    Raises:
        ValueError: If a seed is named twice.
        RecordError: If a record is damaged, missing or cannot be written.
    """
    seeds = independent(seeds)
    configurations = list(dict.fromkeys(configurations))
    asked = [
        replace(c, experiment=replace(c.experiment, seed=k)) for c in configurations for k in seeds
    ]
    rows = iter(kept_all(_kept, asked, shelf))
    return {c: _gather([next(rows) for _ in seeds]) for c in configurations}


def _gather(rows: Sequence[dict[str, Any]]) -> Robustness:
    train, clean, spoilt = (np.array([r[n] for r in rows]) for n in ("train", "clean", "spoilt"))
    places = [int(r["phase"]) for r in rows]
    phases = tuple(list(Phase)[k] if k >= 0 else None for k in places)
    return Robustness(train, clean, spoilt, phases, together([r["made"] for r in rows]))


def _kept(asked: Regularised, shelf: Shelf) -> dict[str, Any]:
    e = asked.experiment
    kind = "fixed" if e.fixed else "redrawn"
    what = f"K{e.K:.4g}-{kind}" if e.sigma_eps else f"drop{asked.dropout:g}"
    stem = f"depth{e.depth}-width{e.width}-{what}-decay{asked.weight_decay:g}-seed{e.seed}"
    return kept(stem, asked, partial(_train, asked, shelf.progress), dict, shelf)


def _train(asked: Regularised, progress: bool | None) -> dict[str, ArrayLike]:
    e = asked.experiment
    data = _first(images_of(e), asked.images, asked.tested)

    network, make = e.network(), None
    if asked.dropout:
        add_dropout(network, asked.dropout)
    if asked.dropout or asked.weight_decay:  # without, the loop of all other studies, the faster
        make = partial(torch.optim.SGD, lr=e.eta, weight_decay=asked.weight_decay)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(e.seed)  # dropout draws from torch's own generator
        [trained], [h] = train_runs(
            [e], data, evaluations=0, optimizer=make, progress=progress, models=[network]
        )
    trained.eval()
    black, white = data.train_x.aminmax()  # in the units of the scaled images
    pixels = (data.val_x - black) / (white - black)
    shares = [_share(trained, data.train_x, data.train_y), _share(trained, data.val_x, data.val_y)]
    for how, severity in asked.severities:
        x = corrupt(pixels, how, severity) * (white - black) + black
        shares.append(_share(trained, x, data.val_y))
    train, clean, *spoilt = shares
    return {"train": train, "clean": clean, "spoilt": spoilt, "phase": _phase(h, e.sigma_eps)}


def add_dropout(network: MLP, share: float) -> None:
    """Leave hidden units out in training: at the inputs of all layers but the first."""
    for layer in network.layers[1:]:
        layer.register_forward_pre_hook(partial(_drop, share))


def _drop(share: float, layer: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (F.dropout(args[0], share, layer.training),)


def _first(data: Dataset, images: int, tested: int) -> Dataset:
    return Dataset(
        data.train_x[:images], data.train_y[:images], data.val_x[:tested], data.val_y[:tested]
    )


def _share(network: nn.Module, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return float(accuracy(network(x), y))


def _phase(h: History, sigma_eps: float) -> int:
    """Return the place of a run's phase in ``list(Phase)``; -1 without noise."""
    if not sigma_eps:
        return -1
    found = classify_phase(h)
    return list(Phase).index(Phase.DIVERGENT if is_past("lost", found) else found.phase)
