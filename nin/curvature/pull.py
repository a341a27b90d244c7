"""One step of w_ni, measured: how it compares with the drift and the kick of Eq. (2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nin.curvature.local import LocalLoss
from nin.networks.nodes import NOISE_LAWS
from nin.networks.seeds import generator

REACH = 7
"""Standard deviations of Gaussian noise that are averaged over; 3e-12 of it lies beyond."""


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
        noise: Law of the noise, a key of `nin.networks.nodes.NOISE_LAWS`.
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


NODES, REACH = 48, 5
"""Noise values of the quadrature, and how many standard deviations they span either way."""


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
