"""One step of w_ni, measured: how it compares with the drift and the kick of Eq. (2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nin.curvature.local import LocalLoss
from nin.networks.attachment import NOISE_LAWS
from nin.networks.seeds import generator

NODES = 48
"""Noise values of an average over Gaussian noise."""
REACH = 7
"""Standard deviations that they span either way; 3e-12 of the noise lies beyond."""
NEAR_REACH = 5
"""The same for `noise_averages`, which looks closer at kinks; 6e-7 of the noise lies beyond."""


def niw_gradient(local: LocalLoss, w: Tensor, eps: Tensor) -> Tensor:
    """Return the gradient of the batch loss by w_ni for given noise, (features,).

    Implements the derivative in Eq. (7) of Levi et al. (2022) exactly, to all orders: the batch
    mean of eps_i times the local gradient at z_i + eps_i w_ni.

    Args:
        local: The network, layer and batch.
        w: The noise injection weights, (features,).
        eps: One value for each sample, (batch,), or one for all, ().
    """
    eps = eps.expand(len(local.y)).unsqueeze(-1).to(w)
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
        noise: Law of the noise, a key of `nin.networks.attachment.NOISE_LAWS`.
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
        eps = NOISE_LAWS[noise](len(local.y), g) * sigma_eps
        one = niw_gradient(local, w, eps)
        found.append((one + niw_gradient(local, w, -eps)) / 2 if antithetic else one)
    return torch.stack(found)


def fluctuations(local: LocalLoss, w: Tensor, sigma_eps: float, draws: int) -> tuple[float, float]:
    """Return the sizes of the odd and of the even fluctuation of the gradient by w_ni.

    For weak noise the odd one is the kick of Eq. (2), and the even one is what footnote 2
    neglects. The split itself holds for noise of any strength.

    Args:
        local: The network, layer and batch.
        w: The noise injection weights, (features,).
        sigma_eps: Standard deviation of the Gaussian noise, > 0.
        draws: Number of independent draws of the batch's noise, >= 2.

    Returns:
        Root mean square lengths, about the mean, of the odd and the even part in eps.
    """
    g = generator(0, "onestep", "fluctuations")
    odd, even = [], []
    for _ in range(draws):
        eps = NOISE_LAWS["gaussian"](len(local.y), g) * sigma_eps
        plus, minus = niw_gradient(local, w, eps), niw_gradient(local, w, -eps)
        odd.append((plus - minus) / 2)
        even.append((plus + minus) / 2)
    sizes = [float(torch.stack(part).var(0).sum().sqrt()) for part in (odd, even)]
    return sizes[0], sizes[1]


def gaussian_rule(sigma_eps: float, nodes: int, reach: float) -> list[tuple[float, float]]:
    """Return noise values and the weight of each in an average over Gaussian noise.

    Each sample has one noise value of its own, so such an average is a one-dimensional integral,
    done by the trapezoidal rule: to rounding for a smooth network. A unit whose kink lies between
    two nodes is off by up to their distance, so ReLU networks need several hundred nodes.

    Args:
        sigma_eps: Standard deviation of the noise.
        nodes: Number of noise values.
        reach: How many standard deviations they span either way, evenly.

    >>> round(sum(weight * eps**2 for eps, weight in gaussian_rule(3.0, nodes=48, reach=7)), 6)
    9.0
    """
    at = np.linspace(-reach, reach, nodes)
    weights = np.exp(-(at**2) / 2)
    return list(zip((sigma_eps * at).tolist(), (weights / weights.sum()).tolist(), strict=True))


def mean_gradient(local: LocalLoss, w: Tensor, sigma_eps: float, nodes: int = NODES) -> Tensor:
    """Return the gradient by w_ni averaged over Gaussian noise, (features,), without sampling.

    Args:
        local: The network, layer and batch.
        w: The noise injection weights, (features,).
        sigma_eps: Standard deviation of the noise, > 0.
        nodes: Number of noise values, evenly spread over `REACH` standard deviations either way.
    """
    total = torch.zeros_like(w)
    for eps, weight in gaussian_rule(sigma_eps, nodes, REACH):
        total += weight * niw_gradient(local, w, w.new_tensor(eps))
    return total


@dataclass(frozen=True)
class Averages:
    """The pull on w_ni averaged over Gaussian noise, without sampling, along w_ni itself.

    Attributes:
        pull: w_ni times the mean gradient of the batch loss by w_ni.
        curvature: sigma_eps^2 w_ni^T <H> w_ni with each sample's H averaged over its noise too.
            For a smooth network the two are equal at any noise strength (Stein's identity), and
            only for Gaussian noise: for another law H must be averaged over the law that is
            biased towards zero, such as the uniform one for two values +-sigma_eps (Goldstein and
            Reinert, 1997). Kinks are what H, taken where it exists, does not see.
    """

    pull: float
    curvature: float


def noise_averages(local: LocalLoss, w: Tensor, sigma_eps: float, nodes: int = NODES) -> Averages:
    """Average the pull on w_ni and the local Hessian over Gaussian noise.

    Args:
        local: The network, layer and batch.
        w: The noise injection weights, (features,).
        sigma_eps: Standard deviation of the noise, > 0.
        nodes: Number of noise values, evenly spread over `NEAR_REACH` standard deviations.

    Raises:
        ValueError: If sigma_eps is not positive.
    """
    if sigma_eps <= 0:
        raise ValueError(f"expected sigma_eps > 0, not {sigma_eps}: without noise nothing pulls")
    pull = curvature = 0.0
    for eps, weight in gaussian_rule(sigma_eps, nodes, NEAR_REACH):
        g, hw = local.gradient_and_product(w, (eps * w).expand(len(local.y), -1))
        pull += weight * eps * float(w @ g.mean(0))
        curvature += weight * sigma_eps**2 * float(w @ hw.mean(0))
    return Averages(pull, curvature)
