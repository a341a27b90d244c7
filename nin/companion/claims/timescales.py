"""The claims of Sec. 4 and App. D on the linear model: rates, time scales, the continuous limit."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import sympy

from nin.companion.claims.finding import Cell, Finding, settings
from nin.companion.claims.ledger import SIGMAS, claim
from nin.linear import flow, plane
from nin.linear.model import simulate
from nin.runs.averages import mean
from nin.runs.times import time_to
from nin.theory import closed_form as theory
from nin.theory import symbols as s
from nin.theory import two_layer as linear

Array = np.ndarray
_RUNS, _STEPS, _ETA, _BATCH = 4000, 20, 1e-4, 1000
_RATES = {"M": (1.0, 3.0), "sigma_eps": (0.5, 2.0)}
"""Where the first rates are measured."""
ETAS = np.array([0.1, 0.05, 0.025])
_formula = {
    name: sympy.lambdify((s.w1, s.w0, s.sigma_eps, s.sigma_x), expression, "numpy")
    for name, expression in (
        ("loss", theory.TAU_LOSS), ("noise", theory.TAU_NOISE), ("ratio", theory.TAU_RATIO)
    )
}  # fmt: skip


@lru_cache
def _first_rates(M: float, sigma_eps: float) -> tuple[Array, Array, Array]:
    """Measure the rates at which clean loss and w_NI begin to fall, by SGD in small steps.

    Returns:
        Rate of the loss without a node, (draws,); rate of w_NI, (draws,); over 4000 runs each, per
        flow time and over the formulas of `TAU_LOSS` and `TAU_NOISE`; and their ratio's formula.
    """
    g, draws = np.random.default_rng(8), 100
    start: dict[str, Any] = {
        "w1": g.uniform(0.5, 1.5, draws)[:, None] * np.ones(_RUNS),
        "u": 0.5,
        "w0": g.uniform(-1, 1, draws)[:, None],
    }
    setting: dict[str, Any] = {"eta": _ETA, "batch_size": _BATCH, "steps": _STEPS, "M": M}
    time = _ETA * _STEPS
    # A draw's runs are independent of each other, and of those of the other draws.
    without = simulate(**start, **setting, sigma_eps=0.0, seed=1)
    with_noise = simulate(**start, **setting, sigma_eps=sigma_eps, seed=2)
    loss = without.clean_loss.mean(2)
    u = with_noise.u.mean(2)
    of = (start["w1"][:, 0], start["w0"][:, 0], sigma_eps, 1.0)
    return (
        -np.log(loss[-1] / loss[0]) / time * _formula["loss"](*of),
        -np.log(u[-1] / u[0]) / time * _formula["noise"](*of),
        _formula["ratio"](*of),
    )


def _near(values: Array, stated: float) -> bool:
    """Tell whether rates are as stated: twenty steps of 1e-4 change one by up to one percent."""
    value, err = mean(values / stated)
    return abs(value - 1) < 0.01 + SIGMAS * err


@claim(
    "C6-LIN",
    "Loss and noise weight of the linear model evolve exponentially, with one time scale each.",
    "App. D, below Eq. (25)",
    "two_times#fig-tau",
)
def exponential_with_one_time() -> Finding:
    """Compare the time in which each falls to 1/e with what its first rate promises."""
    t, n, cells = np.linspace(0, 8, 1601), 1000, []
    axes = {"of": ("loss", "noise"), "reading": plane.READINGS, "sigma_eps": (1.0, 3.0)}
    for setting in settings(axes):
        name, reading, sigma_eps = setting.values()
        start = plane.draw_start(reading, n, seed=5)
        course = flow.closed_form(t, **start, sigma_eps=sigma_eps)
        values = course.loss if name == "loss" else abs(course.u)
        tau = _formula[name](start["w1"], start["w0"], sigma_eps, 1.0) * np.ones(n)
        kept = abs(time_to(t, values.T).each / tau - 1) < 0.1
        cells.append(Cell.of(setting, kept, kept.mean() > 0.95, mended=True))
    noise, loss = ([c.value for c in cells if c.setting["of"] == of] for of in ("noise", "loss"))
    return Finding.over(
        cells,
        "Both are exponentials of an integral, exactly; but the rate changes while the model "
        f"learns. The noise weight keeps its first rate to 1/e within 10% in {min(noise):.0%} to "
        f"{max(noise):.0%} of the draws, the loss in {min(loss):.0%} to {max(loss):.0%}.",
        "share of draws that keep the first rate to 1/e within 10%",
        counted="draws",
        proof="SymPy, Riccati's equation",
    )


@claim(
    "C28-LIN",
    "The loss falls according to the trace of the full Hessian, the noise weight according to that "
    "of the local one.",
    "Sec. 4, App. D",
    "two_times#tau-ratio",
)
def rates_by_traces() -> Finding:
    """Measure both rates by SGD and divide by the traces; prove the factors."""
    exact = sympy.simplify(theory.change(linear.MISFIT**2, back_reaction=False)
                           / linear.MISFIT**2 * theory.TAU_LOSS) == -1  # fmt: skip
    cells, others = [], []
    for setting in settings(_RATES):
        loss, noise, _ = _first_rates(**setting)
        good = exact and _near(loss, 1) and _near(noise, 1)
        cells.append(Cell.of(setting, 2 * loss, _near(2 * loss, 1), good))
        others.append(float(noise.mean()))
    return Finding.over(
        cells,
        "They do, at twice the trace for the loss, and at the noise's variance times the trace for "
        f"the noise weight (measured: {min(others):.3f} to {max(others):.3f} times that).",
        "rate of the loss over the trace of the full Hessian",
        counted="draws",
        proof="SymPy for the first rate",
    )


@claim(
    "C29",
    "The time scales of noise weight and loss differ by a factor and by the weight of the first "
    "layer.",
    "Sec. 4",
    "two_times#fig-tau",
)
def ratio_of_times() -> Finding:
    """Compare the measured ratio of the times with 2 (sigma_x/sigma_eps)^2 (1 + (w0/w1)^2)."""
    cells = []
    for setting in settings(_RATES):
        loss, noise, formula = _first_rates(**setting)
        ratio = loss / noise  # measured over formula: a rate is one over a time
        spread = float(np.corrcoef(np.log(formula * ratio), np.log(formula))[0, 1])
        cells.append(Cell.of(setting, ratio, _near(ratio, 1) and spread > 0.99))
    return Finding.over(
        cells,
        "So they do: the ratio is 2 (sigma_x/sigma_eps)² (1 + (w0/w1)²). Over normal initial "
        "weights the last factor has no mean.",
        "measured ratio of the times over this formula",
        counted="draws",
    )


@claim(
    "C30",
    "For small learning rates SGD on the linear model becomes a set of coupled Langevin equations.",
    "Sec. 4",
    "sgd_and_flow#langevin",
)
def langevin_limit() -> Finding:
    """Measure how fast averages of SGD and of the Langevin equation meet, and their variances."""
    cells = []
    for start in ({"w1": 0.9, "u": 0.8, "w0": 0.2}, {"w1": 0.5, "u": -0.6, "w0": 0.7}):
        for setting in settings({"sigma_eps": (1.0,), "batch_size": (20, 100)}):
            order, err, off, n = _meeting(start | setting)
            # The next order of eta bends the line by a few percent at these eta.
            good = abs(order - 1) < 0.05 + SIGMAS * err and off < SIGMAS * np.sqrt(2 / n) + ETAS[-1]
            cells.append(Cell(start | setting, order, err, n, good))
    return Finding.over(
        cells,
        "Averages meet in proportion to the learning rate, and variances agree. In the limit "
        "itself the noise is gone and the gradient flow is left.",
        "power of the learning rate with which averages approach each other",
        counted="runs",
    )


def _meeting(start: dict[str, float]) -> tuple[float, float, float, int]:
    """Return the order at which averages meet, its error, how far off variances are, and paths."""
    end, n, paths = 2.0, 200_000, 20_000
    gap, gap_err, variance = [], [], []
    for seed, eta in enumerate(ETAS):
        many: dict[str, Any] = {**start, "eta": eta, "w1": np.full(n, start["w1"])}
        sgd = simulate(**many, steps=round(end / eta), seed=seed)
        rows = np.array([sgd.w1[-1], sgd.u[-1], sgd.w0[-1]])
        path = flow.langevin(t=end, runs=paths, eta=eta, **start, seed=seed)  # type: ignore[arg-type]
        gap.append((rows.mean(1) - path.mean(1))[2])  # w0 has the largest gap
        gap_err.append(np.sqrt(rows.var(1)[2] / n + path.var(1)[2] / paths))
        variance.append(rows.var(1) / path.var(1))
    weight = np.abs(gap) / np.array(gap_err)
    fit, cov = np.polyfit(np.log(ETAS), np.log(np.abs(gap)), 1, w=weight, cov="unscaled")
    return float(fit[0]), float(np.sqrt(cov[0, 0])), float(abs(variance[-1] - 1).max()), paths
