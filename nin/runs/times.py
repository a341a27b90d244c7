"""How long a decay takes, without assuming an exponential; how that depends on the noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nin.runs.averages import Array, checked_records, course, running_median
from nin.runs.history import History

FALLS = {"w_ni": 0.5, "train_loss": np.exp(-1), "val_loss": np.exp(-1)}
"""To which share of its start each quantity must fall: w_ni to the half that the rule of the phases
asks for, since it settles on a floor above 1/e of its start at some strengths."""
RISE = 1.5
"""A decay time has left its plateau when it is longer by this factor."""
_FALL = 0.1  # fraction by which a curve falls while its slope counts as the initial one


class Estimate(NamedTuple):
    """A time measured without a model.

    Attributes:
        value: Mean over runs; infinite if some run never gets there.
        err: Its standard error over runs; NaN for a single run.
        each: The value of each run, (runs,).
    """

    value: float
    err: float
    each: Array


def _estimate(each: Array) -> Estimate:
    if len(each) < 2 or not np.isfinite(each).all():
        return Estimate(float(each.mean()), float("nan"), each)
    return Estimate(float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each))), each)


def _median(values: Array, half: int) -> Array:
    """Return the median of up to `half` records either side, of fewer near the ends."""
    n = values.shape[-1]
    reach = [min(i, n - 1 - i, half) for i in range(n)]
    columns = [np.median(values[:, i - r : i + r + 1], 1) for i, r in enumerate(reach)]
    return np.stack(columns, 1)


def first_crossing(
    t: Array, values: Array, level: float, *, falling: bool = False, log: bool = False
) -> float:
    """Return where a curve first reaches a level, by a straight line between two records.

    Args:
        t: Where the records were taken, (n,), rising.
        values: The records, (n,); they may be infinite.
        level: The level.
        falling: Whether the curve comes from above.
        log: Whether the line is one of the logarithms, where both records are positive.

    Returns:
        The place: the first record's if that is past the level already, infinite if none is.

    >>> first_crossing(np.array([0, 1, 2]), np.array([1, 2, 8]), 4), first_crossing(
    ...     np.array([0, 1, 2]), np.array([1, 2, 8]), 4, log=True
    ... )
    (1.3333333333333333, 1.5)
    """
    past = np.flatnonzero(values <= level if falling else values >= level)
    if not len(past):
        return float("inf")
    if (i := int(past[0])) == 0:
        return float(t[0])
    low, high = values[i - 1], values[i]
    if log and min(low, high) > 0:
        low, high, level = np.log(low), np.log(high), np.log(level)
    share = (level - low) / (high - low) if high != low else 1.0
    return float(t[i - 1] + share * (t[i] - t[i - 1]))


def time_to(t: Any, values: Any, fraction: float = np.exp(-1), *, smooth: int = 1) -> Estimate:
    """Measure when each run first falls to a fraction of its first record.

    Args:
        t: Times of the records, (n,), rising.
        values: The records, (runs, n) or (n,), the first of each run > 0.
        fraction: Of the first record, in (0, 1); by default 1/e.
        smooth: Records of which the running median is taken first, fewer towards the ends; 1 for
            none. Noise makes a first crossing early.

    Returns:
        Times since the first record, linear between records in the logarithm of the values where
        both are positive; infinite for a run that never falls so low.

    Raises:
        ValueError: If the input does not fit, or a run does not start above 0.

    >>> time_to([0, 1, 2], [1, 0.5, 0.25], fraction=0.5).value
    1.0
    """
    t, values = checked_records(t, values)
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must lie between 0 and 1, not {fraction}")
    if not (values[:, 0] > 0).all():
        raise ValueError(
            "each run must start above 0 for a fraction of its start to mean something"
        )
    if smooth < 1 or smooth != int(smooth):
        raise ValueError(f"smooth must be a whole number >= 1, not {smooth}")
    curves = _median(values, int(smooth) // 2) / values[:, :1]
    each = [first_crossing(t, curve, fraction, falling=True, log=True) - t[0] for curve in curves]
    return _estimate(np.array(each))


def initial_time(t: Any, values: Any) -> Estimate:
    """Measure -1 over the initial slope of each run's logarithm.

    The slope is that of a parabola at the first record, fitted by least squares to the logarithm
    of the records up to the first one that has fallen by a tenth, at least 4. It needs no floor and
    no exponential; it is the tau of Sec. 4 of Levi et al. (2022), a rate at t = 0. Noise makes it
    long, and a run may not fall at all by it: with white noise of a hundredth of the start and 30
    records per tau the median is a quarter too long.

    Args:
        t: Times of the records, (n,), rising, at least 4.
        values: The records, (runs, n) or (n,), > 0 in that stretch.

    Returns:
        The times; infinite for a run that does not fall at its start.

    Raises:
        ValueError: If the input does not fit, or a value in the stretch is not > 0.
    """
    t, values = checked_records(t, values, least=4)
    each = np.full(len(values), np.inf)
    for k, curve in enumerate(values):
        low = np.flatnonzero(running_median(curve) <= (1 - _FALL) * curve[0])
        last = max(3, int(low[0])) if len(low) else len(t) - 1
        if not (curve[: last + 1] > 0).all():
            raise ValueError("values must be > 0 where the logarithm's slope is taken")
        since = t[: last + 1] - t[0]
        slope = float(np.polynomial.Polynomial.fit(since, np.log(curve[: last + 1]), 2).deriv()(0))
        each[k] = -1 / slope if slope < 0 else np.inf
    return _estimate(each)


def decay_times(
    histories: Sequence[History], quantity: str, fraction: float | None = None
) -> Array:
    """Return the decay time of each run, without assuming an exponential.

    It is the time to a fall to `fraction`, over ``-ln(fraction)``: of an exponential, tau.

    Args:
        histories: Runs, each with a course of its own.
        quantity: ``"w_ni"``, or a loss; see `nin.runs.averages.course`.
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
        else time_to(*course([h], quantity), fraction=fraction).each[0]
        for h in histories
    ]
    return np.array(found) / -np.log(fraction)


def local_powers(sigma_eps: Sequence[float], tau: Array) -> Array:
    """Return the power of sigma_eps with which decay times change from strength to strength.

    One power for all would be a power law.

    Args:
        sigma_eps: Noise strengths, (n,), rising.
        tau: Decay times, (n, seeds).

    Returns:
        The powers, (n - 1, seeds); NaN where a time is not finite.

    Raises:
        ValueError: If strengths do not rise, or a time is not positive.
    """
    sigma, tau = _checked_times(sigma_eps, tau)
    logs = np.log(np.where(np.isfinite(tau), tau, np.nan))
    return np.asarray(np.diff(logs, axis=0) / np.diff(np.log(sigma))[:, None])


def plateau_end(sigma_eps: Sequence[float], tau: Array) -> Array:
    """Return where decay times leave the plateau of weak noise, seed by seed.

    That is where they first reach `RISE` times those at the weakest noise, by straight lines in
    the logarithms.

    Args:
        sigma_eps: Noise strengths, (n,), rising.
        tau: Decay times, (n, seeds); infinite ones count as above.

    Returns:
        sigma_eps, (seeds,): infinite for a seed whose times never do so, or whose first is.

    Raises:
        ValueError: If strengths do not rise, or a time is not positive.
    """
    sigma, tau = _checked_times(sigma_eps, tau)
    x = np.log(sigma)
    ends = [
        first_crossing(x, times / times[0], RISE, log=True) if np.isfinite(times[0]) else np.inf
        for times in tau.T
    ]
    return np.exp(ends)


def _checked_times(sigma_eps: Sequence[float], tau: Array) -> tuple[Array, Array]:
    sigma, tau = np.asarray(sigma_eps, float), np.asarray(tau, float)
    if tau.ndim != 2 or sigma.shape != tau.shape[:1]:
        raise ValueError(
            f"expected n noise strengths and times (n, seeds), not {sigma.shape} and {tau.shape}"
        )
    if not ((sigma > 0).all() and (np.diff(sigma) > 0).all() and (tau > 0).all()):
        raise ValueError("noise strengths must be positive and rise, and times be positive")
    return sigma, tau
