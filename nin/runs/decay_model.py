"""An exponential decay as a model: its curve, its derivatives, and its least squares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import optimize

from nin.runs.averages import Array

Whiten = Callable[[Array], Array]
"""Divides records, (n,) or (..., n, columns), by their noise, so that its variance is 1."""


class DecayModel:
    """Least squares for a decay whose only non-linear number is its rate.

    The curve is ``start - slope phi(t)``, with ``phi = (1 - exp(-rate t)) / rate``, which goes
    through rate 0 without a jump; without a floor it is ``start exp(-rate t)``.
    """

    def __init__(self, t: Array, floor: bool) -> None:
        """Lay out the rates to try for records at the times t, (n,), with a floor or without."""
        self.t, self.floor, self.n_linear = t, floor, 1 + floor
        span, step = t[-1], np.diff(t).min()
        fast = np.geomspace(0.03, max(30.0, 5 * span / step), 120)
        slow = fast[fast < 5]
        self.rates = np.concatenate([-slow[::-1], [0.0], fast]) / span
        self.grid = self.basis(self.rates)

    def basis(self, rate: Any) -> Array:
        """Return the linear part's functions at the given rates, (..., n, n_linear)."""
        rate = np.asarray(rate, float)[..., None]
        falling = np.exp(-rate * self.t)
        if not self.floor:
            return falling[..., None]
        with np.errstate(divide="ignore", invalid="ignore"):
            phi = np.where(rate == 0, self.t, -np.expm1(-rate * self.t) / rate)
        return np.stack([np.ones_like(phi), -phi], -1)

    def curve(self, rate: float, linear: Array) -> Array:
        """Return the curve, (n,)."""
        return self.basis(rate) @ linear

    def jacobian(self, rate: float, linear: Array) -> Array:
        """Return the derivatives of the curve by (linear..., rate), (n, n_linear + 1)."""
        h = 1e-5 / self.t[-1]
        by_rate = (self.curve(rate + h, linear) - self.curve(rate - h, linear)) / (2 * h)
        return np.column_stack([self.basis(rate), by_rate])

    def fit(self, y: Array, whiten: Whiten) -> tuple[float, Array, float]:
        """Return rate, linear part and the sum of squares of the whitened residuals."""
        target = whiten(y)

        def solve(basis: Array) -> tuple[Array, Array]:
            x = whiten(basis)
            gram = np.swapaxes(x, -1, -2) @ x
            right = np.swapaxes(x, -1, -2) @ target[:, None]
            ridge = 1e-14 * np.trace(gram, axis1=-2, axis2=-1)[..., None, None]
            linear = np.linalg.solve(gram + ridge * np.eye(self.n_linear), right)
            return linear[..., 0], ((target[:, None] - x @ linear) ** 2).sum((-2, -1))

        squares = solve(self.grid)[1]
        k = int(np.clip(squares.argmin(), 1, len(squares) - 2))
        best = optimize.minimize_scalar(
            lambda rate: float(solve(self.basis([rate]))[1][0]),
            bounds=(self.rates[k - 1], self.rates[k + 1]),
            method="bounded",
            options={"xatol": 1e-9 * max(abs(self.rates[k]), 1 / self.t[-1])},
        )
        linear, total = solve(self.basis([best.x]))
        return float(best.x), linear[0], float(total[0])


def floor_of(rate: float, linear: Array) -> float:
    """Return the height that a fitted decay ends at: 0 without a floor."""
    if len(linear) == 1:
        return 0.0
    return float(linear[0] - linear[1] / rate) if rate else -float("inf")


def bend(t: Array, rate: float, curve: Array) -> Array:
    """Return how exp(-(rate t)^beta) changes with beta at 1: the mark of another shape."""
    x = np.maximum(abs(rate) * t, np.finfo(float).tiny)
    return x * np.log(x) * np.exp(-x) * np.abs(curve).max()
