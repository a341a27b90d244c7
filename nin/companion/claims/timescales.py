"""The claims of Sec. 4 and App. D on the linear model: rates, time scales, the continuous limit."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy

from nin.companion.claims.finding import Finding, Verdict
from nin.companion.claims.ledger import SIGMAS, claim
from nin.linear import flow, plane
from nin.linear.model import simulate
from nin.runs.times import time_to
from nin.theory import closed_form as theory
from nin.theory import symbols as s
from nin.theory import two_layer as linear

_RUNS, _STEPS, _ETA, _BATCH = 4000, 20, 1e-4, 1000
_formula = {
    name: sympy.lambdify((s.w1, s.w0, s.sigma_eps, s.sigma_x), expression, "numpy")
    for name, expression in (
        ("loss", theory.TAU_LOSS), ("noise", theory.TAU_NOISE), ("ratio", theory.TAU_RATIO)
    )
}  # fmt: skip


def _first_rates(draws: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measure the rates at which clean loss and w_NI begin to fall, by SGD in small steps.

    Returns:
        Rate of the loss without a node, (draws,); rate of w_NI, (draws,); over 4000 runs each, per
        flow time and over the formulas of `TAU_LOSS` and `TAU_NOISE`; and their ratio's formula.
    """
    g = np.random.default_rng(8)
    start: dict[str, Any] = {
        "w1": g.uniform(0.5, 1.5, draws)[:, None] * np.ones(_RUNS),
        "u": 0.5,
        "w0": g.uniform(-1, 1, draws)[:, None],
    }
    setting: dict[str, Any] = {"eta": _ETA, "batch_size": _BATCH, "steps": _STEPS, "M": 3.0}
    time = _ETA * _STEPS
    without = simulate(**start, **setting, sigma_eps=0.0, seed=1)
    with_noise = simulate(**start, **setting, sigma_eps=2.0, seed=2)
    loss = without.clean_loss.mean(2)
    u = with_noise.u.mean(2)
    of = (start["w1"][:, 0], start["w0"][:, 0], 2.0, 1.0)
    return (
        -np.log(loss[-1] / loss[0]) / time * _formula["loss"](*of),
        -np.log(u[-1] / u[0]) / time * _formula["noise"](*of),
        _formula["ratio"](*of),
    )


@claim(
    "C6-LIN",
    "Loss and noise weight of the linear model evolve exponentially, with one time scale each.",
    "App. D, below Eq. (25)",
    "timescales",
)
def exponential_with_one_time() -> Finding:
    """Compare the time in which the loss falls to 1/e with what its first rate promises."""
    t, start = np.linspace(0, 8, 1601), plane.draw_start("A", 1000, seed=5)
    course = flow.closed_form(t, **start, sigma_eps=3.0)
    share = {}
    for name in ("loss", "noise"):
        values = course.loss if name == "loss" else abs(course.u)
        tau = _formula[name](start["w1"], start["w0"], 3.0, 1.0) * np.ones(1000)
        kept = time_to(t, values.T).each / tau
        share[name] = float(np.mean(abs(kept - 1) < 0.1))
    p = share["loss"]
    verdict = Verdict.REPRODUCED if p > 0.95 else Verdict.CORRECTED
    return Finding(
        verdict,
        "Both are exponentials of an integral, exactly; but the rate changes while the model "
        f"learns. The noise weight keeps its first rate to 1/e within 10% in {share['noise']:.0%} "
        "of the draws, the loss less often.",
        p,
        float(np.sqrt(p * (1 - p) / 1000)),
        1000,
        "share of draws whose loss keeps its first rate to 1/e within 10%",
    )


@claim(
    "C28-LIN",
    "The loss falls according to the trace of the full Hessian, the noise weight according to that "
    "of the local one.",
    "Sec. 4, App. D",
    "timescales",
)
def rates_by_traces() -> Finding:
    """Measure both rates by SGD and divide by the traces; prove the factors."""
    loss, noise, _ = _first_rates(100)
    exact = sympy.simplify(theory.change(linear.MISFIT**2, back_reaction=False)
                           / linear.MISFIT**2 * theory.TAU_LOSS) == -1  # fmt: skip
    value, err = float(2 * loss.mean()), float(2 * loss.std(ddof=1) / np.sqrt(len(loss)))
    other, other_err = float(noise.mean()), float(noise.std(ddof=1) / np.sqrt(len(noise)))
    # Twenty steps of 1e-4 change a rate by up to about one percent.
    good = abs(value / 2 - 1) < 0.01 + SIGMAS * err and abs(other - 1) < 0.01 + SIGMAS * other_err
    factor_2 = abs(value - 1) > SIGMAS * err
    return Finding(
        Verdict.CORRECTED if exact and good and factor_2 else Verdict.DIFFERS,
        "They do, at twice the trace for the loss, and at the noise's variance times the trace for "
        f"the noise weight (measured: {other:.3f} times that).",
        value,
        err,
        len(loss),
        "rate of the loss over the trace of the full Hessian",
    )


@claim(
    "C29",
    "The time scales of noise weight and loss differ by a factor and by the weight of the first "
    "layer.",
    "Sec. 4",
    "timescales",
)
def ratio_of_times() -> Finding:
    """Compare the measured ratio of the times with 2 (sigma_x/sigma_eps)^2 (1 + (w0/w1)^2)."""
    loss, noise, formula = _first_rates(100)
    ratio = loss / noise  # measured over formula: a rate is one over a time
    value, err = float(ratio.mean()), float(ratio.std(ddof=1) / np.sqrt(len(ratio)))
    spread = float(np.corrcoef(np.log(formula * ratio), np.log(formula))[0, 1])
    good = abs(value - 1) < 0.01 + SIGMAS * err and spread > 0.99
    return Finding(
        Verdict.REPRODUCED if good else Verdict.DIFFERS,
        "So they do: the ratio is 2 (sigma_x/sigma_eps)^2 (1 + (w0/w1)^2). Over normal initial "
        "weights the last factor has no mean.",
        value,
        err,
        len(ratio),
        "measured ratio of the times over this formula",
    )


@claim(
    "C30",
    "For small learning rates SGD on the linear model becomes a set of coupled Langevin equations.",
    "Sec. 4",
    "timescales",
)
def langevin_limit() -> Finding:
    """Measure how fast averages of SGD and of the Langevin equation meet, and their variances."""
    start: dict[str, Any] = {"w1": 0.9, "u": 0.8, "w0": 0.2, "sigma_eps": 1.0}
    etas, end, n, paths = np.array([0.1, 0.05, 0.025]), 2.0, 200_000, 20_000
    gap, gap_err, variance = [], [], []
    for seed, eta in enumerate(etas):
        setting: dict[str, Any] = {"eta": eta, "batch_size": 20}
        many: dict[str, Any] = {**start, "w1": np.full(n, start["w1"])}
        sgd = simulate(**many, **setting, steps=round(end / eta), seed=seed)
        rows = np.array([sgd.w1[-1], sgd.u[-1], sgd.w0[-1]])
        path = flow.langevin(t=end, runs=paths, **start, **setting, seed=seed)
        gap.append((rows.mean(1) - path.mean(1))[2])  # w0 has the largest gap
        gap_err.append(np.sqrt(rows.var(1)[2] / n + path.var(1)[2] / paths))
        variance.append(rows.var(1) / path.var(1))
    weight = np.abs(gap) / np.array(gap_err)
    fit, cov = np.polyfit(np.log(etas), np.log(np.abs(gap)), 1, w=weight, cov="unscaled")
    order, err = float(fit[0]), float(np.sqrt(cov[0, 0]))
    off = float(abs(variance[-1] - 1).max())
    # The next order of eta bends the line by a few percent at these eta.
    good = abs(order - 1) < 0.05 + SIGMAS * err and off < SIGMAS * np.sqrt(2 / paths) + etas[-1]
    return Finding(
        Verdict.REPRODUCED if good else Verdict.DIFFERS,
        "Averages meet in proportion to the learning rate, and variances agree. In the limit "
        "itself the noise is gone and the gradient flow is left.",
        order,
        err,
        n,
        "power of the learning rate with which averages approach each other",
    )
