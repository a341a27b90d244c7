"""The two ways to fit a decay: to several runs, by the jackknife; to one, by what it remembers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import optimize, special

from nin.runs.averages import Array, running_median
from nin.runs.decay_model import DecayModel, Whiten, bend, floor_of
from nin.runs.regression import (
    TINY,
    Regression,
    divided_by,
    mixed_noise,
    noise_along,
    regress,
    regress_with,
    unexplained,
)

_RATIOS = (100.0, 1.0, 0.3, 0.1, 0.03, 0.0)  # of constant to proportional noise at the curve's top
_WAVES = (4, 24)  # cosines that follow a slow course, and a faster one
_LONG = 0.05  # of the window: noise that remembers longer wanders, and may well end lower


class DecayEstimate(NamedTuple):
    """One fit, before it is judged; of these names, see `nin.runs.decay_fit.DecayFit`.

    Attributes:
        linear: The linear part of the model.
        p_fall: Probability of such a fall without any decay.
        curve: The fitted curve, (n,).
    """

    rate: float
    rate_err: float
    dof: float
    linear: Array
    floor_err: float
    chi_sq: float
    p_value: float
    p_fall: float
    curve: Array


def fit_several(t: Array, values: Array, floor: bool) -> DecayEstimate:
    """Fit the mean of several runs, (runs, n); errors by the jackknife."""
    model, runs, mean = DecayModel(t, floor), len(values), values.mean(0)
    sigma = noise_along(running_median(mean), ((values - mean) ** 2).sum(0) / (runs - 1))
    whiten = divided_by(sigma)
    rate, linear, _ = model.fit(mean, whiten)
    rate_err, floor_err = _jackknife(model, values, whiten)
    chi_sq, p_value, p_fall = _against_differences(model, rate, linear, values, sigma)
    return DecayEstimate(
        rate=rate,
        rate_err=rate_err,
        dof=runs - 1,
        linear=linear,
        floor_err=floor_err,
        chi_sq=chi_sq,
        p_value=p_value,
        p_fall=p_fall,
        curve=model.curve(rate, linear),
    )


def _jackknife(model: DecayModel, values: Array, whiten: Whiten) -> list[float]:
    """Return the errors of rate and floor, from the fits without one run each."""
    runs = len(values)
    without = [model.fit(np.delete(values, k, 0).mean(0), whiten) for k in range(runs)]
    rates = np.array([r for r, _, _ in without])
    floors = np.array([floor_of(r, f) for r, f, _ in without])
    return [
        float(np.sqrt((runs - 1) ** 2 / runs) * v.std(ddof=1)) if np.isfinite(v).all() else np.inf
        for v in (rates, floors)
    ]


def _against_differences(
    model: DecayModel, rate: float, linear: Array, values: Array, sigma: Array
) -> tuple[float, float, float]:
    """Compare what the runs share beyond the model with how they differ.

    Each may have its own amplitude, rate and floor first: the ratio has mean 1 however the records
    of a run are correlated.

    Returns:
        `chi_sq`, `p_value` and `p_fall`.
    """
    t, runs, mean, curve = model.t, len(values), values.mean(0), model.curve(rate, linear)
    columns, differences = model.jacobian(rate, linear), (values - mean).T
    white = regress(t, differences, columns, sigma).whiten
    x, flat = white(columns), white(np.ones((len(t), 1)))
    own = unexplained(x, white(differences))
    shared = unexplained(x, white((mean - curve)[:, None]))
    free = len(t) - columns.shape[1]
    rounding = (TINY * np.abs(mean).max() / sigma.max()) ** 2
    within = (own**2).sum() / (free * (runs - 1)) + rounding
    chi_sq = float(runs * (shared**2).sum() / (free * within))
    lags = range(1, len(t) // 2)
    auto = [(own[lag:] * own[:-lag]).sum() / (free * (runs - 1) * within) for lag in lags]
    effective = free / (1 + 2 * float(np.square(auto).sum()))
    p_rest = special.fdtrc(effective, effective * (runs - 1), chi_sq)
    bent = unexplained(x, white(bend(t, rate, curve)[:, None]))
    bends = (bent * (own + shared)).sum(0) / (bent**2).sum()
    spread = np.sqrt(bends.var(ddof=1) / runs + rounding)
    p_bent = 2 * special.stdtr(runs - 1, -abs(bends.mean()) / spread)
    p_fall = 1.0
    if curve[0] > curve[-1]:
        floor = model.floor
        gain = (unexplained(flat, white(mean[:, None])) ** 2).sum() - (shared**2).sum()
        f = runs * max(gain, 0.0) / within / (1 + floor)
        p_fall = special.fdtrc(1 + floor, free * (runs - 1), f)
    return chi_sq, float(min(1, 2 * min(p_rest, p_bent))), float(p_fall)


class _Weighted(NamedTuple):
    """A fit to one run with noise of some ratio between its constant and proportional part."""

    ratio: float
    sigma: Array
    rate: float
    linear: Array
    curve: Array
    columns: Array
    rest: Regression  # of what the curve leaves on the model's derivatives


def fit_single(t: Array, y: Array, floor: bool) -> DecayEstimate:
    """Fit a single run, (n,); errors from its own residuals, and what they remember."""
    model = DecayModel(t, floor)
    rough = model.curve(*model.fit(y, divided_by(np.ones_like(y)))[:2])
    # Not from the sizes of residuals: noise that remembers is followed by the fit, and looks small.
    tried = [_weighted(model, y, rough, ratio) for ratio in _RATIOS]
    best = min(tried, key=lambda w: w.rest.deviance)
    rate, linear = best.rate, best.linear
    cov = _covariance(t, best)
    floor_err = np.inf if floor else 0.0
    if floor and rate:  # floor = linear[0] - linear[1] / rate
        by = np.array([1.0, -1 / rate, linear[1] / rate**2])
        floor_err = float(np.sqrt(by @ cov @ by))
    p_shape, bends = _against_any_shape(t, y, best)
    p_fall = _against_still(t, y, floor, best)
    if p_shape < p_fall:  # a fall may also show in another shape
        p_fall = min(p_fall, max(p_shape, _ends_below(t, y, bends)))
    return DecayEstimate(
        rate=rate,
        rate_err=float(np.sqrt(cov[-1, -1])),
        dof=best.rest.dof,
        linear=linear,
        floor_err=floor_err,
        chi_sq=float("nan"),
        p_value=min(_against_stretched(t, y, floor, best), p_shape),
        p_fall=p_fall,
        curve=best.curve,
    )


def _weighted(model: DecayModel, y: Array, rough: Array, ratio: float) -> _Weighted:
    rate, linear, _ = model.fit(y, divided_by(mixed_noise(rough, ratio)))
    curve, columns = model.curve(rate, linear), model.jacobian(rate, linear)
    sigma = mixed_noise(curve, ratio)
    rest = regress(model.t, y - curve, columns, sigma)
    return _Weighted(ratio, sigma, rate, linear, curve, columns, rest)


def _covariance(t: Array, fit: _Weighted) -> Array:
    """Return that of least squares as if records were independent, with what memory makes of it."""
    apart, memory = np.abs(t[:, None] - t), fit.rest.memory
    c = np.exp(-apart / memory) if memory > 0 else np.eye(len(t))
    inverse = np.linalg.pinv(fit.columns / fit.sigma[:, None])
    return np.asarray(fit.rest.variance * inverse @ c @ inverse.T)


def _against_stretched(t: Array, y: Array, floor: bool, fit: _Weighted) -> float:
    """Return the probability that chance gains as much as a stretched exponential does.

    That is an exponential of t^beta.
    """
    whiten = divided_by(fit.sigma)

    def left(log_beta: float) -> float:
        return DecayModel(t ** np.exp(log_beta), floor).fit(y, whiten)[2]

    about = {"bounds": (-1.6, 1.1), "method": "bounded", "options": {"xatol": 1e-3}}
    beta = float(np.exp(optimize.minimize_scalar(left, **about).x))
    other = DecayModel(t**beta, floor)
    rest = y - other.curve(*other.fit(y, whiten)[:2])
    bent = regress(t, rest, fit.columns, mixed_noise(y - rest, fit.ratio))
    return float(special.fdtrc(1, bent.dof, max(fit.rest.deviance - bent.deviance, 0.0)))


def _against_still(t: Array, y: Array, floor: bool, fit: _Weighted) -> float:
    """Return the probability that records which go nowhere fall as much by chance.

    What wanders for long fits a decay better than the likelihoods of both memories admit. Noise
    that remembers is therefore given the memory that it has if there is no decay.
    """
    if fit.curve[0] <= fit.curve[-1]:
        return 1.0
    level, sigma = np.ones((len(t), 1)), np.full_like(y, max(y.std(), TINY))
    still = regress(t, y, level, sigma)
    gain = max(still.deviance - fit.rest.deviance, 0.0)
    p_fall = float(special.chdtrc(2 + floor, gain))
    if fit.rest.memory > _LONG * t[-1]:
        falls = regress_with(t, y - fit.curve, level, sigma, still.memory)
        gain, more, left = still.variance / falls.variance - 1, 2 + floor, len(t) - 3 - floor
        p_fall = max(p_fall, float(special.fdtrc(more, left, max(gain, 0.0) * left / more)))
    return p_fall


def _against_any_shape(t: Array, y: Array, fit: _Weighted) -> tuple[float, Array]:
    """Compare the fit with one that may bend as it likes, under noise of the same memory.

    Returns:
        Probability that chance gains as much as the bends do, and the bends, (n, k).
    """
    n, least, best = len(t), np.inf, np.empty(0)
    for waves in _WAVES:
        k = min(waves, n // 4)
        bends = np.cos(np.pi * np.outer(np.arange(n), np.arange(1, k + 1)) / (n - 1))
        columns = np.column_stack([fit.columns, bends])
        bent = regress_with(t, y - fit.curve, columns, fit.sigma, fit.rest.memory)
        free = n - columns.shape[1]
        before = fit.rest.variance * (n - fit.columns.shape[1])
        gain = max(before / (bent.variance * free) - 1, 0.0)
        p_shape = 2 * len(_WAVES) * float(special.fdtrc(k, free, gain * free / k))
        if p_shape < least:
            least, best = p_shape, bends
    return min(1.0, least), best


def _ends_below(t: Array, y: Array, bends: Array) -> float:
    """Return the probability that a course of such bends does not end below its start.

    That is, at all times of its last quarter. By itself: where the exponential fits badly, so does
    the noise that goes with it.
    """
    place = np.linspace(0, 1, len(t))
    columns = np.column_stack([np.ones_like(place), place, bends])
    fit = regress(t, y, columns, np.full_like(y, max(y.std(), TINY)))
    inverse = np.linalg.pinv(fit.whiten(columns))
    course = columns @ (inverse @ fit.whiten(y))
    late = 3 * len(y) // 4
    highest = columns[late + int(course[late:].argmax())]
    err = np.sqrt(fit.variance) * float(np.linalg.norm((columns[0] - highest) @ inverse))
    free = len(y) - columns.shape[1]
    return float(special.stdtr(free, (course[late:].max() - course[0]) / err)) if err else 1.0
