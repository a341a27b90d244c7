"""How long something takes to decay: fits of an exponential.

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

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from scipy import special

from nin.runs.averages import Array, checked_records, running_median
from nin.runs.decay_estimates import DecayEstimate, fit_several, fit_single
from nin.runs.decay_model import floor_of
from nin.runs.phases import MARGIN
from nin.runs.regression import TINY

SIGNIFICANCE = 0.01
"""Probability at which an outcome other than "exponential" is accepted by mistake."""
_LEAST = 6  # records of a fit
_FOLDS = 3.0  # without a floor the automatic window ends when the curve has fallen by e^3


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
            gain by a stretched exponential, or by a course that bends as it likes under noise of
            the same memory (four times, for two such courses in two tests).
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
        half = self.rate_err * special.stdtrit(self.dof, (1 + level) / 2)
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
    t, values = checked_records(t, values)
    curve = running_median(values.mean(0))
    peak = int(curve.argmax())
    rises = curve[peak] > MARGIN * curve[0] and peak <= len(t) - _LEAST
    first = peak if rises else 0
    low = curve[first:] < curve[first] * np.exp(-_FOLDS)
    ends = not floor and curve[first] > 0 and low.any()
    last = min(first + max(int(low.argmax()), _LEAST - 1), len(t) - 1) if ends else len(t) - 1
    return float(t[first]), float(t[last])


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
    t, values = checked_records(t, values)
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

    def fitted(floor: bool) -> DecayEstimate:
        several = len(run) > 1
        return fit_several(since, run, floor) if several else fit_single(since, run[0], floor)

    found = fitted(floor)
    floor_at = floor_of(found.rate, found.linear)
    amplitude = float(found.curve[0]) - floor_at
    rms = float(np.sqrt(((values.mean(0) / scale - found.curve) ** 2).mean()))
    misfit = rms / abs(amplitude) if amplitude else float("inf")
    outcome = _judged(found, significance)
    if outcome is Outcome.NO_DECAY:
        found = fitted(False) if floor else found
        floor_at, amplitude = 0.0, float(found.curve[0])
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


def _judged(found: DecayEstimate, significance: float) -> Outcome:
    if found.p_fall >= significance:
        return Outcome.NO_DECAY
    if found.p_value < significance:
        return Outcome.NOT_EXPONENTIAL
    if found.rate <= max(found.rate_err * special.stdtrit(found.dof, 0.975), TINY):
        return Outcome.UNRESOLVED
    return Outcome.EXPONENTIAL
