"""How long |w_ni| and the losses take to decay, against the noise strength: Fig. 1, right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nin.history import History
from nin.timescales import courses, time_to

FALLS = {"w_ni": 0.5, "train_loss": np.exp(-1), "val_loss": np.exp(-1)}
"""To which share of its start each quantity must fall: w_ni to the half that the rule of the phases
asks for, since it settles on a floor above 1/e of its start at some strengths."""
RISE = 1.5
"""A decay time has left its plateau when it is longer by this factor."""


def decay_times(
    histories: Sequence[History], quantity: str, fraction: float | None = None
) -> np.ndarray:
    """Return the decay time of each run, without assuming an exponential.

    It is the time to a fall to `fraction`, over ``-ln(fraction)``: of an exponential, tau.

    Args:
        histories: Runs, each with a course of its own.
        quantity: ``"w_ni"``, or a loss; see `nin.timescales.courses`.
        fraction: Share of the start that is left, in (0, 1); default that of `FALLS`.

    Returns:
        Steps, (runs,); infinite for a run that does not fall so far, or has diverged.

    Raises:
        ValueError: If the fraction is out of range or missing, or a run has no such quantity.
    """
    fraction = FALLS.get(quantity) if fraction is None else fraction
    if fraction is None or not 0 < fraction < 1:
        raise ValueError(f"give {quantity!r} a fraction between 0 and 1, not {fraction}")
    found = [
        np.inf
        if h.diverged_step is not None
        else time_to(*courses([h], quantity), fraction=fraction).each[0]
        for h in histories
    ]
    return np.array(found) / -np.log(fraction)


def power(sigma_eps: Sequence[float], tau: np.ndarray) -> np.ndarray:
    """Return the power of sigma_eps with which decay times change, seed by seed.

    A straight line is fitted to the logarithms by least squares.

    Args:
        sigma_eps: Noise strengths, (n,), at least two, rising.
        tau: Decay times, (n, seeds), finite.

    Returns:
        The powers, (seeds,).

    Raises:
        ValueError: If there are fewer than two strengths, they do not rise, or a time is not finite
            and positive.
    """
    sigma, tau = _checked(sigma_eps, tau)
    if len(sigma) < 2 or not np.isfinite(tau).all():
        raise ValueError(
            f"a power needs two strengths or more and finite times, not {len(sigma)} strengths "
            f"and {np.count_nonzero(~np.isfinite(tau))} times that are not finite"
        )
    return np.asarray(np.polyfit(np.log(sigma), np.log(tau), 1)[0])


def plateau_end(sigma_eps: Sequence[float], tau: np.ndarray, rise: float = RISE) -> np.ndarray:
    """Return where decay times leave the plateau of weak noise, seed by seed.

    That is where they first exceed `rise` times those at the weakest noise, by straight lines in
    the logarithms.

    Args:
        sigma_eps: Noise strengths, (n,), rising.
        tau: Decay times, (n, seeds); infinite ones count as above.
        rise: The factor, > 1.

    Returns:
        sigma_eps, (seeds,): infinite for a seed whose times never exceed it, or whose first is.

    Raises:
        ValueError: If strengths do not rise, a time is not positive, or `rise` is not above 1.
    """
    sigma, tau = _checked(sigma_eps, tau)
    if not rise > 1:
        raise ValueError(f"rise must be above 1, not {rise}")
    x, found = np.log(sigma), []
    for times in tau.T:
        height = np.log(times / times[0]) if np.isfinite(times[0]) else np.full(len(x), np.nan)
        above = np.flatnonzero(height > np.log(rise))
        if not len(above):
            found.append(np.inf)
            continue
        i = int(above[0])
        low, high = height[i - 1], height[i]
        share = 0.0 if np.isinf(high) else (np.log(rise) - low) / (high - low)
        found.append(float(np.exp(x[i - 1] + share * (x[i] - x[i - 1]))))
    return np.array(found)


def _checked(sigma_eps: Sequence[float], tau: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sigma, tau = np.asarray(sigma_eps, float), np.asarray(tau, float)
    if tau.ndim != 2 or sigma.shape != tau.shape[:1]:
        raise ValueError(
            f"expected n noise strengths and times (n, seeds), not {sigma.shape} and {tau.shape}"
        )
    if not ((sigma > 0).all() and (np.diff(sigma) > 0).all() and (tau > 0).all()):
        raise ValueError("noise strengths must be positive and rise, and times be positive")
    return sigma, tau
