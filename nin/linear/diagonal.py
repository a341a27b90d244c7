"""Diagonal linear networks with several nodes, by exact SGD; `nin.theory.separation` has why."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numba import njit

from nin.linear.batch_draws import chi_squared, normal, streams
from nin.linear.model import LARGEST
from nin.runs.phases import linear_phase_index

Array = np.ndarray


@dataclass(frozen=True)
class DiagonalRuns:
    """Runs of one network each, of D coordinates.

    Attributes:
        v: Last weights behind the nodes, (runs, D).
        u: Last weights of the inputs, (runs, D).
        n: Last weights of the nodes at the first layer, (runs, D, J).
        m: Last weights of the nodes at the outputs, (runs, J').
        start: Of each coordinate at step 0: |n|, |v| and its mean noisy loss, (3, runs, D).
        peaks: The largest of each, (3, runs, D).
        end: The last of each, (3, runs, D).
        diverged: Whether a run was lost; its weights stay at the last before that, (runs,).
    """

    v: Array = field(repr=False)
    u: Array = field(repr=False)
    n: Array = field(repr=False)
    m: Array = field(repr=False)
    start: Array = field(repr=False)
    peaks: Array = field(repr=False)
    end: Array = field(repr=False)
    diverged: Array = field(repr=False)

    def phases(self) -> Array:
        """Return the phase of each coordinate, a position in ``list(Phase)``, (runs, D).

        By the rule of the linear model: a rise of either weight of the noise path counts.
        """
        lost = np.broadcast_to(self.diverged[:, None], self.end.shape[1:])
        return linear_phase_index(self.start, self.peaks, self.end, lost)


def train_diagonal(
    v: Array,
    u: Array,
    n: Array,
    m: Array | None = None,
    *,
    sigma_eps: float,
    eta: float,
    batch_size: int,
    steps: int,
    M: float = 1.0,
    sigma_x: float = 1.0,
    seed: int = 0,
) -> DiagonalRuns:
    """Train diagonal linear networks by SGD on Gaussian inputs and noises.

    Exact for any batch in as many random numbers as there are inputs and nodes: the residual is
    linear in them, ``e = q.z``, so that a batch enters through ``<e z>`` alone. Along q that is a
    chi-square number; across q, given the batch's ``<e^2>``, it is normal. A weight that is exactly
    0 in `n` is no connection, and stays 0.

    Args:
        v: Initial weights behind the nodes, (runs, D).
        u: Initial weights of the inputs, (runs, D).
        n: Initial weights of the nodes at the first layer, (runs, D, J).
        m: Initial weights of the nodes at the outputs, (runs, J'); default: none.
        sigma_eps: Standard deviation of each noise.
        eta: Learning rate.
        batch_size: Samples per batch.
        steps: Of SGD.
        M: Slope to learn in each coordinate.
        sigma_x: Standard deviation of each input.
        seed: Of the batches; run number r has stream r of this seed.

    Raises:
        ValueError: If the shapes do not fit.

    >>> one = np.ones((1, 1))
    >>> weak, strong = (
    ...     train_diagonal(one, one / 10, one[..., None] / 10, sigma_eps=s, eta=0.01, batch_size=10,
    ...                    steps=500)
    ...     for s in (1, 30)
    ... )
    >>> bool(weak.diverged), bool(strong.diverged)
    (False, True)
    """
    v, u, n = (np.array(w, float) for w in (v, u, n))
    m = np.zeros((len(v), 0)) if m is None else np.array(m, float)
    fits = v.ndim == m.ndim == 2 and n.ndim == 3
    if not (fits and u.shape == v.shape == n.shape[:2] and len(m) == len(v)):
        raise ValueError(
            f"expected v and u of shape (runs, D), n (runs, D, J), m (runs, J'), not {v.shape}, "
            f"{u.shape}, {n.shape} and {m.shape}"
        )
    D, J = n.shape[1:]
    k, j = np.nonzero((n != 0).any(0))  # connections, C of them, in a row of weights c
    c = np.ascontiguousarray(n[:, k, j])
    start, peaks, end = np.zeros((3, len(v), 3, D))
    diverged = np.zeros(len(v), bool)
    setting = J, float(M), float(sigma_x), float(sigma_eps), float(eta), int(batch_size), int(steps)
    _run(streams(seed, len(v)), v, u, c, m, k, j, setting, start, peaks, end, diverged)
    whole = np.zeros((len(v), D, J))
    whole[:, k, j] = c
    start, peaks, end = (np.moveaxis(of, 1, 0) for of in (start, peaks, end))
    return DiagonalRuns(v, u, whole, m, start, peaks, end, diverged)


@njit(error_model="numpy", nogil=True)
def _measure(v, u, c, k, setting, end, peaks):  # type: ignore[no-untyped-def]
    """Put |n|, |v| and the mean noisy loss of each coordinate by itself into `end`, (3, D)."""
    _, M, sigma_x, sigma_eps, _, _, _ = setting
    for d in range(len(v)):  # an array's slice takes numba four seconds to compile
        end[0, d] = 0.0
    for i in range(len(c)):
        end[0, k[i]] += c[i] * c[i]
    for d in range(len(v)):
        data, noise = sigma_x * (v[d] * u[d] - M), sigma_eps * sigma_eps * v[d] * v[d] * end[0, d]
        end[0, d], end[1, d], end[2, d] = math.sqrt(end[0, d]), abs(v[d]), (data * data + noise) / 2
        for i in range(3):
            peaks[i, d] = max(peaks[i, d], end[i, d])


@njit(error_model="numpy", nogil=True)
def _run(states, v, u, c, m, k, j, setting, start, peaks, end, diverged):  # type: ignore[no-untyped-def]
    """Train in place, run by run, each until it is lost."""
    J, M, sigma_x, sigma_eps, eta, size, steps = setting
    D, C, P = v.shape[1], len(k), v.shape[1] + J + m.shape[1]
    q, across, new = np.empty(P), np.empty(P), np.empty(2 * D + C + m.shape[1])
    for r in range(len(v)):
        state = states[r]
        _measure(v[r], u[r], c[r], k, setting, start[r], peaks[r])
        _measure(v[r], u[r], c[r], k, setting, end[r], peaks[r])
        for _ in range(steps):
            for p in range(P):
                q[p] = 0.0
            for d in range(D):
                q[d] = sigma_x * (v[r, d] * u[r, d] - M)
            for i in range(C):
                q[D + j[i]] += sigma_eps * v[r, k[i]] * c[r, i]
            for i in range(m.shape[1]):
                q[D + J + i] = sigma_eps * m[r, i]
            square, along = 0.0, 0.0
            for p in range(P):
                state, across[p] = normal(state)
                square += q[p] * q[p]
                along += across[p] * q[p]
            state, chi = chi_squared(state, size)  # the batch's <e^2> over its mean, times |B|
            if square > 0:
                for p in range(P):  # <e z>: a share of q, and what is normal across it
                    other = across[p] - along / square * q[p]
                    q[p] = chi / size * q[p] + math.sqrt(square * chi) / size * other
            for d in range(D):
                by_x = eta * sigma_x * q[d]
                new[d], new[D + d] = v[r, d] - u[r, d] * by_x, u[r, d] - v[r, d] * by_x
            for i in range(C):
                by_eps, connected = eta * sigma_eps * q[D + j[i]], c[r, i] != 0  # in this run
                new[k[i]] -= c[r, i] * by_eps
                new[2 * D + i] = c[r, i] - connected * v[r, k[i]] * by_eps
            for i in range(m.shape[1]):
                new[2 * D + C + i] = m[r, i] - eta * sigma_eps * q[D + J + i]
            for w in new:
                diverged[r] |= not abs(w) <= LARGEST
            if diverged[r]:
                break
            for d in range(D):
                v[r, d], u[r, d] = new[d], new[D + d]
            for i in range(C):
                c[r, i] = new[2 * D + i]
            for i in range(m.shape[1]):
                m[r, i] = new[2 * D + C + i]
            _measure(v[r], u[r], c[r], k, setting, end[r], peaks[r])
