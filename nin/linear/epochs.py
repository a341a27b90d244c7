"""The linear model on a finite data set: noise that each sample keeps, or draws anew each epoch."""

from __future__ import annotations

from typing import Any

import numpy as np

from nin.linear.model import check_arguments, step

Array = np.ndarray


def simulate_epochs(
    *,
    w1: float,
    u: float,
    w0: float,
    sigma_eps: float,
    eta: float,
    batch_size: int,
    samples: int,
    epochs: int,
    runs: int,
    fixed: bool,
    learn_data: bool = True,
) -> Array:
    """Train on `samples` pairs (x, x), x standard normal, in a new order each epoch.

    Args:
        w1: Initial weight of the second layer.
        u: Initial noise weight w_NI.
        w0: Initial weight of the first layer.
        sigma_eps: Standard deviation of the noise.
        eta: Learning rate.
        batch_size: Samples per batch, a divisor of `samples`.
        samples: Size of the data set.
        epochs: Number of passes over it.
        runs: Independent data sets.
        fixed: Whether each sample keeps its eps; else it draws a new one each epoch.
        learn_data: Whether w1 and w0 move; if not, the local gradient keeps its size.

    Returns:
        w_NI after each epoch, from the start on, (epochs + 1, runs).

    Raises:
        ValueError: If an argument is out of range.
    """
    given: dict[str, Any] = {"w1": w1, "u": u, "w0": w0, "sigma_eps": sigma_eps, "eta": eta}
    check_arguments({**given, "batch_size": batch_size})
    if samples < batch_size or samples % batch_size:
        raise ValueError(f"batch_size must divide samples = {samples}, not {batch_size}")
    if epochs < 0 or runs < 1:
        raise ValueError(f"expected epochs >= 0 and runs >= 1, not {epochs} and {runs}")
    g = np.random.default_rng(0)
    x = g.standard_normal((runs, samples))
    eps = sigma_eps * g.standard_normal((runs, samples))
    weights = tuple(np.full(runs, w) for w in (w1, u, w0))
    course = [weights[1]]
    for _ in range(epochs):
        if not fixed:
            eps = sigma_eps * g.standard_normal((runs, samples))
        order = g.permuted(np.tile(np.arange(samples), (runs, 1)), axis=1)
        order = order.reshape(runs, -1, batch_size)
        for k in range(order.shape[1]):
            bx, be = (np.take_along_axis(v, order[:, k], axis=1) for v in (x, eps))
            moments = ((p * q).mean(1) for p, q in ((bx, bx), (bx, be), (be, be)))
            moved = step(*weights, 1.0, eta, *moments)
            weights = moved if learn_data else (weights[0], moved[1], weights[2])
        course.append(weights[1])
    return np.stack(course)
