"""One step of w_ni, measured: how it compares with the drift and the kick of Eq. (2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nin.curvature import LocalLoss
from nin.models import MLP
from nin.nodes import NOISE_LAWS
from nin.seeds import generator
from nin.theory import symbols as s
from nin.theory.expansion import EQ2
from nin.theory.rates import drift, kink_gradient, mean_order
from nin.theory.statement import Chain

REACH = 7
"""Standard deviations of Gaussian noise that are averaged over; 3e-12 of it lies beyond."""


@dataclass(frozen=True)
class Slope:
    """The measured mean change of w_ni over the predicted one.

    Attributes:
        value: The slope; 1 where the prediction is right.
        err: One standard error, over the noise draws.
        n: Number of independent draws (pairs of them, if antithetic).
    """

    value: float
    err: float
    n: int

    def sigmas_from(self, other: float) -> float:
        """Return how many standard errors lie between the slope and `other`."""
        return abs(self.value - other) / self.err


def niw_gradient(local: LocalLoss, w: Tensor, eps: Tensor) -> Tensor:
    """Return the gradient of the batch loss by w_ni for given noise, (features,).

    Implements the derivative in Eq. (7) of Levi et al. (2022) exactly, to all orders: the batch
    mean of eps_i times the local gradient at z_i + eps_i w_ni.

    Args:
        local: The network, layer and batch.
        w: The noise injection weights, (features,).
        eps: One value for each sample, (batch,), or one for all, ().
    """
    eps = eps.expand(len(local.x)).unsqueeze(-1).to(w)
    return (eps * local.gradient(eps * w)).mean(0)


def sampled_gradients(
    local: LocalLoss,
    w: Tensor,
    sigma_eps: float,
    draws: int,
    *,
    noise: str = "gaussian",
    antithetic: bool = True,
    seed: int = 0,
) -> Tensor:
    """Return the gradient by w_ni for independent draws of the batch's noise, (draws, features).

    Args:
        local: The network, layer and batch.
        w: The noise injection weights, (features,).
        sigma_eps: Standard deviation of the noise, > 0.
        draws: Number of independent draws.
        noise: Law of the noise, a key of `nin.nodes.NOISE_LAWS`.
        antithetic: Average each draw with its mirror image -eps. The kick, odd in eps, cancels
            exactly and the drift, even in eps, stays.
        seed: Of the noise.

    Raises:
        ValueError: If a number is out of range.
    """
    if sigma_eps <= 0 or draws < 1:
        raise ValueError(f"expected sigma_eps > 0 and draws >= 1, not {sigma_eps} and {draws}")
    g = generator(seed, "onestep", noise)
    found = []
    for _ in range(draws):
        eps = NOISE_LAWS[noise](len(local.x), g) * sigma_eps
        one = niw_gradient(local, w, eps)
        found.append((one + niw_gradient(local, w, -eps)) / 2 if antithetic else one)
    return torch.stack(found)


def fluctuations(
    local: LocalLoss, w: Tensor, sigma_eps: float, draws: int, seed: int = 0
) -> tuple[float, float]:
    """Return the sizes of the odd and of the even fluctuation of the gradient by w_ni.

    For weak noise the odd one is the kick of Eq. (2), and the even one is what footnote 2
    neglects. The split itself holds for noise of any strength.

    Args:
        local: The network, layer and batch.
        w: The noise injection weights, (features,).
        sigma_eps: Standard deviation of the Gaussian noise, > 0.
        draws: Number of independent draws of the batch's noise, >= 2.
        seed: Of the noise.

    Returns:
        Root mean square lengths, about the mean, of the odd and the even part in eps.
    """
    g = generator(seed, "onestep", "fluctuations")
    odd, even = [], []
    for _ in range(draws):
        eps = NOISE_LAWS["gaussian"](len(local.x), g) * sigma_eps
        plus, minus = niw_gradient(local, w, eps), niw_gradient(local, w, -eps)
        odd.append((plus - minus) / 2)
        even.append((plus + minus) / 2)
    sizes = [float(torch.stack(part).var(0).sum().sqrt()) for part in (odd, even)]
    return sizes[0], sizes[1]


def mean_gradient(local: LocalLoss, w: Tensor, sigma_eps: float, nodes: int = 48) -> Tensor:
    """Return the gradient by w_ni averaged over Gaussian noise, (features,), without sampling.

    Each sample has one noise value of its own, so the average is a one-dimensional integral, done
    by the trapezoidal rule: to rounding for a smooth network. A unit whose kink lies between two
    nodes is off by up to their distance, so ReLU networks need several hundred nodes.

    Args:
        local: The network, layer and batch.
        w: The noise injection weights, (features,).
        sigma_eps: Standard deviation of the noise, > 0.
        nodes: Number of noise values, evenly spread over `REACH` standard deviations either way.
    """
    at = np.linspace(-REACH, REACH, nodes)
    weights = np.exp(-(at**2) / 2)
    total = torch.zeros_like(w)
    for node, weight in zip(at, weights / weights.sum(), strict=True):
        total += weight * niw_gradient(local, w, torch.tensor(sigma_eps * node).to(w))
    return total


def predicted_gradient(
    local: LocalLoss, w: Tensor, sigma_eps: float, form: Chain | None = None
) -> Tensor:
    """Return the gradient that Eq. (2) predicts after averaging over the noise, (features,).

    Corrects Eq. (2) of Levi et al. (2022): the factor of the curvature term.

    Args:
        local: The network, layer and batch.
        w: The noise injection weights, (features,).
        sigma_eps: Standard deviation of the noise.
        form: The form of Eq. (2); default the corrected one.
    """
    chosen = EQ2.corrected if form is None else form
    return -drift(chosen, 1.0, sigma_eps, local.mean_product(w))


def next_order(local: LocalLoss, w: Tensor, sigma_eps: float) -> Tensor:
    """Return the first term that Eq. (2) leaves out on average, (features,): the fourth order.

    Args:
        local: A smooth network, the layer and the batch.
        w: The noise injection weights, (features,).
        sigma_eps: Standard deviation of the Gaussian noise.
    """
    factor = float(mean_order(4).subs(s.sigma_eps, sigma_eps))
    return factor * local.directional_gradient(w, 3).mean(0)


def kinks(local: LocalLoss, w: Tensor, sigma_eps: float) -> Tensor:
    """Return what the kinks of a ReLU layer add to the predicted gradient, (features,).

    Args:
        local: A ReLU `MLP`, one of its hidden layers, and the batch.
        w: The noise injection weights, (features,), none of them 0.
        sigma_eps: Standard deviation of the Gaussian noise, > 0.

    Raises:
        ValueError: If the network is no ReLU `MLP`, or the layer has no activation behind it.
    """
    model = local.model
    if not isinstance(model, MLP) or model.activation != "relu":
        raise ValueError("kinks are known for an MLP with activation='relu' only")
    following = model.layers[int(local.layer.split(".")[1]) + 1 :]
    if not len(following):
        raise ValueError(f"{local.layer} is the last layer: no activation follows it")
    z = local.pre_activations()
    hidden = torch.relu(z).requires_grad_()
    with torch.enable_grad():
        out = following[0](hidden)
        for layer in following[1:]:
            out = layer(torch.relu(out))
        (outgoing,) = torch.autograd.grad(local.loss(out, local.y).sum(), hidden)
    return kink_gradient(z, outgoing, w, sigma_eps)


def missed_part(measured: Tensor, predicted: Tensor) -> float:
    """Return the length of what a prediction misses, relative to its own length."""
    return float((measured - predicted).norm() / predicted.norm())


def slope(gradients: Tensor, predicted: Tensor) -> Slope:
    """Return the slope of measured on predicted gradients, with its error.

    Args:
        gradients: Independent measurements, (draws, features), at least two.
        predicted: The prediction, (features,).

    Raises:
        ValueError: If there are fewer than two draws.
    """
    if len(gradients) < 2:
        raise ValueError(f"an error needs at least 2 draws, not {len(gradients)}")
    each = gradients.double() @ predicted.double() / predicted.double().square().sum()
    return Slope(float(each.mean()), float(each.std() / len(each) ** 0.5), len(each))
