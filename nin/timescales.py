"""How long something takes to decay: fits of an exponential, and times that need no model.

Times are in whatever unit `t` has: SGD steps, epochs or flow time. Runs of different seeds are
independent of each other; the records along one run are not, since weights remember. Therefore

* with several runs, errors come from leaving out one run at a time (the jackknife), and the
  quality of a fit from comparing what the runs have in common with how they differ: neither needs
  to know how the records of a run are correlated;
* the errors of a single run take its noise to forget exponentially, with a correlation
  ``exp(-|t - t'| / memory)`` whose memory is fitted too. They are errors of that run's own time:
  how much another seed would differ only other seeds can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, stats

from nin.history import CLEAN_QUANTITIES, History
from nin.phases import MARGIN

Array = np.ndarray
SIGNIFICANCE = 0.01
"""Probability at which an outcome other than "exponential" is accepted by mistake."""
_SMOOTH = 5  # records whose median stands for the curve where a window is chosen
_LEAST = 6  # records of a fit
_FOLDS = 3.0  # without a floor the automatic window ends when the curve has fallen by e^3
_RATIOS = (100.0, 1.0, 0.3, 0.1, 0.03, 0.0)  # of constant to proportional noise at the curve's top
_DARK = 0.01  # of the top: no record is more exact than that, relative to the others
_TINY = 1e-6  # relative size below which a residual is rounding, not noise


class Outcome(StrEnum):
    """What a fit found."""

    EXPONENTIAL = "exponential"
    NOT_EXPONENTIAL = "not exponential"
    UNRESOLVED = "unresolved"
    NO_DECAY = "no decay"


@dataclass(frozen=True)
class DecayFit:
    """A fit of ``floor + amplitude exp(-rate (t - window[0]))``.

    Attributes:
        outcome: ``EXPONENTIAL``: it describes the records. ``NOT_EXPONENTIAL``: the records fall,
            but not like this; `tau` is that of the closest exponential. ``UNRESOLVED``: these
            runs fall on average, but the 95% interval of tau, which counts how runs differ, has no
            upper end: others may not fall. ``NO_DECAY``: they do not fall.
        rate: One over the decay time, per unit of t; negative for growth.
        rate_err: Its standard error.
        dof: Degrees of freedom of `rate_err`, for Student's distribution: runs - 1, or what the
            records of a single run amount to.
        amplitude: Height above the floor at the start of the window.
        floor: What the decay ends at; 0 if no floor was fitted.
        floor_err: Its standard error.
        window: First and last t of the records fitted.
        records: Number of records in the window.
        runs: Number of runs.
        chi_sq: Reduced chi squared: squared deviation of the mean over runs from the fit, over
            what the differences between runs explain; 1 if the model is right. NaN for one run.
        p_value: Probability of a worse fit if the model is right: of a larger `chi_sq`, or of a
            bend towards a stretched exponential (twice the smaller). For one run: of a larger
            gain by a stretched exponential.
        misfit: Root mean square deviation of the mean over runs from the fit, over `amplitude`.
    """

    outcome: Outcome
    rate: float
    rate_err: float
    dof: float
    amplitude: float
    floor: float
    floor_err: float
    window: tuple[float, float]
    records: int
    runs: int
    chi_sq: float
    p_value: float
    misfit: float

    @property
    def tau(self) -> float:
        """The decay time, in the unit of t; infinite where the curve does not fall."""
        falls = self.outcome is not Outcome.NO_DECAY and self.rate > 0
        return 1 / self.rate if falls else float("inf")

    @property
    def tau_err(self) -> float:
        """Standard error of `tau`; infinite where `tau` is."""
        return self.rate_err * self.tau**2 if np.isfinite(self.tau) else float("inf")

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the confidence interval of tau at this level; its end may be infinite.

        Raises:
            ValueError: If the level is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1, not {level}")
        half = self.rate_err * stats.t.ppf((1 + level) / 2, self.dof)
        low, high = self.rate - half, self.rate + half
        return (1 / high if high > 0 else float("inf"), 1 / low if low > 0 else float("inf"))

    def __call__(self, t: Any) -> Array:
        """Return the fitted curve at t."""
        return self.floor + self.amplitude * np.exp(-self.rate * (np.asarray(t) - self.window[0]))

    @property
    def says(self) -> str:
        """The finding, in a sentence."""
        if self.outcome is Outcome.NO_DECAY:
            return f"no decay: the rate is {self.rate:.2g} ± {self.rate_err:.1g}"
        low, high = self.interval()
        found = f"tau = {self.tau:.4g} ± {self.tau_err:.2g} (95%: {low:.4g} to {high:.4g})"
        return f"{self.outcome}: {found}, p = {self.p_value:.2g}, misfit {self.misfit:.1%}"


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


def courses(histories: Sequence[History], quantity: str) -> tuple[Array, Array]:
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
    common = steps[0]
    for other in steps[1:]:
        common = np.intersect1d(common, other)
    values = [h.norms[quantity] if quantity in h.norms else getattr(h, quantity) for h in histories]
    rows = [v[np.isin(step, common)] for step, v in zip(steps, values, strict=True)]
    return common.astype(float), np.array(rows, float)


def _checked(t: Any, values: Any, least: int = 2) -> tuple[Array, Array]:
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


def _smooth(values: Array) -> Array:
    """Return the running median of the last axis, over at most `_SMOOTH` records."""
    half = min(_SMOOTH, values.shape[-1]) // 2
    ends = [(0, 0)] * (values.ndim - 1) + [(half, half)]
    padded = np.pad(values, ends, mode="reflect")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, -1), -1)


def decay_window(t: Any, values: Any, *, floor: bool = True) -> tuple[float, float]:
    """Choose the window of a fit.

    It begins at the first record, or at the peak if the mean over runs (its running median over 5
    records) rises by more than the `MARGIN` that decides about phases, and falls after it. It ends
    with the last record; without a floor, where the curve has fallen to e^-3 of its start, but not
    before there are 6 records to fit.

    The errors of a fit are those of a window chosen beforehand. Where noise as large as the
    `MARGIN` decides where it begins, they are too small by up to a third: then choose it yourself.

    Args:
        t: Times of the records, (n,), rising.
        values: Records, (runs, n) or (n,).
        floor: Whether a floor is fitted.

    Returns:
        The first and the last t.
    """
    t, values = _checked(t, values)
    curve = _smooth(values.mean(0))
    peak = int(curve.argmax())
    rises = curve[peak] > MARGIN * curve[0] and peak <= len(t) - _LEAST
    first = peak if rises else 0
    low = curve[first:] < curve[first] * np.exp(-_FOLDS)
    ends = not floor and curve[first] > 0 and low.any()
    last = min(first + max(int(low.argmax()), _LEAST - 1), len(t) - 1) if ends else len(t) - 1
    return float(t[first]), float(t[last])


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


class _Found(NamedTuple):
    """One fit, before it is judged."""

    rate: float
    rate_err: float
    dof: float
    linear: Array
    floor_err: float
    chi_sq: float
    p_value: float
    p_fall: float  # probability of such a fall without any decay
    curve: Array


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


def _fit_runs(t: Array, values: Array, floor: bool) -> _Found:
    """Fit the mean of several runs; errors by the jackknife."""
    model, runs, mean = _Model(t, floor), len(values), values.mean(0)
    sigma = _noise(_smooth(mean), ((values - mean) ** 2).sum(0) / (runs - 1))
    whiten = _scaled(sigma)
    rate, linear, _ = model.fit(mean, whiten)
    curve = model.curve(rate, linear)
    without = [model.fit(np.delete(values, k, 0).mean(0), whiten) for k in range(runs)]
    rates = np.array([r for r, _, _ in without])
    floors = np.array([_floor_of(r, f) for r, f, _ in without])
    rate_err, floor_err = (
        float(np.sqrt((runs - 1) ** 2 / runs) * v.std(ddof=1)) if np.isfinite(v).all() else np.inf
        for v in (rates, floors)
    )
    # What the runs share beyond the model, against how they differ once each may have its own
    # amplitude, rate and floor: the ratio has mean 1 however the records of a run are correlated.
    columns, differences = model.jacobian(rate, linear), (values - mean).T
    white = _regress(t, differences, columns, sigma).whiten
    x, flat = white(columns), white(np.ones((len(t), 1)))
    own = _rest(x, white(differences))
    shared = _rest(x, white((mean - curve)[:, None]))
    free = len(t) - columns.shape[1]
    rounding = (_TINY * np.abs(mean).max() / sigma.max()) ** 2
    within = (own**2).sum() / (free * (runs - 1)) + rounding
    chi_sq = float(runs * (shared**2).sum() / (free * within))
    lags = range(1, len(t) // 2)
    auto = [(own[lag:] * own[:-lag]).sum() / (free * (runs - 1) * within) for lag in lags]
    effective = free / (1 + 2 * float(np.square(auto).sum()))
    p_rest = stats.f.sf(chi_sq, effective, effective * (runs - 1))
    bent = _rest(x, white(_bend(t, rate, curve)[:, None]))
    bends = (bent * (own + shared)).sum(0) / (bent**2).sum()
    spread = np.sqrt(bends.var(ddof=1) / runs + rounding)
    p_bent = 2 * stats.t.sf(abs(bends.mean()) / spread, runs - 1)
    p_fall = 1.0
    if curve[0] > curve[-1]:
        gain = (_rest(flat, white(mean[:, None])) ** 2).sum() - (shared**2).sum()
        p_fall = stats.f.sf(runs * gain / within / (1 + floor), 1 + floor, free * (runs - 1))
    return _Found(
        rate=rate,
        rate_err=rate_err,
        dof=runs - 1,
        linear=linear,
        floor_err=floor_err,
        chi_sq=chi_sq,
        p_value=float(min(1, 2 * min(p_rest, p_bent))),
        p_fall=float(p_fall),
        curve=curve,
    )


def _fit_run(t: Array, y: Array, floor: bool) -> _Found:
    """Fit a single run; errors from its own residuals, and what they remember."""
    model = _Model(t, floor)
    curve = model.curve(*model.fit(y, _scaled(np.ones_like(y)))[:2])

    def tried(ratio: float) -> tuple[_Regression, float, Array, Array, Array, Array]:
        """Fit with noise of this ratio between its constant and its proportional part."""
        rate, linear, _ = model.fit(y, _scaled(_mixed(curve, ratio)))
        found, columns = model.curve(rate, linear), model.jacobian(rate, linear)
        sigma = _mixed(found, ratio)
        return _regress(t, y - found, columns, sigma), rate, linear, found, columns, sigma

    # Not from the sizes of residuals: noise that remembers is followed by the fit, and looks small.
    fits = {ratio: tried(ratio) for ratio in _RATIOS}
    ratio = min(fits, key=lambda r: fits[r][0].deviance)
    fit, rate, linear, curve, columns, sigma = fits[ratio]
    # Least squares as if records were independent, with the error that their memory gives it.
    x = columns / sigma[:, None]
    apart = np.abs(t[:, None] - t)
    c = np.exp(-apart / fit.memory) if fit.memory > 0 else np.eye(len(t))
    inverse = np.linalg.pinv(x)
    cov = fit.variance * inverse @ c @ inverse.T
    floor_err = np.inf if floor else 0.0
    if floor and rate:  # floor = linear[0] - linear[1] / rate
        by = np.array([1.0, -1 / rate, linear[1] / rate**2])
        floor_err = float(np.sqrt(by @ cov @ by))

    # A stretched exponential is an exponential of t^beta. Does it gain more than chance?
    def left(log_beta: float) -> float:
        return _Model(t ** np.exp(log_beta), floor).fit(y, _scaled(sigma))[2]

    beta = float(np.exp(optimize.minimize_scalar(left, bounds=(-1.6, 1.1), method="bounded").x))
    other = _Model(t**beta, floor)
    rest = y - other.curve(*other.fit(y, _scaled(sigma))[:2])
    bent = _regress(t, rest, columns, _mixed(y - rest, ratio))
    still = _regress(t, y, np.ones((len(t), 1)), np.full_like(y, max(y.std(), _TINY)))
    gain = still.deviance - fit.deviance
    return _Found(
        rate=rate,
        rate_err=float(np.sqrt(cov[-1, -1])),
        dof=fit.dof,
        linear=linear,
        floor_err=floor_err,
        chi_sq=float("nan"),
        p_value=float(stats.f.sf(max(fit.deviance - bent.deviance, 0.0), 1, bent.dof)),
        p_fall=float(stats.chi2.sf(gain, 2 + floor)) if curve[0] > curve[-1] else 1.0,
        curve=curve,
    )


def fit_decay(
    t: Any,
    values: Any,
    *,
    floor: bool = True,
    window: tuple[float, float] | None = None,
    significance: float = SIGNIFICANCE,
) -> DecayFit:
    """Fit an exponential decay to the records of one run or several.

    Records are weighted by the spread of the runs, smoothed as a part that is constant along the
    curve and a part proportional to it. The rate's error is the jackknife's over runs; that of a
    single run comes from its residuals and their memory.

    Args:
        t: Times of the records, (n,), rising: steps, epochs or flow time.
        values: The records, (runs, n), or (n,) for one run.
        floor: Whether the decay may end at a floor. Without one, a floor in the data biases tau.
        window: First and last t to fit; by default that of `decay_window`.
        significance: Probability at which a curve that does not decay counts as a decay, or an
            exponential as something else, by mistake.

    Returns:
        The fit with its outcome; `says` tells it in a sentence.

    Raises:
        ValueError: If shapes do not match, t does not rise, a value is not finite, or the window
            holds fewer than 6 records.

    >>> t = np.arange(100)
    >>> noise = 0.01 * np.random.default_rng(0).standard_normal((5, 100))
    >>> fit = fit_decay(t, 0.2 + np.exp(-t / 20) + noise)
    >>> fit.outcome.value, bool(abs(fit.tau - 20) < 3 * fit.tau_err)
    ('exponential', True)
    """
    t, values = _checked(t, values)
    if not 0 < significance < 1:
        raise ValueError(f"significance must lie between 0 and 1, not {significance}")
    if not values.any():
        raise ValueError("all records are 0: there is nothing that could decay")
    first, last = decay_window(t, values, floor=floor) if window is None else window
    inside = (t >= first) & (t <= last)
    if inside.sum() < _LEAST:
        raise ValueError(
            f"expected at least {_LEAST} records from t = {first:g} to {last:g}, not "
            f"{inside.sum()}: record more densely or widen the window"
        )
    t, values = t[inside], values[:, inside]
    # In units of the window and of the largest record: rounding knows no other scale.
    span, scale = t[-1] - t[0], np.abs(values).max() or 1.0
    since, run = (t - t[0]) / span, values / scale
    fitted = _fit_runs if len(values) > 1 else _fit_run
    run = run if len(values) > 1 else run[0]
    plain = fitted(since, run, False)
    found = fitted(since, run, True) if floor else plain
    floor_at = _floor_of(found.rate, found.linear) if floor else 0.0
    amplitude = float(found.curve[0]) - floor_at
    rms = float(np.sqrt(((values.mean(0) / scale - found.curve) ** 2).mean()))
    misfit = rms / abs(amplitude) if amplitude else float("inf")

    if found.p_fall >= significance:
        outcome, found, floor_at = Outcome.NO_DECAY, plain, 0.0
        amplitude = float(plain.curve[0])
    elif found.p_value < significance:
        outcome = Outcome.NOT_EXPONENTIAL
    elif found.rate <= max(found.rate_err * stats.t.ppf(0.975, found.dof), _TINY):
        outcome = Outcome.UNRESOLVED
    else:
        outcome = Outcome.EXPONENTIAL
    return DecayFit(
        outcome=outcome,
        rate=found.rate / span,
        rate_err=found.rate_err / span,
        dof=found.dof,
        amplitude=amplitude * scale,
        floor=floor_at * scale,
        floor_err=found.floor_err * scale if len(found.linear) > 1 else 0.0,
        window=(float(t[0]), float(t[-1])),
        records=len(t),
        runs=len(values),
        chi_sq=found.chi_sq,
        p_value=found.p_value,
        misfit=misfit,
    )


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
    t, values = _checked(t, values)
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must lie between 0 and 1, not {fraction}")
    if not (values[:, 0] > 0).all():
        raise ValueError(
            "each run must start above 0 for a fraction of its start to mean something"
        )
    if smooth < 1 or smooth != int(smooth):
        raise ValueError(f"smooth must be a whole number >= 1, not {smooth}")
    curves = _median(values, int(smooth) // 2) / values[:, :1]
    each = np.full(len(curves), np.inf)
    for k, curve in enumerate(curves):
        below = np.flatnonzero(curve <= fraction)
        if len(below):
            i = max(int(below[0]), 1)
            a, b, c = curve[i - 1], curve[i], fraction
            if b > 0:
                a, b, c = np.log(a), np.log(b), np.log(c)
            share = (a - c) / (a - b) if a > b else 1.0
            each[k] = t[i - 1] + share * (t[i] - t[i - 1]) - t[0]
    return _estimate(each)


def initial_time(t: Any, values: Any, fall: float = 0.1) -> Estimate:
    """Measure -1 over the initial slope of each run's logarithm.

    The slope is that of a parabola at the first record, fitted by least squares to the logarithm
    of the records up to the first one that has fallen by `fall`, at least 4. It needs no floor and
    no exponential; it is the tau of Sec. 4 of Levi et al. (2022), a rate at t = 0. Noise makes it
    long, and a run may not fall at all by it: with white noise of a hundredth of the start and 30
    records per tau the median is a quarter too long.

    Args:
        t: Times of the records, (n,), rising, at least 4.
        values: The records, (runs, n) or (n,), > 0 in that stretch.
        fall: Fraction by which the curve falls in the stretch, in (0, 1).

    Returns:
        The times; infinite for a run that does not fall at its start.

    Raises:
        ValueError: If the input does not fit, or a value in the stretch is not > 0.
    """
    t, values = _checked(t, values, least=4)
    if not 0 < fall < 1:
        raise ValueError(f"fall must lie between 0 and 1, not {fall}")
    each = np.full(len(values), np.inf)
    for k, curve in enumerate(values):
        low = np.flatnonzero(_smooth(curve) <= (1 - fall) * curve[0])
        last = max(3, int(low[0])) if len(low) else len(t) - 1
        if not (curve[: last + 1] > 0).all():
            raise ValueError("values must be > 0 where the logarithm's slope is taken")
        since = t[: last + 1] - t[0]
        slope = float(np.polynomial.Polynomial.fit(since, np.log(curve[: last + 1]), 2).deriv()(0))
        each[k] = -1 / slope if slope < 0 else np.inf
    return _estimate(each)
