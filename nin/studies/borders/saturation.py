"""Footnote 7: what noise does to a network whose activation is bounded, kept on record."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from nin.networks.attachment import NOISE_LAWS, find_node
from nin.networks.losses import accuracy
from nin.networks.models import ACTIVATIONS, MLP
from nin.networks.seeds import generator
from nin.studies.experiments import Experiment
from nin.studies.records import Made
from nin.studies.study import Shelf, images_of, independent, kept, together, train_runs
from nin.studies.sweep import kept_all

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
    made: Made


@dataclass(frozen=True)
class Saturating:
    """What a record is of: the runs of one seed.

    Attributes:
        experiment: The network, with the seed; its noise strength is of no account.
        sigma_eps: Noise strengths.
        images: Training images behind shares and accuracies.
    """

    experiment: Experiment
    sigma_eps: tuple[float, ...]
    images: int


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
    base: Experiment, sigma_eps: Sequence[float], seeds: Sequence[int], epochs: int, shelf: Shelf
) -> Outcomes:
    """Train an experiment at several noise strengths and see how it ends, or read it on record.

    Args:
        base: The experiment, its node at the first layer; its own noise strength, seed, epochs and
            evaluations are of no account.
        sigma_eps: Noise strengths.
        seeds: Seeds of the runs.
        epochs: Length of the runs.
        shelf: Where the records lie, and whether they may be made.

    Raises:
        ValueError: If the node is at another layer.
        RecordError: If a record is damaged, cannot be written, or is not there and may not be made.
    """
    if base.layer != "layers.0":
        raise ValueError(f"the node must be at layers.0, whose neurons it drives, not {base.layer}")
    e = dataclasses.replace(base, sigma_eps=0.0, epochs=epochs, evaluations=1)
    strengths = tuple(float(s) for s in sigma_eps)
    asked = [
        Saturating(dataclasses.replace(e, seed=k), strengths, IMAGES) for k in independent(seeds)
    ]
    found = kept_all(_outcomes, asked, shelf)
    names = ("accuracy", "growth", "saturated", "diverged")
    columns = {name: np.stack([one[name] for one in found], 1) for name in names}
    return Outcomes(np.array(strengths), **columns, made=together([one["made"] for one in found]))


def all_outcomes(
    start: Experiment,
    losses: Sequence[str],
    activations: Sequence[str],
    sigma_eps: Sequence[float],
    seeds: Sequence[int],
    epochs: int,
    shelf: Shelf,
) -> dict[str, dict[str, Outcomes]]:
    """Return `outcomes` by loss and activation, of an experiment with these in place of its own."""
    return {
        loss: {
            activation: outcomes(
                dataclasses.replace(start, loss=loss, activation=activation),
                sigma_eps, seeds, epochs, shelf,
            )
            for activation in activations
        }
        for loss in losses
    }  # fmt: skip


def _outcomes(asked: Saturating, shelf: Shelf) -> dict[str, Any]:
    e = asked.experiment
    stem = f"outcomes-{e.loss}-{e.activation}-epochs{e.epochs}-seed{e.seed}"
    return kept(stem, asked, partial(_train, asked), dict, shelf)


def _train(asked: Saturating) -> dict[str, ArrayLike]:
    e = asked.experiment
    runs = [dataclasses.replace(e, sigma_eps=s) for s in asked.sigma_eps]
    models, histories = train_runs(runs, evaluations=0, progress=False)
    data = images_of(e)
    x, y = data.train_x[: asked.images], data.train_y[: asked.images]
    xi = NOISE_LAWS[e.noise](len(x), generator(e.seed, "saturation"))
    rows = []
    for model, h, run in zip(models, histories, runs, strict=True):
        assert isinstance(model, MLP)  # an experiment has no others
        bounded = model.activation in BOUNDED
        share = saturated_share(model, x, xi * run.sigma_eps) if bounded else float("nan")
        with torch.no_grad():
            hits = float(accuracy(model.eval()(x), y))
        rows.append([hits, h.w_ni[-1] / h.w_ni[0], share, h.diverged_step is not None])
    hits, growth, share, diverged = np.array(rows, float).T
    return {
        "accuracy": hits,
        "growth": growth,
        "saturated": share,
        "diverged": diverged.astype(bool),
    }
