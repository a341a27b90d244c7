"""Least squares for a decay, and regression under noise that forgets exponentially.

The ground of `nin.runs.decay_fit`: curves, noise models and what they leave unexplained.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import optimize

from nin.runs.averages import Array

_LEAST = 6  # records of a fit
_RATIOS = (100.0, 1.0, 0.3, 0.1, 0.03, 0.0)  # of constant to proportional noise at the curve's top
_DARK = 0.01  # of the top: no record is more exact than that, relative to the others
_TINY = 1e-6  # relative size below which a residual is rounding, not noise


class _Model:
    """Least squares for a decay whose only non-linear number is its rate.

    The curve is ``start - slope phi(t)``, with ``phi = (1 - exp(-rate t)) / rate``, which goes
    through rate 0 without a jump; without a floor it is ``start exp(-rate t)``.
    """

    def __init__(self, t: Array, floor: bool) -> None:
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
        return self.basis(rate) @ linear

    def jacobian(self, rate: float, linear: Array) -> Array:
        """Return the derivatives of the curve by (linear..., rate), (n, n_linear + 1)."""
        h = 1e-5 / self.t[-1]
        by_rate = (self.curve(rate + h, linear) - self.curve(rate - h, linear)) / (2 * h)
        return np.column_stack([self.basis(rate), by_rate])

    def fit(self, y: Array, whiten: Any) -> tuple[float, Array, float]:
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


def _noise(curve: Array, squares: Array) -> Array:
    """Return the standard deviation of the noise along a curve, from squared deviations.

    Part of the noise may be constant and part proportional to the curve:
    sigma^2 = a^2 + b^2 curve^2, fitted with non-negative a^2 and b^2.
    """
    scale = np.abs(curve).max() or 1.0
    least = (_TINY * max(scale, np.finfo(float).tiny)) ** 2
    terms = np.column_stack([np.ones_like(curve), (curve / scale) ** 2])
    variance = np.full_like(curve, squares.mean() + least)
    for _ in range(4):  # the error of a square is proportional to its mean
        parts, _ = optimize.nnls(terms / variance[:, None], squares / variance)
        variance = np.maximum(terms @ parts, 1e-4 * squares.mean() + least)
    return np.sqrt(variance)


def _mixed(curve: Array, ratio: float) -> Array:
    """Return the relative size of noise with a constant part, `ratio` of that along the curve."""
    height = np.abs(curve) / (np.abs(curve).max() or 1.0)
    return np.asarray(np.sqrt(ratio**2 + height**2 + _DARK**2) / max(1.0, ratio))


def _scaled(sigma: Array) -> Any:
    """Return the operation that divides records, (n,) or (..., n, columns), by sigma."""
    return lambda a: a / (sigma if a.ndim == 1 else sigma[:, None])


def _forgetful(t: Array, sigma: Array, memory: float) -> Any:
    """Return the operation that makes noise with an exponential memory white, of variance 1."""
    keep = _correlation(t, memory)
    size = np.sqrt(1 - keep**2)

    def whiten(a: Array) -> Array:
        if a.ndim == 1:
            return whiten(a[:, None])[:, 0]
        z = a / sigma[:, None]
        fresh = (z[..., 1:, :] - keep[:, None] * z[..., :-1, :]) / size[:, None]
        return np.concatenate([z[..., :1, :], fresh], -2)

    return whiten


class _Regression(NamedTuple):
    """A linear regression under noise that forgets exponentially."""

    beta: Array
    cov: Array
    variance: float  # of the noise, in units of sigma^2
    dof: float
    whiten: Any
    memory: float
    deviance: float  # -2 log likelihood


def _correlation(t: Array, memory: float) -> Array:
    """Return the correlation of each record with the one before it, (n - 1,)."""
    return np.exp(-np.diff(t) / memory) if memory > 0 else np.zeros(len(t) - 1)


def _regress(t: Array, y: Array, columns: Array, sigma: Array) -> _Regression:
    """Regress y, (n,) or (n, runs), on columns; the memory of the noise is fitted too (REML)."""
    n, p = columns.shape

    def solve(memory: float) -> tuple[float, _Regression]:
        whiten = _forgetful(t, sigma, memory)
        z = whiten(y[:, None] if y.ndim == 1 else y)
        q, r = np.linalg.qr(whiten(columns))
        ridge = 1e-12 * np.abs(r).max()  # of a flat curve the rate has no effect
        r = r + np.diag(np.where(np.abs(np.diag(r)) < ridge, ridge, 0))
        beta = np.linalg.solve(r, q.T @ z)
        left = max(float(((z - q @ (q.T @ z)) ** 2).sum()) / z.shape[1], n * _TINY**2)
        size = np.log1p(-(_correlation(t, memory) ** 2)).sum()
        unlikely = (n - p) * np.log(left) + size + 2 * np.log(np.abs(np.diag(r))).sum()
        inverse = np.linalg.inv(r)
        keep, variance = _correlation(t, memory), left / (n - p)
        return float(unlikely), _Regression(
            beta=beta[:, 0],
            cov=variance * inverse @ inverse.T,
            variance=variance,
            dof=max(1.0, 1 + float(((1 - keep) / (1 + keep)).sum()) - p),
            whiten=whiten,
            memory=memory,
            deviance=float(n * np.log(left / n) + size + 2 * np.log(sigma).sum()),
        )

    memories = np.concatenate([[0.0], np.geomspace(np.diff(t).min() / 3, 2 * t[-1], 25)])
    tried = [solve(memory)[0] for memory in memories]
    best = int(np.argmin(tried))
    memory = memories[best]
    if best:
        ends = np.log([memories[max(best - 1, 1)], memories[min(best + 1, 25)]])
        found = optimize.minimize_scalar(
            lambda log: solve(np.exp(log))[0], bounds=ends, method="bounded"
        )
        memory = float(np.exp(found.x)) if found.fun < tried[best] else memory
    return solve(memory)[1]


def _floor_of(rate: float, linear: Array) -> float:
    if len(linear) == 1:
        return 0.0
    return float(linear[0] - linear[1] / rate) if rate else -float("inf")


def _rest(columns: Array, y: Array) -> Array:
    """Return what of y, (n, k), the columns, (n, p), cannot follow."""
    q = np.linalg.qr(columns)[0]
    return y - q @ (q.T @ y)


def _bend(t: Array, rate: float, curve: Array) -> Array:
    """Return how exp(-(rate t)^beta) changes with beta at 1: the mark of another shape."""
    x = np.maximum(abs(rate) * t, np.finfo(float).tiny)
    return x * np.log(x) * np.exp(-x) * np.abs(curve).max()
