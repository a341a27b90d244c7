"""Footnote 7: what noise does to a network whose activation is bounded, kept on record."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nin.networks.losses import accuracy
from nin.networks.models import ACTIVATIONS, MLP
from nin.networks.nodes import NOISE_LAWS, find_node
from nin.networks.seeds import generator
from nin.networks.training import train
from nin.studies.borders.search import BORDERS_FOLDER
from nin.studies.experiment import Experiment
from nin.studies.records import provenance, read_or_make, record_key
from nin.studies.study import one_thread, training_data

BOUNDED = ("tanh", "sigmoid")
FLAT = 0.02
"""A neuron is saturated where the slope of its activation is below this share of the steepest."""
IMAGES = 2000
"""Training images behind shares and accuracies: their standard error is then about 1 %."""


@dataclass(frozen=True)
class Outcomes:
    """How runs end, by noise strength and seed: (strengths, seeds) each.

    Attributes:
        sigma_eps: The noise strengths, (strengths,).
        accuracy: Share of training images that the trained network gets right, noise off.
        growth: Final |w_ni| over its start; that of the last finite step if the run diverged.
        saturated: Share of saturated neurons of the noisy layer, noise on, after training; NaN for
            an activation without bounds.
        diverged: Whether the loss became infinite.
        made: How they were made; ``"seconds"`` is the training time of all.
    """

    sigma_eps: np.ndarray
    accuracy: np.ndarray
    growth: np.ndarray
    saturated: np.ndarray
    diverged: np.ndarray
    made: dict[str, str | int | float]


def saturated_share(model: MLP, x: Tensor, eps: Tensor) -> float:
    """Return the share of first-layer neurons that are saturated, over all samples.

    Args:
        model: A network with a bounded activation, and a node (or none) at its first layer.
        x: Inputs, (n, d_in).
        eps: What the node injects, (n,).

    Raises:
        ValueError: If the activation has no bounds.
    """
    if model.activation not in BOUNDED:
        raise ValueError(f"only {BOUNDED} saturate, not {model.activation!r}")
    act, found = ACTIVATIONS[model.activation], find_node(model)
    if found is not None:
        found[1].eps = eps
    with torch.no_grad():
        z = model.layers[0](x)
    at = torch.cat([z.flatten(), z.new_zeros(1)]).requires_grad_()  # both are steepest at 0
    (slopes,) = torch.autograd.grad(act(at).sum(), at)
    return float((slopes[:-1] < FLAT * slopes[-1]).float().mean())


def outcomes(
    base: Experiment,
    sigma_eps: Sequence[float],
    seeds: Sequence[int],
    epochs: int,
    folder: Path = BORDERS_FOLDER,
    *,
    may_train: bool = True,
    recompute: bool = False,
) -> Outcomes:
    """Train an experiment at several noise strengths and see how it ends, or read it on record.

    Args:
        base: The experiment, its node at the first layer; its own noise strength, seed, epochs and
            evaluations are of no account.
        sigma_eps: Noise strengths.
        seeds: Seeds of the runs.
        epochs: Length of the runs.
        folder: Where the record lies.
        may_train: Whether to train what is not on record; else that is an error.
        recompute: Whether to train even what is on record.

    Raises:
        ValueError: If the node is at another layer.
        RecordError: If the record is damaged, cannot be written, or is not there and may not be
            made.
    """
    if base.layer != "layers.0":
        raise ValueError(f"the node must be at layers.0, whose neurons it drives, not {base.layer}")
    base = dataclasses.replace(base, sigma_eps=0.0, seed=0, epochs=epochs, evaluations=1)
    what = [dataclasses.asdict(base), [float(s) for s in sigma_eps], list(seeds), IMAGES]
    key = record_key(*what)
    path = folder / f"outcomes-{base.loss}-{base.activation}-epochs{epochs}-{key}.npz"

    def make() -> dict[str, np.ndarray]:
        with one_thread():
            return _train(base, sigma_eps, seeds)

    options = {"may_make": may_train, "recompute": recompute}
    return read_or_make(path, make, _outcomes, "network_borders", **options)


def _train(
    base: Experiment, sigma_eps: Sequence[float], seeds: Sequence[int]
) -> dict[str, np.ndarray]:
    start, made = time.perf_counter(), provenance("cpu")
    data = training_data(base.scaling, base.split_seed)
    columns = []
    for seed in seeds:
        models = [dataclasses.replace(base, seed=seed, sigma_eps=s).network() for s in sigma_eps]
        histories = train(
            models,
            data,
            loss=base.criterion(),
            eta=base.eta,
            batch_size=base.batch_size,
            epochs=base.epochs,
            seeds=[seed] * len(models),
            precision=base.precision,
            evaluations=0,
            progress=False,
        )
        x, y = data.train_x[:IMAGES], data.train_y[:IMAGES]
        xi = NOISE_LAWS[base.noise](len(x), generator(seed, "saturation"))
        column = []
        for model, h, sigma in zip(models, histories, sigma_eps, strict=True):
            bounded = model.activation in BOUNDED
            share = saturated_share(model, x, xi * sigma) if bounded else float("nan")
            with torch.no_grad():
                hits = float(accuracy(model.eval()(x), y))
            growth = h.w_ni[-1] / h.w_ni[0]
            column.append([hits, growth, share, h.diverged_step is not None])
        columns.append(column)
    made["seconds"] = round(time.perf_counter() - start, 1)
    hits, growth, share, diverged = np.array(columns, float).transpose(2, 1, 0)
    about = "by noise strength and seed: see nin.studies.borders.saturation.Outcomes"
    meta = {"experiment": dataclasses.asdict(base), "made": made, "about": about}
    return {
        "sigma_eps": np.array(sigma_eps, float),
        "seed": np.array(seeds, np.int64),
        "accuracy": hits,
        "growth": growth,
        "saturated": share,
        "diverged": diverged.astype(bool),
        "meta": np.array(json.dumps(meta, sort_keys=True)),
    }


def _outcomes(arrays: dict[str, np.ndarray]) -> Outcomes:
    """Invert `_train`."""
    made = json.loads(str(arrays.pop("meta")))["made"]
    del arrays["seed"]
    return Outcomes(**arrays, made=made)
