"""How fast |w_ni| falls, and what the local curvature says of it, for one batch (Sec. 1, iii).

Everything here is along w_ni itself: what counts is the fall of its length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nin.curvature import LocalLoss
from nin.losses import Loss
from nin.models import ACTIVATIONS, MLP
from nin.theory.rates import kink_gradient

NODES, REACH = 48, 5
"""Noise values of the quadrature, and how many standard deviations they span either way."""


class Tail(nn.Module):
    """The part of an `MLP` behind the pre-activations of one of its layers."""

    def __init__(self, model: MLP, layer: str) -> None:
        """Take the part; it shares the network's weights.

        Args:
            model: The network.
            layer: Name of the layer, ``"layers.0"`` or deeper.
        """
        super().__init__()
        self.entry = nn.Identity()
        self.activation = model.activation
        self.layers = model.layers[int(layer.split(".")[1]) + 1 :]

    def forward(self, z: Tensor) -> Tensor:
        """Return the outputs, (batch, d_out), of pre-activations (batch, features)."""
        z = self.entry(z)
        for layer in self.layers:
            z = layer(ACTIVATIONS[self.activation](z))
        return z


def local_loss(model: nn.Module, layer: str, x: Tensor, y: Tensor, loss: Loss) -> LocalLoss:
    """Return the local loss; for an `MLP` without the layers before, which it does not need.

    Args:
        model: Any network.
        layer: Name of the layer as in ``model.named_modules()``.
        x: Inputs, (batch, ...).
        y: Labels, (batch, ...).
        loss: The loss.
    """
    local = LocalLoss(model, layer, x, y, loss.values)
    if type(model) is not MLP:
        return local
    return LocalLoss(Tail(model, layer), "entry", local.pre_activations(), y, loss.values)


@dataclass(frozen=True)
class Averages:
    """The pull on w_ni averaged over Gaussian noise, without sampling, along w_ni itself.

    Attributes:
        pull: w_ni times the mean gradient of the batch loss by w_ni.
        curvature: sigma_eps^2 w_ni^T <H> w_ni with each sample's H averaged over its noise too.
            For a smooth network the two are equal at any noise strength (Stein's identity); kinks
            are what H, taken where it exists, does not see.
    """

    pull: float
    curvature: float


def noise_averages(local: LocalLoss, w: Tensor, sigma_eps: float, nodes: int = NODES) -> Averages:
    """Average the pull on w_ni and the local Hessian over Gaussian noise.

    Args:
        local: The network, layer and batch.
        w: The noise injection weights, (features,).
        sigma_eps: Standard deviation of the noise, > 0.
        nodes: Number of noise values, evenly spread over `REACH` standard deviations either way.

    Raises:
        ValueError: If sigma_eps is not positive.
    """
    if sigma_eps <= 0:
        raise ValueError(f"expected sigma_eps > 0, not {sigma_eps}: without noise nothing pulls")
    at = np.linspace(-REACH, REACH, nodes)
    weights = np.exp(-(at**2) / 2)
    pull = curvature = 0.0
    for eps, weight in zip((sigma_eps * at).tolist(), weights / weights.sum(), strict=True):
        g, hw = local.gradient_and_product(w, (eps * w).expand(len(local.x), -1))
        pull += weight * eps * float(w @ g.mean(0))
        curvature += weight * sigma_eps**2 * float(w @ hw.mean(0))
    return Averages(pull, curvature)


def kink_pull(local: LocalLoss, w: Tensor, sigma_eps: float) -> float:
    """Return what the kinks of all ReLU layers behind add to the pull on w_ni, along w_ni.

    `nin.onestep.kinks` with the layers that follow: a unit of a later layer is shifted by eps
    times the derivative of its pre-activation along w_ni. To leading order in the noise.

    Args:
        local: From `local_loss` of a network with ReLU; anything else has no kinks that we know.
        w: The noise injection weights, (features,), none of them 0.
        sigma_eps: Standard deviation of the Gaussian noise, > 0.

    Returns:
        w_ni times the mean gradient by w_ni that is due to kinks.
    """
    tail = local.model
    if not isinstance(tail, Tail) or tail.activation != "relu":
        return 0.0
    z, u = local.x, w.expand_as(local.x)
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    with torch.enable_grad():
        for layer in tail.layers:
            assert isinstance(layer, nn.Linear)  # an MLP has no others
            h = torch.relu(z) if kept else torch.relu(z).requires_grad_()
            kept.append((z.detach(), u, h))
            z, u = layer(h), F.linear(u * (z.detach() > 0), layer.weight.detach())
        if not kept:
            return 0.0
        outgoing = torch.autograd.grad(local.loss(z, local.y).sum(), [h for *_, h in kept])
    pulls = [
        kink_gradient(z, out * u, u, sigma_eps).sum()
        for (z, u, _), out in zip(kept, outgoing, strict=True)
    ]
    return float(sum(pulls))


def step_rates(
    local: LocalLoss, w: Tensor, eps: Tensor, sigma_eps: float, eta: float
) -> dict[str, float]:
    """Say how much of ln|w_ni| one SGD step takes off, by Eq. (2) to second order in the step.

    Args:
        local: The network, layer and batch.
        w: The noise injection weights, (features,).
        eps: The noise of this step, (batch,): Gaussian.
        sigma_eps: Its standard deviation.
        eta: Learning rate.

    Returns:
        By name: ``"curvature"``, eta sigma_eps^2 w^T<H>w / |w|^2, Eq. (2) with its factor
        corrected; ``"kinks"``, what the kinks of a ReLU layer of an `MLP` add (0 elsewhere);
        ``"kick"``, what the noise as drawn adds to first order, of mean 0; ``"bend"``, what the
        logarithm adds to second order: the mean contribution of the random walk, of the
        fluctuation that footnote 2 neglects, and of a finite step.
    """
    size = float(w.norm())
    unit = w / size
    g, hw = local.gradient_and_product(w, torch.zeros(len(local.x), len(w)).to(w))
    drift = eta * sigma_eps**2 / size * hw.mean(0)
    along = float(unit @ drift)
    scatter = [  # of the odd and of the even part of the noise, across w less along it
        factor * float((v.square().sum(1) - 2 * (v @ unit).square()).mean())
        for factor, v in ((sigma_eps**2, g), (2 * sigma_eps**4, hw))
    ]
    noise = (eta / size) ** 2 / len(local.x) * sum(scatter)
    return {
        "curvature": along,
        "kinks": eta * kink_pull(local, w, sigma_eps) / size**2,
        "kick": eta / size * float((eps * (g @ unit)).mean()),
        "bend": along**2 - float(drift.square().sum()) / 2 - noise / 2,
    }
