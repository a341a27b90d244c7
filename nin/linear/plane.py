"""Many runs of the linear model at once: the phase plane, Fig. 2's initial weights, censuses.

A point of the plane is (a^2, b^2) = eta sigma_eps^2 (w_NI^2, w1^2) at step 0; see
`nin.theory.noise_map`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy

from nin.linear.derived_borders import LinearBorders, linear_borders
from nin.linear.model import LinearRuns, simulate
from nin.runs.phases import Phase
from nin.theory import noise_map
from nin.theory import symbols as s

Array = np.ndarray
ETA, M = 0.01, 1.0
"""Of Fig. 2 (top), App. B."""
READINGS = {"A": {"w1": 1.0, "u": 0.1, "w0": 0.1}, "B": {"w1": 0.1, "u": 1.0, "w0": 1.0}}
"""Standard deviations of Fig. 2's initial weights: App. B names the same two weights twice.

A fits the text, where the noise weight drives the catapult; B takes the fan-in literally.
"""

FIG2_TOP = {Phase.DECOUPLED: 0.02, Phase.DECAY: 3.0, Phase.CATAPULT: 18.0, Phase.DIVERGENT: 60.0}
"""Noise strengths at which most draws of reading A are in each phase; the paper names none."""


def draw_start(reading: str, n: int, seed: int = 0) -> dict[str, Any]:
    """Return n draws of the initial weights of Fig. 2 (top), (n,) each, by name.

    Raises:
        ValueError: If the reading is unknown.
    """
    if reading not in READINGS:
        raise ValueError(f"reading must be one of {', '.join(READINGS)}, not {reading!r}")
    g = np.random.default_rng(seed)
    return {name: std * g.standard_normal(n) for name, std in READINGS[reading].items()}


def phase_shares(reading: str, sigma_eps: Array, draws: int = 1000, steps: int = 4000) -> Array:
    """Return the share of draws of Fig. 2's initial weights in each phase: its bar, in the mean.

    Args:
        reading: Key of `READINGS`.
        sigma_eps: Noise strengths, (n,).
        draws: Of initial weights, one run each at every strength.
        steps: Of each run.

    Returns:
        Shares, (phases, n), in the order of `Phase`.
    """
    start = {name: w[:, None] for name, w in draw_start(reading, draws, seed=1).items()}
    runs = simulate(**start, sigma_eps=sigma_eps, eta=ETA, batch_size=1000, steps=steps)
    found = runs.phases()
    return np.array([(found == k).mean(0) for k in range(len(Phase))])


@dataclass(frozen=True)
class PlaneRuns:
    """Runs from points of the plane, with what each form of the borders forecasts.

    Attributes:
        a_sq: eta sigma_eps^2 w_NI^2 at step 0, (n,).
        b_sq: eta sigma_eps^2 w1^2 at step 0, (n,).
        runs: The runs.
        derived: The corrected borders.
        printed: The borders as printed, read with good will.
    """

    a_sq: Array = field(repr=False)
    b_sq: Array = field(repr=False)
    runs: LinearRuns = field(repr=False)
    derived: LinearBorders = field(repr=False)
    printed: LinearBorders = field(repr=False)

    def wrong(self, form: str) -> int:
        """Count the runs whose divergence a form of the borders gets wrong.

        Args:
            form: ``"derived"`` or ``"printed"``.
        """
        forecast = self.runs.constants["sigma_eps"] > getattr(self, form).div
        return int((forecast != self.runs.diverged).sum())

    def swapped(self) -> Array:
        """Tell for each catapult that w_NI drives, and survives, whether it ends as the larger.

        Catapults are the starts at which w_NI grows though lambda is below 4; next to 4 the map is
        slow. Runs that diverge all the same, by data or batches, do not count.
        """
        catapult = (self.b_sq > CLAMP) & (self.a_sq + self.b_sq < 3.99) & ~self.runs.diverged
        return (abs(self.runs.u[-1]) > abs(self.runs.w1[-1]))[catapult]


def run_plane(
    n: int, *, data: bool, batch_size: int | None = None, steps: int = 2000, seed: int = 0
) -> PlaneRuns:
    """Run the model from n points, uniform in 0 < a^2, b^2 < 6.

    Args:
        n: Number of points.
        data: Whether there are data to learn; if not, only the noise moves the weights.
        batch_size: Samples per batch; None for the average over all batches.
        steps: Number of SGD steps.
        seed: Of the points and of the batches.
    """
    g = np.random.default_rng(seed)
    a_sq, b_sq = 6 * g.random((2, n))
    w1 = np.abs(g.normal(size=n)) + 0.1
    sigma_eps = np.sqrt(b_sq / ETA) / w1
    start = {"w1": w1, "u": np.sqrt(a_sq / ETA) / sigma_eps, "w0": 0.1 * g.normal(size=n)}
    return _run(start, sigma_eps, data=data, batch_size=batch_size, steps=steps, seed=seed)


def run_reading(
    reading: str,
    n: int,
    sigma_eps: float,
    *,
    data: bool,
    batch_size: int | None = None,
    steps: int = 2000,
    seed: int = 0,
) -> PlaneRuns:
    """Run the model from n draws of Fig. 2's initial weights, at one noise strength.

    Args:
        reading: Of App. B, as for `draw_start`.
        n: Number of draws.
        sigma_eps: Standard deviation of the noise.
        data: As for `run_plane`.
        batch_size: As for `run_plane`.
        steps: Number of SGD steps.
        seed: Of the draws and of the batches.
    """
    start, strength = draw_start(reading, n, seed), np.full(n, float(sigma_eps))
    return _run(start, strength, data=data, batch_size=batch_size, steps=steps, seed=seed)


def _run(
    start: dict[str, Any],
    sigma_eps: Array,
    *,
    data: bool,
    batch_size: int | None,
    steps: int,
    seed: int,
) -> PlaneRuns:
    setting: dict[str, Any] = {**start, "eta": ETA, "batch_size": batch_size or 1, "M": M}
    runs = simulate(
        **setting,
        sigma_eps=sigma_eps,
        sigma_x=float(data),
        steps=steps,
        noise="wishart" if batch_size else "none",
        seed=seed,
    )
    a_sq, b_sq = (ETA * sigma_eps**2 * start[name] ** 2 for name in ("u", "w1"))
    forms = (linear_borders(**setting, form=form) for form in ("corrected", "printed"))
    return PlaneRuns(a_sq, b_sq, runs, *forms)


def divergence_curve(batch_size: int, lambdas: Array, runs: int, steps: int = 1500) -> Array:
    """Return the share of runs without data that diverge, for each initial lambda.

    Args:
        batch_size: Samples per batch.
        lambdas: eta sigma_eps^2 (w1^2 + w_NI^2) at step 0, (k,).
        runs: Runs for each, from random directions in the plane of the two weights.
        steps: Number of SGD steps.
    """
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, (len(lambdas), runs))
    radius = np.sqrt(np.asarray(lambdas))[:, None]  # at eta = sigma_eps = 1
    found = simulate(
        w1=radius * np.cos(angle),
        u=radius * np.sin(angle),
        w0=0.0,
        sigma_eps=1.0,
        eta=1.0,
        batch_size=batch_size,
        sigma_x=0.0,
        steps=steps,
    )
    return found.diverged.mean(1)


def transition_width(lambdas: Array, share: Array) -> float:
    """Return the distance of the lambdas at which 10% and 90% of the runs diverge.

    NaN where the curve does not pass both.
    """
    rising = np.maximum.accumulate(share)
    if rising[0] > 0.1 or rising[-1] < 0.9:
        return float("nan")
    low, high = (lambdas[np.argmax(rising >= level)] for level in (0.1, 0.9))
    return float(high - low)


def decoupling_course(
    steps: int, *, w1: float, u: float, w0: float, eta: float, batch_size: int, M: float = 1.0
) -> Array:
    """Return the noise at which drift and walk of w_NI are equal after 1, 2, ... steps, (steps,).

    Below it the walk dominates. Both are sums over the course of learning without noise, so it
    holds where the noise is weak; its first value is the corrected sigma_dec of Sec. 3.

    Args:
        steps: Largest number of steps T, >= 1.
        w1: Initial weight of the second layer.
        u: Initial noise weight w_NI, not 0.
        w0: Initial weight of the first layer.
        eta: Learning rate.
        batch_size: Samples per batch.
        M: Slope to learn.
    """
    start: dict[str, Any] = {"w1": w1, "u": u, "w0": w0, "eta": eta}
    start |= {"batch_size": batch_size, "M": M}
    course = simulate(**start, sigma_eps=0.0, steps=steps, noise="none", record=range(steps))
    unit = {s.sigma_eps: 1, s.sigma_x: 1}
    formulas = [f.subs(unit) for f in (noise_map.drift_and_walk()[0], noise_map.diffusion())]
    symbols = (s.w1, s.u, s.w0, s.eta, s.batch_size, s.M)
    values = [course.w1[:-1], u, course.w0[:-1], eta, batch_size, M]
    drift, variance = (sympy.lambdify(symbols, f, "numpy")(*values) for f in formulas)
    return np.sqrt(np.cumsum(variance)) / abs(np.cumsum(drift))


def final_curvature(runs: LinearRuns) -> Array:
    """Return eta sigma_eps^2 w1^2 at the end; NaN for runs that diverged."""
    c = runs.constants
    value = c["eta"] * c["sigma_eps"] ** 2 * runs.w1[-1] ** 2
    return np.where(runs.diverged, np.nan, value)


CLAMP = float(noise_map.GROWTH)
"""Where the noise weight turns from falling to growing: the final curvature is not above it."""
