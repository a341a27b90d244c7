"""A fixed NIN in the linear model: one more feature of a linear regression, made of noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Array = np.ndarray


class NoiseFit(NamedTuple):
    """What least squares make of the noise that each sample keeps, in units of what is predicted.

    Attributes:
        weight: w1 w_NI over s / (sigma_eps sqrt(m)), (sets,).
        worth: Loss with fresh noise minus that with the own, over s^2 / m, (sets,).
    """

    weight: Array
    worth: Array


def least_squares(x: Array, eps: Array, r: Array) -> Array:
    """Return the weights of x and eps that fit r best, (sets, 2).

    Args:
        x: Inputs, (sets, m).
        eps: The noise of each sample, (sets, m).
        r: What is to be fitted, (sets, m).
    """
    xx, xe, ee, xr, er = (
        (a * b).mean(1) for a, b in ((x, x), (x, eps), (eps, eps), (x, r), (eps, r))
    )
    moments, right = np.stack([[xx, xe], [xe, ee]]).T, np.stack([xr, er]).T
    return np.linalg.solve(moments, right[..., None])[..., 0]


def fit_fixed_noise(sets: int, m: int, s: float, sigma_eps: float) -> NoiseFit:
    """Fit labels that the linear model cannot explain with noise that each sample keeps.

    The labels are y = M x + r with r independent of x; what x explains of M x drops out.

    Args:
        sets: Independent sets of samples.
        m: Samples of each, >= 4: with fewer the weight has no variance.
        s: Standard deviation of r, > 0.
        sigma_eps: Standard deviation of the noise, > 0; that of x is 1.

    Raises:
        ValueError: If an argument is out of range.
    """
    if sets < 1 or m < 4 or not (s > 0 and sigma_eps > 0):
        raise ValueError(
            f"expected sets >= 1, m >= 4, s > 0 and sigma_eps > 0, not {sets}, {m}, {s} and "
            f"{sigma_eps}"
        )
    g = np.random.default_rng(0)
    x, eps, fresh, r = (
        size * g.standard_normal((sets, m)) for size in (1, sigma_eps, sigma_eps, s)
    )
    weights = least_squares(x, eps, r)

    def loss(noise: Array) -> Array:
        return ((weights[:, :1] * x + weights[:, 1:] * noise - r) ** 2).mean(1) / 2

    weight = weights[:, 1] * sigma_eps * np.sqrt(m) / s
    return NoiseFit(weight, (loss(fresh) - loss(eps)) * m / s**2)
