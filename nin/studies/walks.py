"""The walk of w_ni where the noise is too weak to decay: straight on, or at random (Sec. 3).

Each epoch moves w_ni by the sum of its kicks. A re-randomised NIN kicks in a new direction every
epoch, so the distance grows as the root of time; a fixed one in the same direction, as long as the
local gradients of the images do not change, so it grows in proportion to time.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nin.networks.data import N_TRAIN
from nin.networks.nodes import find_node
from nin.networks.training import train
from nin.studies.experiment import FIG1, Experiment
from nin.studies.records import RESULTS, provenance, read_or_make, record_key
from nin.studies.study import one_thread, training_data

WALKS = RESULTS / "walks"
FIG1_WEAK = FIG1.at(1e-6, epochs=6, evaluations=1)
"""Fig. 1's network far down in the decoupled phase: even the first kicks outdo the pull."""


def increments(
    base: Experiment,
    seeds: Sequence[int],
    *,
    recompute: bool = False,
    may_train: bool = True,
    folder: Path = WALKS,
) -> np.ndarray:
    """Return the scalar products of the steps that w_ni takes in an epoch each.

    All of a walk's geometry but its orientation: the squared distance from the start after e epochs
    is the sum of the first e rows and columns, and the angle between two epochs' steps is that of
    any two vectors.

    Args:
        base: The experiment, with its noise strength and kind; its seed is of no account.
        seeds: Seeds of the runs.
        recompute: Whether to train even if there is a record.
        may_train: Whether to train what is not on record; else that is an error.
        folder: Where the record lies.

    Returns:
        Of each run, (seeds, epochs, epochs), in units of the initial |w_ni|^2.

    Raises:
        RecordError: If the record is damaged, missing or cannot be written.
    """
    base = dataclasses.replace(base, seed=0, evaluations=1)
    asked = {"experiment": dataclasses.asdict(base), "seeds": [int(k) for k in seeds]}
    kind = "fixed" if base.fixed else "redrawn"
    path = folder / f"{base.loss}-K{base.K:.4g}-{kind}-{record_key(asked)}.npz"

    def make() -> dict[str, np.ndarray]:
        begun, made = time.perf_counter(), provenance("cpu") | {"threads": 1}
        with one_thread():
            products = np.array([_walk(dataclasses.replace(base, seed=int(k))) for k in seeds])
        made["seconds"] = round(time.perf_counter() - begun, 1)
        meta = json.dumps({"made": made, "asked": asked}, sort_keys=True)
        return {"products": products, "meta": np.array(meta)}

    options = {"may_make": may_train, "recompute": recompute}
    return read_or_make(path, make, lambda arrays: arrays["products"], "fig1_decay", **options)


class _Places:
    """Keeps w_ni as it is at the start of each epoch: an observer for `nin.train`."""

    def __init__(self, epochs: int, batch_size: int) -> None:
        steps_per_epoch = -(-N_TRAIN // batch_size)
        self.steps = range(0, epochs * steps_per_epoch, steps_per_epoch)
        self.places: list[Tensor] = []

    def see(self, run: int, step: int, model: nn.Module, x: Tensor, y: Tensor, eps: Tensor) -> None:
        """Look at the network before a step; see `nin.networks.training.Observer`."""
        self.places.append(_w_ni(model))


def _w_ni(model: nn.Module) -> Tensor:
    """Return a copy of w_ni as it is now, (features,)."""
    found = find_node(model)
    assert found is not None  # an experiment's network has one
    return found[1].w_ni.detach().double().clone()


def _walk(e: Experiment) -> np.ndarray:
    """Train a run and return its increments' products, (epochs, epochs)."""
    model, watch = e.network(), _Places(e.epochs, e.batch_size)
    train(
        [model],
        training_data(e.scaling, e.split_seed),
        loss=e.criterion(),
        eta=e.eta,
        batch_size=e.batch_size,
        epochs=e.epochs,
        seeds=[e.seed],
        evaluations=0,
        observer=watch,
    )
    w = torch.stack([*watch.places, _w_ni(model)])
    steps = w.diff(dim=0) / w[0].norm()
    return (steps @ steps.T).numpy()


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
