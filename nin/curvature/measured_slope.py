"""Measured over predicted: slopes, ratios of sums, and their errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor


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
    along = (gradients.double() @ predicted.double()).cpu().numpy()
    return ratio(along, np.full_like(along, float(predicted.double().square().sum())))


def ratio(measured: np.ndarray, said: np.ndarray) -> Slope:
    """Return the ratio of two sums over independent pairs, with its error.

    Args:
        measured: (n,), n >= 2.
        said: (n,); if all are 0, as in a network whose units are all dead, the ratio is NaN.
    """
    n, total = len(said), float(said.sum())
    if not np.any(said):
        return Slope(float("nan"), float("nan"), n)
    value = float(measured.sum()) / total
    left = measured - value * said
    return Slope(value, float(np.sqrt(n / (n - 1) * np.square(left).sum()) / abs(total)), n)


def is_resolved(s: Slope) -> bool:
    """Tell whether a slope is known to better than 1: not where next to nothing is predicted."""
    return bool(s.err < 1)


def over(measured: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Return measured over predicted rates, elementwise; NaN where nothing is predicted."""
    measured, said = np.broadcast_arrays(measured, said)
    return np.divide(measured, said, out=np.full(said.shape, np.nan), where=said != 0)
