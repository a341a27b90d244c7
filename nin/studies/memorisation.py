"""Is the noise of a fixed NIN memorised? Few images, some labels wrong, training to zero loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from nin.folders import RESULTS
from nin.networks.attachment import one_node
from nin.networks.data import N_TRAIN, Dataset
from nin.networks.losses import accuracy
from nin.networks.seeds import generator
from nin.networks.training import epoch_noise
from nin.runs.averages import at_common_steps
from nin.runs.history import CLEAN_QUANTITIES
from nin.studies.experiments import FIG1, Experiment
from nin.studies.study import Shelf, images_of, independent, kept, together, train_runs
from nin.studies.sweep import kept_all

MEMORISATION = Shelf(RESULTS / "memorisation", "memorisation", may_make=False)
BASE = dataclasses.replace(FIG1, epochs=150, evaluations=8)
"""Fig. 1's network; on a twentieth of its images 150 epochs bring the training loss to zero."""
IMAGES = 2000
_END = ("off", "own", "fresh")


@dataclass(frozen=True)
class Memorising:
    """What one training is of.

    Attributes:
        experiment: The run, with its noise strength and kind.
        label_noise: Share of training labels drawn anew, the same for all seeds.
        images: Training images.
    """

    experiment: Experiment
    label_noise: float
    images: int


@dataclass(frozen=True)
class Memory:
    """What trained networks make of their noise; the runs are alike in all but their seed.

    Attributes:
        step: SGD steps at which `w_ni` and the noisy loss were recorded, (n,).
        w_ni: Norm of the NIWs, (runs, n).
        loss: Noisy training loss of the batch, (runs, n).
        eval_step: SGD steps of the clean quantities, (m,).
        clean: By the names of `nin.runs.history.CLEAN_QUANTITIES`, (runs, m) each.
        end_loss: Training loss at the end, (runs,) each: with the noise ``"off"``; with the
            ``"own"`` eps of each image, those of the last epoch; with ``"fresh"`` ones.
        end_accuracy: Training accuracy likewise.
        made: How it was made.
    """

    step: np.ndarray
    w_ni: np.ndarray
    loss: np.ndarray
    eval_step: np.ndarray
    clean: dict[str, np.ndarray]
    end_loss: dict[str, np.ndarray]
    end_accuracy: dict[str, np.ndarray]
    made: dict[str, str | int | float]


def check_labels(images: int, shares: Sequence[float], there: int = N_TRAIN) -> None:
    """Refuse what `with_wrong_labels` could not do.

    Args:
        images: How many training images to keep.
        shares: Of their labels to draw anew.
        there: How many there are.

    Raises:
        ValueError: If a number is out of range.
    """
    if not 1 <= images <= there:
        raise ValueError(f"images must be 1 to {there}, not {images}")
    for share in shares:
        if not 0 <= share <= 1:
            raise ValueError(f"share of wrong labels must be 0 to 1, not {share}")


def with_wrong_labels(data: Dataset, images: int, share: float, seed: int = 0) -> Dataset:
    """Return the first images of a data set, some training labels drawn anew among all classes.

    Args:
        data: Fashion-MNIST, in the random order of its split.
        images: How many training and validation images to keep, at least 1.
        share: Of training labels to draw anew, 0 to 1. A tenth of them stay right by chance.
        seed: Of the new labels.

    Raises:
        ValueError: If a number is out of range.
    """
    check_labels(images, [share], len(data.train_x))
    g = generator(seed, "labels")
    labels = data.train_y[:images]
    anew = torch.rand(images, generator=g) < share
    drawn = torch.randint(int(data.train_y.max()) + 1, (images,), generator=g)
    return dataclasses.replace(
        data,
        train_x=data.train_x[:images],
        train_y=torch.where(anew, drawn.to(labels), labels),
        val_x=data.val_x[:images],
        val_y=data.val_y[:images],
    )


def memory(
    base: Experiment,
    seeds: Sequence[int],
    label_noise: float,
    n_images: int = IMAGES,
    *,
    shelf: Shelf,
) -> Memory:
    """Train with some labels wrong, or read from the record what came of it.

    Args:
        base: The experiment, with its noise strength and kind; its seed is of no account.
        seeds: Seeds of the runs.
        label_noise: Share of training labels drawn anew, the same for all seeds.
        n_images: Training images.
        shelf: Where the records lie, and whether they may be made.

    Raises:
        ValueError: If a number is out of range.
        RecordError: If a record is damaged, missing or cannot be written.
    """
    asked = [
        Memorising(dataclasses.replace(base, seed=k), float(label_noise), int(n_images))
        for k in independent(seeds)
    ]
    found = kept_all(_memory, asked, shelf)
    arrays: dict[str, Any] = {"made": together([one["made"] for one in found])}
    for step, names in (("step", ("w_ni", "loss")), ("eval_step", CLEAN_QUANTITIES)):
        steps = [one[step] for one in found]
        for name in names:
            arrays[step], arrays[name] = at_common_steps(steps, [one[name] for one in found])
    clean = {name: arrays.pop(name) for name in CLEAN_QUANTITIES}
    ends: dict[str, Any] = {
        name: dict(zip(_END, np.array([one[name] for one in found]).T, strict=True))
        for name in ("end_loss", "end_accuracy")
    }
    return Memory(clean=clean, **(arrays | ends))


def _memory(asked: Memorising, shelf: Shelf) -> dict[str, Any]:
    e = asked.experiment
    kind = "fixed" if e.fixed else "redrawn"
    stem = f"{e.loss}-K{e.K:.4g}-{kind}-labels{asked.label_noise:g}-seed{e.seed}"
    return kept(stem, asked, partial(_train, asked, shelf.progress), dict, shelf)


def _train(asked: Memorising, progress: bool | None) -> dict[str, ArrayLike]:
    e = asked.experiment
    data = images_of(e)
    data = with_wrong_labels(data, asked.images, asked.label_noise, e.split_seed)
    [network], [h] = train_runs([e], data, progress=progress)
    losses, shares = _end(network, e, data)
    return {
        "step": h.step,
        "eval_step": h.eval_step,
        "w_ni": h.w_ni,
        "loss": h.loss,
        **{name: getattr(h, name) for name in CLEAN_QUANTITIES},
        "end_loss": losses,
        "end_accuracy": shares,
    }


def _end(network: nn.Module, e: Experiment, data: Dataset) -> np.ndarray:
    """Return loss and accuracy on the training images by `_END`, (2, 3)."""
    node, n, loss = one_node(network)[1], len(data.train_x), e.criterion()
    own = epoch_noise(node, e.seed, e.epochs - 1, n)
    fresh = node.draw(n, generator(e.seed, "fresh eps"))
    network.train()
    rows = []
    with torch.no_grad():
        for eps in (torch.zeros(n), own, fresh):
            node.eps = eps
            out = network(data.train_x)
            mean = float(loss.values(out, data.train_y).mean())
            rows.append((mean, float(accuracy(out, data.train_y))))
    return np.array(rows).T
