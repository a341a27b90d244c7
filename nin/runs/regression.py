"""Linear regression under noise that changes along a curve and forgets exponentially."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import optimize

from nin.runs.averages import Array
from nin.runs.decay_model import Whiten

TINY = 1e-6
"""Relative size below which a residual is rounding, not noise."""
_DARK = 0.01  # of the top: no record is more exact than that, relative to the others


def noise_along(curve: Array, squares: Array) -> Array:
    """Return the standard deviation of the noise along a curve, from squared deviations.

    Part of the noise may be constant and part proportional to the curve:
    sigma^2 = a^2 + b^2 curve^2, fitted with non-negative a^2 and b^2.
    """
    scale = np.abs(curve).max() or 1.0
    least = (TINY * max(scale, np.finfo(float).tiny)) ** 2
    terms = np.column_stack([np.ones_like(curve), (curve / scale) ** 2])
    variance = np.full_like(curve, squares.mean() + least)
    for _ in range(4):  # the error of a square is proportional to its mean
        parts, _ = optimize.nnls(terms / variance[:, None], squares / variance)
        variance = np.maximum(terms @ parts, 1e-4 * squares.mean() + least)
    return np.sqrt(variance)


def mixed_noise(curve: Array, ratio: float) -> Array:
    """Return the relative size of noise with a constant part, `ratio` of that along the curve."""
    height = np.abs(curve) / (np.abs(curve).max() or 1.0)
    return np.asarray(np.sqrt(ratio**2 + height**2 + _DARK**2) / max(1.0, ratio))


def divided_by(sigma: Array) -> Whiten:
    """Return the operation that divides records, (n,) or (..., n, columns), by sigma."""
    return lambda a: a / (sigma if a.ndim == 1 else sigma[:, None])


def _forgetful(keep: Array, sigma: Array) -> Whiten:
    """Return the operation that makes noise white, of variance 1; see `_correlation` for `keep`."""
    size = np.sqrt(1 - keep**2)

    def whiten(a: Array) -> Array:
        if a.ndim == 1:
            return whiten(a[:, None])[..., 0]
        z = a / sigma[:, None]
        white = np.empty((*keep.shape[:-1], *z.shape[-2:]))
        white[..., :1, :] = z[..., :1, :]
        white[..., 1:, :] = (z[..., 1:, :] - keep[..., None] * z[..., :-1, :]) / size[..., None]
        return white

    return whiten


def _correlation(t: Array, memory: Array) -> Array:
    """Return the correlation of each record with the one before it, (*memory.shape, n - 1)."""
    with np.errstate(divide="ignore"):  # a memory of 0 keeps nothing
        return np.exp(-np.diff(t) / memory[..., None])


class Regression(NamedTuple):
    """A linear regression under noise that forgets exponentially.

    Attributes:
        variance: Of the noise, in units of sigma^2.
        dof: How many independent records are left beside the columns.
        whiten: Makes such noise white.
        memory: Of the noise, in the unit of t.
        deviance: -2 log likelihood.
    """

    variance: float
    dof: float
    whiten: Whiten
    memory: float
    deviance: float


def regress(t: Array, y: Array, columns: Array, sigma: Array) -> Regression:
    """Regress y, (n,) or (n, runs), on columns; the memory of the noise is fitted too (REML)."""

    def unlikely(memory: Array) -> Array:
        return _with_memory(t, y, columns, sigma, memory)[0]

    memories = np.concatenate([[0.0], np.geomspace(np.diff(t).min() / 3, 2 * t[-1], 25)])
    tried = unlikely(memories)
    best = int(np.argmin(tried))
    memory = memories[best]
    if best:
        ends = np.log([memories[max(best - 1, 1)], memories[min(best + 1, 25)]])
        found = optimize.minimize_scalar(
            lambda log: float(unlikely(np.exp(log))), bounds=ends, method="bounded"
        )
        memory = np.exp(found.x) if found.fun < tried[best] else memory
    return regress_with(t, y, columns, sigma, float(memory))


def regress_with(t: Array, y: Array, columns: Array, sigma: Array, memory: float) -> Regression:
    """Regress y, (n,) or (n, runs), on columns, under noise of a known memory."""
    n, p = columns.shape
    _, left, keep = _with_memory(t, y, columns, sigma, np.array(memory))
    size = np.log1p(-(keep**2)).sum()
    return Regression(
        variance=float(left) / (n - p),
        dof=max(1.0, 1 + float(((1 - keep) / (1 + keep)).sum()) - p),
        whiten=_forgetful(keep, sigma),
        memory=memory,
        deviance=float(n * np.log(left / n) + size + 2 * np.log(sigma).sum()),
    )


def _with_memory(
    t: Array, y: Array, columns: Array, sigma: Array, memory: Array
) -> tuple[Array, Array, Array]:
    """Return of each memory: -2 log of its restricted likelihood, the squares left, `keep`."""
    n, p = columns.shape
    keep = _correlation(t, memory)
    whiten = _forgetful(keep, sigma)
    z = whiten(y[:, None] if y.ndim == 1 else y)
    q, r = np.linalg.qr(whiten(columns))
    rest = z - q @ (np.swapaxes(q, -1, -2) @ z)
    left = np.maximum((rest**2).sum((-2, -1)) / z.shape[-1], n * TINY**2)
    ridge = 1e-12 * np.abs(r).max((-2, -1))  # of a flat curve the rate has no effect
    along = np.maximum(np.abs(np.diagonal(r, axis1=-2, axis2=-1)), ridge[..., None])
    size = np.log1p(-(keep**2)).sum(-1)
    return (n - p) * np.log(left) + size + 2 * np.log(along).sum(-1), left, keep


def unexplained(columns: Array, y: Array) -> Array:
    """Return what of y, (n, k), the columns, (n, p), cannot follow."""
    q = np.linalg.qr(columns)[0]
    return y - q @ (q.T @ y)
