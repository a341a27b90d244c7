"""What runs have in common: their courses at common steps, means and errors over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from nin.runs.history import CLEAN_QUANTITIES, History

Array = np.ndarray
_SMOOTH = 5  # records whose median stands for the curve where a window is chosen


def course(histories: Sequence[History], quantity: str) -> tuple[Array, Array]:
    """Return a recorded quantity of several runs at the steps that all of them recorded.

    Args:
        histories: Runs alike in all but their seed.
        quantity: ``"loss"`` (noise on), a clean one such as ``"val_loss"``, or the name of a norm
            such as ``"w_ni"``.

    Returns:
        The steps, (n,), and the values, (runs, n), for `fit_decay`.

    Raises:
        ValueError: If there is no run, or a run has no such quantity.
    """
    if not histories:
        raise ValueError("no run, no course: give at least one history")
    clean = quantity in CLEAN_QUANTITIES
    steps = [h.eval_step if clean else h.step for h in histories]
    for h in histories:
        if quantity not in (*CLEAN_QUANTITIES, "loss", "accuracy", *h.norms):
            known = ", ".join(["loss", *CLEAN_QUANTITIES, *h.norms])
            raise ValueError(f"a run has no {quantity!r}; it has {known}")
    values = [h.norms[quantity] if quantity in h.norms else getattr(h, quantity) for h in histories]
    common, rows = at_common_steps(steps, values)
    return common.astype(float), rows.astype(float)


def at_common_steps(steps: Sequence[Array], values: Sequence[Array]) -> tuple[Array, Array]:
    """Return what several runs recorded at the steps that all of them recorded.

    Args:
        steps: Of each run, rising.
        values: Of each run, as long as its steps.

    Returns:
        The steps, (n,), and the values, (runs, n).
    """
    common = reduce(np.intersect1d, steps)
    rows = [v[np.isin(step, common)] for step, v in zip(steps, values, strict=True)]
    return common, np.array(rows)


def mean_and_spread(
    histories: Sequence[History], quantity: str, log: bool
) -> tuple[Array, Array, Array, Array]:
    """Average a quantity over runs at the steps that all of them recorded.

    Args:
        histories: Runs alike in all but their seed.
        quantity: As for `course`.
        log: Whether to average logarithms: a geometric mean, and a factor as its spread.

    Returns:
        The common steps, the mean, and mean -+ one standard deviation over runs.
    """
    common, rows = course(histories, quantity)
    if log:
        rows = np.log(np.maximum(rows, np.finfo(float).tiny))
    mean = rows.mean(0)
    spread = rows.std(0, ddof=1) if len(rows) > 1 else np.zeros_like(mean)
    bands = (mean, mean - spread, mean + spread)
    return (common, *(np.exp(b) if log else b for b in bands))


def mean(values: npt.ArrayLike) -> tuple[float, float]:
    """Return the mean of independent values and its standard error; that of hits is a share.

    The error of one value is unknown: it is given as 0, beside n = 1.

    >>> mean([1, 2, 3])[0], mean([1601 / 1600] * 200)
    (2.0, (1.000625, 0.0))
    """
    v = np.asarray(values, float)
    if v.size and (v == v.flat[0]).all():  # their mean may be off by rounding
        return float(v.flat[0]), 0.0
    return float(v.mean()), float(v.std(ddof=1) / np.sqrt(v.size)) if v.size > 1 else 0.0


def middle(sigma_eps: np.ndarray) -> tuple[float, float]:
    """Return the geometric mean of a border over seeds, and its relative standard error.

    Args:
        sigma_eps: The border of each seed, 0 or infinite where it has none, (seeds,).

    Returns:
        Mean and error; NaN if half of the seeds or more have no such border.
    """
    found = np.log(sigma_eps[np.isfinite(sigma_eps) & (sigma_eps > 0)])
    if 2 * len(found) <= len(sigma_eps):
        return float("nan"), float("nan")
    error = found.std(ddof=1) / np.sqrt(len(found)) if len(found) > 1 else 0.0
    return float(np.exp(found.mean())), float(error)


def checked_records(t: Any, values: Any, least: int = 2) -> tuple[Array, Array]:
    """Return times, (n,), and records, (runs, n), as arrays.

    Args:
        t: Times of the records, (n,).
        values: Records, (runs, n) or (n,).
        least: How many records there must be.

    Raises:
        ValueError: If shapes do not match, t does not rise, or a value is not finite.
    """
    t, values = np.asarray(t, float), np.atleast_2d(np.asarray(values, float))
    if t.ndim != 1 or values.ndim != 2 or values.shape[1] != len(t) or not len(values):
        raise ValueError(
            f"expected t of shape (n,) and values (n,) or (runs, n), not {t.shape} and "
            f"{values.shape}"
        )
    if len(t) < least:
        raise ValueError(f"expected at least {least} records, not {len(t)}: widen the window")
    if not (np.isfinite(t).all() and np.isfinite(values).all()):
        raise ValueError("t and values must be finite: end the course before it diverges")
    if not (np.diff(t) > 0).all():
        raise ValueError("t must rise from record to record")
    return t, values


def running_median(values: Array) -> Array:
    """Return the running median of the last axis, over at most `_SMOOTH` records."""
    half = min(_SMOOTH, values.shape[-1]) // 2
    ends = [(0, 0)] * (values.ndim - 1) + [(half, half)]
    padded = np.pad(values, ends, mode="reflect")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, -1), -1)
