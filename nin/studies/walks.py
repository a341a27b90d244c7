"""The walk of w_ni where the noise is too weak to decay: straight on, or at random (Sec. 3).

Each epoch moves w_ni by the sum of its kicks. A re-randomised NIN kicks in a new direction every
epoch, so the distance grows as the root of time; a fixed one in the same direction, as long as the
local gradients of the images do not change, so it grows in proportion to time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from nin.folders import RESULTS
from nin.networks.attachment import one_node
from nin.studies.experiments import FIG1, Experiment
from nin.studies.study import Shelf, independent, kept, train_runs
from nin.studies.sweep import kept_all

WALKS = Shelf(RESULTS / "walks", "fig1_decay", may_make=False)
FIG1_WEAK = FIG1.at(1e-6, epochs=6, evaluations=1)
"""Fig. 1's network far down in the decoupled phase: even the first kicks outdo the pull."""


@dataclass(frozen=True)
class Walk:
    """What a walk is of.

    Attributes:
        experiment: The run; its evaluations are of no account.
    """

    experiment: Experiment


def increments(base: Experiment, seeds: Sequence[int], shelf: Shelf) -> np.ndarray:
    """Return the scalar products of the steps that w_ni takes in an epoch each.

    All of a walk's geometry but its orientation: the squared distance from the start after e epochs
    is the sum of the first e rows and columns, and the angle between two epochs' steps is that of
    any two vectors.

    Args:
        base: The experiment, with its noise strength and kind; its seed is of no account.
        seeds: Seeds of the runs.
        shelf: Where the records lie, and whether they may be made.

    Returns:
        Of each run, (seeds, epochs, epochs), in units of the initial |w_ni|^2.

    Raises:
        RecordError: If a record is damaged, missing or cannot be written.
    """
    asked = [Walk(replace(base, seed=k, evaluations=1)) for k in independent(seeds)]
    return np.array(kept_all(_walk, asked, shelf))


def _walk(asked: Walk, shelf: Shelf) -> np.ndarray:
    e = asked.experiment
    kind = "fixed" if e.fixed else "redrawn"
    stem = f"{e.loss}-K{e.K:.4g}-{kind}-seed{e.seed}"
    return kept(stem, asked, partial(_train, e), lambda arrays: arrays["products"], shelf)


class _Places:
    """Keeps w_ni as it is at the start of each epoch: an observer for `nin.train`."""

    def __init__(self, e: Experiment) -> None:
        self.steps = range(0, e.epochs * e.steps_per_epoch, e.steps_per_epoch)
        self.places: list[Tensor] = []

    def see(self, run: int, step: int, model: nn.Module, x: Tensor, y: Tensor, eps: Tensor) -> None:
        """Look at the network before a step; see `nin.Observer`."""
        self.places.append(_w_ni(model))


def _w_ni(model: nn.Module) -> Tensor:
    """Return a copy of w_ni as it is now, (features,)."""
    return one_node(model)[1].w_ni.detach().double().cpu().clone()


def _train(e: Experiment) -> dict[str, np.ndarray]:
    watch = _Places(e)
    [model], _ = train_runs([e], evaluations=0, observer=watch)
    w = torch.stack([*watch.places, _w_ni(model)])
    steps = w.diff(dim=0) / w[0].norm()
    return {"products": (steps @ steps.T).numpy()}


def distances(products: np.ndarray) -> np.ndarray:
    """Return the distance from the start at the end of each epoch, (seeds, epochs).

    Args:
        products: From `increments`.
    """
    epochs = range(1, products.shape[-1] + 1)
    return np.sqrt(np.stack([products[:, :e, :e].sum((1, 2)) for e in epochs], 1))


def cosines(products: np.ndarray) -> np.ndarray:
    """Return the mean cosine of the angle between the steps of different epochs, (seeds,).

    Args:
        products: From `increments`, of at least two epochs.
    """
    size = np.sqrt(np.diagonal(products, axis1=1, axis2=2))
    cosine = products / (size[:, :, None] * size[:, None, :])
    return np.asarray(cosine[:, ~np.eye(products.shape[-1], dtype=bool)].mean(1))
