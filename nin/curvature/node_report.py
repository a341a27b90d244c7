"""What a network's nodes will do, told from its weights and a batch: one table for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from nin.curvature.eq2 import halving, kick_size, resting_size
from nin.curvature.local import DENSE, LocalLoss, local_loss
from nin.curvature.noise_curvature import Prediction, noisy_curve
from nin.curvature.pull import sampled_gradients
from nin.networks.attachment import NoiseInjection, nodes
from nin.networks.data import Inputs
from nin.networks.losses import Loss, LossFunction, loss_by_name
from nin.networks.module_stack import plain_attention, trainable_copy

DRAWS = 32
"""Random directions of a trace, and pairs of noise draws of a measured rate."""
_STRENGTHS = np.geomspace(1 / 16, 16, 9)  # of a border's curve: factors of 4 in the variance
_SURE = 2  # standard errors from 0 at which a sign counts as known


def _row(unit: str | None = None, err: str = "") -> Any:
    """Give a number a row of the table, unless it has no unit, and its error."""
    return field(metadata={"unit": unit, "err": err})


@dataclass(frozen=True)
class NodeReport:
    """What one step of SGD does to a node's w_ni, by Eq. (2) with its factor corrected.

    All of it is for the network as it is, on the samples of the report, in ``eval()`` and with the
    other nodes silent. Errors are one standard error.

    Attributes:
        sigma_eps: Standard deviation of the noise.
        features: Length of w_ni.
        size: |w_ni|.
        gradient: Root mean square length of the samples' local gradients.
        trace: Of the mean local Hessian <H>.
        trace_err: Of Hutchinson's estimate; 0 where <H> was formed.
        low: The smallest eigenvalue of <H>.
        high: The largest.
        along: Curvature along w_ni, w_ni^T <H> w_ni / |w_ni|^2.
        along_err: What other samples might say.
        rate: Expected fall of ln|w_ni| in a step by the curvature, eta sigma_eps^2 `along`.
        measured: The same from noise as strong as this: the gradient along w_ni over pairs of
            draws of opposite sign, to all orders and with the kinks of ReLU.
        measured_err: What other draws might say.
        kick: Root mean square of the random change of ln|w_ni| in a step.
        half_life: Steps after which half of |w_ni| is left, kicks aside; infinite if never.
        floor: |w_ni| at which kicks and curvature balance, w_ni pointing where it does; infinite
            where nothing pulls it in.
        surge: sigma_eps at which the noisy loss begins to rise, from the curvature of the loss with
            noise, `nin.curvature.noise_curvature`; NaN where it was not asked for.
        catapult: Where |w_ni| rises too.
        divergent: Where the rise does not end.
        unknown: What these numbers cannot tell of this node, a sentence each.
    """

    sigma_eps: float = _row("z")
    features: int = _row("")
    size: float = _row("1")
    gradient: float = _row("loss/z")
    trace: float = _row("loss/z²", "trace_err")
    trace_err: float = _row()
    low: float = _row("loss/z²")
    high: float = _row("loss/z²")
    along: float = _row("loss/z²", "along_err")
    along_err: float = _row()
    rate: float = _row("per step")
    measured: float = _row("per step", "measured_err")
    measured_err: float = _row()
    kick: float = _row("per step")
    half_life: float = _row("steps")
    floor: float = _row("1")
    surge: float = _row("z")
    catapult: float = _row("z")
    divergent: float = _row("z")
    unknown: tuple[str, ...] = _row()

    def decay_border(self, steps: int) -> float:
        """Return the sigma_eps at which half of |w_ni| is left after some steps."""
        return float(self.sigma_eps * np.sqrt(self.half_life / steps))


@dataclass(frozen=True)
class Report:
    """The nodes of a network; it prints as a table.

    Attributes:
        nodes: What is said of each, by the name of its layer.
        eta: Learning rate of SGD that rates are for.
        batch_size: Samples of a step that kick and floor are for.
        samples: Samples that derivatives were averaged over.
    """

    nodes: dict[str, NodeReport]
    eta: float
    batch_size: int
    samples: int

    def __getitem__(self, layer: str) -> NodeReport:
        """Return what is said of a layer's node."""
        return self.nodes[layer]

    def rows(self) -> list[list[str]]:
        """Return the table: a heading, and a row for each quantity, with its unit."""
        told = [f for f in fields(NodeReport) if f.metadata["unit"] is not None]
        rows = [
            [f.name, f.metadata["unit"], *(_cell(node, f) for node in self.nodes.values())]
            for f in told
            if not all(_is_nan(getattr(node, f.name)) for node in self.nodes.values())
        ]
        return [["quantity", "unit", *self.nodes], *rows]

    def __str__(self) -> str:
        """Return the table as text, and what it cannot tell."""
        rows = self.rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                [*map(str.ljust, row[:2], widths), *map(str.rjust, row[2:], widths[2:])]
            ).rstrip()
            for row in rows
        ]
        return "\n".join([self._says, *lines, *(f"- {one}" for one in self._unknown())])

    def _repr_markdown_(self) -> str:
        """Return the table for a notebook."""
        heading, *rows = (f"| {' | '.join(row)} |" for row in self.rows())
        rule = "|:--|:--|" + "--:|" * len(self.nodes)
        unknown = (f"- {one}" for one in self._unknown())
        return "\n".join([self._says, "", heading, rule, *rows, "", *unknown])

    @property
    def _says(self) -> str:
        return f"SGD, eta = {self.eta:g}, batches of {self.batch_size}; {self.samples} samples"

    def _unknown(self) -> Iterator[str]:
        """Say what cannot be told, each sentence once, with the layers that it is of."""
        yield (
            "Not told: anything after the weights have moved, and any rule but SGD's (momentum m: "
            "give eta / (1 - m); Adam divides each step by the size of the gradients)."
        )
        layers: dict[str, list[str]] = {}
        for layer, node in self.nodes.items():
            for one in node.unknown:
                layers.setdefault(one, []).append(layer)
        yield from (f"Not told of {', '.join(where)}: {one}" for one, where in layers.items())


def report(
    model: nn.Module,
    x: Inputs,
    y: Tensor,
    loss: Loss | LossFunction | str,
    *,
    eta: float = 1.0,
    batch_size: int | None = None,
    borders: bool = False,
    seed: int = 0,
) -> Report:
    """Report on the nodes of any network. It is left as it is, and so are its generators.

    It takes about as long as three hundred gradients of the samples for each node.

    Args:
        model: The network, with one node or several attached.
        x: Inputs, (batch, ...): some hundreds will do. A tensor, or tensors by the names of the
            network's arguments.
        y: Labels or targets, (batch, ...).
        loss: `Loss`, or its name, or the loss of each sample, (batch,), from outputs and `y`.
        eta: Learning rate of SGD; with momentum, over 1 - momentum. By default 1: then rates and
            kicks are per unit of it, `half_life` is eta times steps, and `floor` goes as its root.
        batch_size: Samples of a step; default as many as there are in `y`.
        borders: Whether to predict the borders of the phases, for outputs (batch, d). It takes some
            hundred gradients more, and means something for the `eta` of training only.
        seed: Of the random directions, of the draws and of the borders' noise.

    Raises:
        ValueError: If the network has no node, a number is out of range, or `LocalLoss` refuses.

    >>> from nin.networks.attachment import attach
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    >>> node = attach(net, "0", sigma_eps=0.5)
    >>> x, y = torch.ones(10, 4), torch.arange(10) % 3
    >>> found = report(net, x, y, Loss("ce"), eta=0.1)
    >>> found["0"].rate == 0.1 * 0.5**2 * found["0"].along
    True
    """
    # What torch.compile wraps is looked into as it is: derivatives of derivatives need no speed.
    model = getattr(model, "_orig_mod", model)
    found = nodes(model)
    if not found:
        raise ValueError("this network has no node: `nin.attach` one to a layer")
    if not len(y):
        raise ValueError("there are no samples to report on: give some hundreds")
    loss = loss_by_name(loss)
    batch_size = len(y) if batch_size is None else batch_size
    if not (0 < eta < float("inf") and batch_size >= 1):
        raise ValueError(
            f"expected a finite eta > 0 and batch_size >= 1, not {eta} and {batch_size}"
        )
    told = {}
    for layer, node in found.items():
        if not node.w_ni.any():
            raise ValueError(f"w_ni of layer {layer!r} is 0: there is no direction to look along")
        local = local_loss(model, layer, x, y, loss)
        numbers = _numbers(local, node, eta, batch_size, seed)
        limits = Prediction(*[float("nan")] * 3)
        if borders:
            scale = max(abs(numbers["low"]), abs(numbers["high"]))
            limits = _borders(model, layer, x, y, loss, eta, scale, seed)
        unknown = (*_about_layers(local), *_about_numbers(**numbers))
        told[layer] = NodeReport(**numbers, **vars(limits), unknown=unknown)
    return Report(told, eta, batch_size, len(y))


def _numbers(
    local: LocalLoss, node: NoiseInjection, eta: float, batch_size: int, seed: int
) -> dict[str, Any]:
    w, sigma_eps = node.w_ni.detach(), node.sigma_eps
    g, hw = local.gradient_and_product(w)
    each = hw @ w / w.square().sum()
    along = float(each.mean())
    trace, trace_err = local.trace(None if len(w) <= DENSE else DRAWS, seed)
    low, high = local.extreme_eigenvalues()
    theta = halving(*local.spectrum_along(w))
    rates = torch.zeros(2)
    if sigma_eps:
        drawn = sampled_gradients(local, w, sigma_eps, DRAWS, noise=node.noise, seed=seed)
        rates = eta * drawn @ w / w.square().sum()
    return {
        "sigma_eps": sigma_eps,
        "features": len(w),
        "size": float(w.norm()),
        "gradient": float(g.square().sum(1).mean().sqrt()),
        "trace": trace,
        "trace_err": trace_err,
        "low": low,
        "high": high,
        "along": along,
        "along_err": float(each.std() / len(each) ** 0.5) if len(each) > 1 else float("nan"),
        "rate": eta * sigma_eps**2 * along,
        "measured": float(rates.mean()),
        "measured_err": float(rates.std() / len(rates) ** 0.5),
        "kick": kick_size(g, w, sigma_eps, eta, batch_size),
        "half_life": theta / (eta * sigma_eps**2) if sigma_eps else float("inf"),
        "floor": resting_size(g, along, eta, batch_size),
    }


def _borders(
    model: nn.Module,
    layer: str,
    x: Inputs,
    y: Tensor,
    loss: Loss | LossFunction,
    eta: float,
    scale: float,
    seed: int,
) -> Prediction:
    """Predict the borders from the curvature of the loss with noise at this node alone."""
    copied = trainable_copy(model).eval()
    nodes(copied)[layer].train()
    around = np.sqrt(2 / (eta * scale)) if scale else 1.0  # where <H> alone makes w_ni rise
    with plain_attention():
        strengths = (around * _STRENGTHS).tolist()
        return noisy_curve(copied, layer, x, y, loss, strengths, eta, seed).predict()


def _about_layers(local: LocalLoss) -> Iterator[str]:
    """Say which layers behind the node do in training what they do not do in ``eval()``."""
    behind = _behind(local)
    if any(isinstance(m, _BatchNorm) for m in behind):
        yield (
            "what BatchNorm does in train(), where samples see each other: the noise of a sample "
            "then moves the losses of all."
        )
    if any(isinstance(m, _DropoutNd) and m.p for m in behind):
        yield "what Dropout does in train(), which is off in these numbers."


def _behind(local: LocalLoss) -> list[nn.Module]:
    """Return the layers that are in ``train()`` and called after the node's own."""
    target = local.model.get_submodule(local.layer)
    called: list[nn.Module] = []
    training = [m for m in local.model.modules() if m.training and m is not target]
    hooks = [
        m.register_forward_hook(lambda m, _inputs, _out: called.append(m))
        for m in (target, *training)
    ]
    try:
        local.pre_activations()
    finally:
        for hook in hooks:
            hook.remove()
    return called[called.index(target) :]


def _about_numbers(
    *,
    sigma_eps: float,
    along: float,
    along_err: float,
    rate: float,
    measured: float,
    measured_err: float,
    half_life: float,
    **_others: float,
) -> Iterator[str]:
    """Say which numbers the samples, the draws or the expansion leave open."""
    if not sigma_eps:
        yield "any rate or kick: the node is silent, its sigma_eps 0."
    if not abs(along) > _SURE * along_err:
        yield (
            f"half-life and floor: not even the sign of the curvature along w_ni is known from "
            f"these samples, {along:.2g} ± {along_err:.1g}."
        )
    elif along < 0:
        yield f"a floor: the curvature along w_ni is negative, {along:.2g}, and |w_ni| grows."
    elif sigma_eps and half_life == float("inf"):
        yield (
            "when half of |w_ni| is left: it falls, but most of it lies along directions that are "
            "flat or curve down."
        )
    if sigma_eps and measured_err > abs(measured) / _SURE:
        yield (
            f"whether noise this strong pulls as the curvature says: measured {measured:.2g} ± "
            f"{measured_err:.1g}, {rate:.2g} expected."
        )
    elif abs(measured - rate) > max(_SURE * measured_err, 0.1 * abs(rate)):
        yield (
            f"half-life and floor at this sigma_eps: the noise pulls {measured / rate:.2g} times "
            "as hard as the curvature says (higher orders, or kinks of ReLU)."
        )


def _is_nan(value: float) -> bool:
    return bool(np.isnan(value))


def _cell(node: NodeReport, told: Any) -> str:
    value, err = getattr(node, told.name), told.metadata["err"]
    if err and getattr(node, err):
        return f"{value:.3g} ± {getattr(node, err):.1g}"
    return "–" if _is_nan(value) else "∞" if np.isposinf(value) else f"{value:.3g}"
