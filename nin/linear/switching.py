"""The saturated network on noise alone: weights moved by whichever class leads, and their growth.

Where outputs are large the softmax is 0 or 1, and the step of `nin.linear.noise_net` no longer
depends on the size of the weights, only on which class leads in each half of the noise. What is
left of the dynamics is one number, the growth rate of the weights; the border is where it passes 0.
"""

from __future__ import annotations

import numpy as np

from nin.runs.averages import Array

GONE = 1e-9
"""Far above rounding, and below what any run reaches that grows."""


def growth_rate(
    d_out: int,
    rho: Array | float,
    width: int = 256,
    runs: int = 6,
    steps: int = 800,
    niw_sq: float = 0.3,
    fixed_halves: bool = False,
    seed: int = 0,
) -> Array:
    """Return the mean growth of ln |w_ni| per step, over the second half of the runs.

    Below the border w_ni may shrink to nothing beside output weights that nothing moves any more.

    Args:
        d_out: Classes.
        rho: Strength of a step, `nin.theory.closed_borders.STRENGTH`.
        width: N_w.
        runs: Number of initial weights.
        steps: Length of the runs; the first half is left out.
        niw_sq: Initial |w_ni|^2, with output weights of variance 1/N_w.
        fixed_halves: Whether each neuron stays in the half that it begins in. In the network it
            changes over when its w_ni changes sign.
        seed: Of the initial weights.

    Returns:
        Rates, (runs,); minus infinity where |w_ni| ends below `GONE` of all weights.
    """
    g = np.random.default_rng(seed)
    u = g.standard_normal((runs, width)) * np.sqrt(niw_sq / width)
    W = g.standard_normal((runs, d_out, width)) / np.sqrt(width)
    kick = rho / np.sqrt(1 - 1 / d_out)
    first, scale, middle = u > 0, np.zeros(runs), np.zeros(runs)
    for t in range(steps + 1):
        if t in (steps // 2, steps):
            norm = scale + np.log(np.linalg.norm(u, axis=1) + 1e-300)
            rate, middle = (norm - middle) / max(steps - steps // 2, 1), norm
        W -= W.mean(1, keepdims=True)  # the softmax is blind to it, and rounding would outgrow W
        if not fixed_halves:
            first = u > 0
        u, W = _step(u, W, first, kick)
        size = np.sqrt((u**2).sum(1) + (W**2).sum((1, 2)))
        u, W, scale = u / size[:, None], W / size[:, None, None], scale + np.log(size)
    return np.where(np.linalg.norm(u, axis=1) > GONE, rate, -np.inf)


def _step(u: Array, W: Array, first: Array, kick: Array | float) -> tuple[Array, Array]:
    """Return the next w_ni (runs, N_w) and output weights (runs, d_out, N_w).

    Args:
        u: w_ni.
        W: Output weights.
        first: Which neurons are on where eps > 0, (runs, N_w).
        kick: eta <|eps|> / 2, times the gradient's entries.
    """
    d_out = W.shape[1]
    moved_u, moved_W = np.zeros_like(u), np.zeros_like(W)
    for sign, on in ((1, first), (-1, ~first)):
        h = sign * u * on
        leads = (W @ h[:, :, None])[:, :, 0].argmax(1)
        gradient = kick * (np.eye(d_out)[leads] - 1 / d_out)
        moved_u += sign * on * (gradient[:, None] @ W)[:, 0]
        moved_W += gradient[:, :, None] * h[:, None]
    return u - moved_u, W - moved_W


def border_rho(
    d_out: int, low: float = 0.6, high: float = 1.8, tolerance: float = 0.005, **options: int
) -> float:
    """Return the rho at which the growth rate, the median over initial weights, passes 0.

    Args:
        d_out: Classes.
        low: Smallest to look at.
        high: Largest.
        tolerance: Relative width of the last bracket.
        **options: Of `growth_rate`.

    >>> bool(abs(border_rho(2, width=64, runs=2, steps=200) - np.sqrt(2)) < 0.01)
    True
    """
    while high / low > 1 + tolerance:
        middle = float(np.sqrt(low * high))
        if np.median(growth_rate(d_out, middle, **options)) > 0:  # type: ignore[arg-type]
            high = middle
        else:
            low = middle
    return float(np.sqrt(low * high))
