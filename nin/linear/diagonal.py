"""Diagonal linear networks with several nodes, by exact SGD; `nin.theory.separation` has why."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

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
        seed: Of the batches.

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
    g, wired = np.random.default_rng(seed), n != 0
    D, J = n.shape[1:]
    k, j = np.nonzero(wired.any(0))  # connections, C of them, in a row of weights n
    n, wired = n[:, k, j], wired[:, k, j]
    of_coordinate, of_node = np.equal.outer(k, range(D)) * 1.0, np.equal.outer(j, range(J)) * 1.0
    scale = np.repeat([sigma_x, sigma_eps], [D, J + m.shape[1]])

    def sizes() -> Array:
        """Return |n|, |v| and the mean noisy loss of each coordinate by itself, (3, runs, D)."""
        noise = np.sqrt((n * n) @ of_coordinate)
        return np.array(
            [noise, abs(v), ((sigma_x * (v * u - M)) ** 2 + (sigma_eps * v * noise) ** 2) / 2]
        )

    start = peaks = end = sizes()
    diverged = np.zeros(len(v), bool)
    for _ in range(steps):
        q = scale * np.concatenate([v * u - M, (v[:, k] * n) @ of_node, m], 1)
        c = scale * _residual_times_inputs(q, batch_size, g)
        by_x, by_eps, by_out = c[:, :D], c[:, D + j], c[:, D + J :]
        step = eta * ~diverged[:, None]
        new = (
            v - step * (u * by_x + (n * by_eps) @ of_coordinate),
            u - step * (v * by_x),
            n - step * (wired * v[:, k] * by_eps),
            m - step * by_out,
        )
        if max(abs(w).max(initial=0) for w in new) <= LARGEST:
            v, u, n, m = new
        else:  # rare, and takes a fifth of a step
            largest = np.max([abs(w).max(1, initial=0) for w in new], 0)
            diverged = diverged | (largest > LARGEST)
            lost = diverged[:, None]
            v, u, n, m = (np.where(lost, old, w) for old, w in zip((v, u, n, m), new, strict=True))
        end = sizes()
        peaks = np.maximum(peaks, end)
    whole = np.zeros((len(v), D, J))
    whole[:, k, j] = n
    return DiagonalRuns(v, u, whole, m, start, peaks, end, diverged)


def _residual_times_inputs(q: Array, batch_size: int, g: np.random.Generator) -> Array:
    """Draw ``<(q.z) z>`` over a batch of standard normal vectors z, (runs, P) like q."""
    length = np.linalg.norm(q, axis=1, keepdims=True)
    along = np.divide(q, length, out=np.zeros_like(q), where=length > 0)
    square = g.chisquare(batch_size, (len(q), 1)) / batch_size  # of the residual, over its mean
    other = g.standard_normal(q.shape)
    other -= (other * along).sum(1, keepdims=True) * along
    return np.asarray(length * (square * along + np.sqrt(square / batch_size) * other))
