"""The claims on where a network's phases end, tested on the committed borders."""

from __future__ import annotations

import dataclasses
import itertools
from functools import lru_cache

import numpy as np

from nin.companion.claims.finding import Cell, Finding, Verdict, judge
from nin.companion.claims.ledger import claim
from nin.companion.comparisons import compare
from nin.runs.averages import mean, middle
from nin.studies.borders.forecasts import Forecast, forecast
from nin.studies.borders.grid import (
    BOUNDED_EPOCHS,
    BOUNDED_LONG,
    BOUNDED_SIGMA_EPS,
    COARSE,
    FACTORIAL_BASE,
    FACTORIAL_LEVELS,
    FACTORIAL_SEEDS,
    FACTORIAL_STEPS,
    FINE,
    TABLE1_SEEDS,
    TABLE1_STEPS,
    agreement,
    factorial,
    table1_range,
)
from nin.studies.borders.saturation import BOUNDED, Outcomes, outcomes
from nin.studies.borders.search import BORDERS_SHELF, find_borders
from nin.studies.experiments import FIG2, TABLE1, Experiment

PAGE = "figures/network_borders"
UPPER = ("catapult", "divergent")
NEAR = 1.2
"""A prediction is near within this factor in sigma_eps: seeds and batches make 5 % of it."""


@lru_cache
def fig2_borders() -> dict[str, np.ndarray]:
    """Return the upper borders of Fig. 2's experiment in sigma_eps, (seeds,) each."""
    steps, where = TABLE1_STEPS["fig2"], table1_range(FIG2)
    found = find_borders([FIG2], UPPER, TABLE1_SEEDS, steps, BORDERS_SHELF, K=where, tolerance=FINE)
    return found[FIG2]


@lru_cache
def factorial_borders() -> dict[Experiment, dict[str, np.ndarray]]:
    """Return the upper borders of each configuration of the factorial, (seeds,) each."""
    grid = factorial(FACTORIAL_BASE, FACTORIAL_LEVELS)
    return find_borders(
        grid, UPPER, FACTORIAL_SEEDS, FACTORIAL_STEPS, BORDERS_SHELF, tolerance=COARSE
    )


@lru_cache
def factorial_forecasts() -> dict[Experiment, Forecast]:
    """Return the predictions for each configuration of the factorial."""
    grid = factorial(FACTORIAL_BASE, FACTORIAL_LEVELS)
    return {e: forecast(e, FACTORIAL_SEEDS, FACTORIAL_STEPS, BORDERS_SHELF) for e in grid}


def factors_off(method: str, border: str, loss: str) -> np.ndarray:
    """Return the factor between predicted and measured sigma_eps, where both are there."""
    points, _ = compare(factorial_borders(), factorial_forecasts(), method, border)
    return np.exp(np.abs(np.log([p.ratio for p in points if p.loss == loss])))


@claim(
    "C19",
    "Trained with a squared error, the network is in the phase that Table 1 names at each of its "
    "four noise variances.",
    "Fig. 2, Table 1",
    PAGE,
)
def table_1_mse() -> Finding:
    """Ask for each seed on which side of its own borders the values of Table 1 lie."""
    shares = agreement(fig2_borders(), FIG2, "fig2")
    K = fig2_borders()["divergent"] ** 2 / FIG2.unit
    wrong = [f"{TABLE1['fig2'][phase]:g}" for phase, share in shares.items() if share <= 0.5]
    border = f"training diverges above {K.mean():.3g} in its unit, from {K.min():.3g} to "
    says = f"{border}{K.max():.3g} by seed"
    n = len(K)
    cells = [
        Cell({"figure": "2", "K": TABLE1["fig2"][phase]}, share, (share * (1 - share) / n) ** 0.5,
             n, share > 0.5)
        for phase, share in shares.items()
    ]  # fmt: skip
    return Finding.over(
        cells,
        f"Not for {' and '.join(wrong)}: {says}." if wrong else f"For most seeds: {says}.",
        "share of seeds in the phase of Table 1",
    )


@claim(
    "C11-NET",
    "The initial weights tell at which noise the phases of a network end.",
    "Sec. 3",
    PAGE,
)
def predictable() -> Finding:
    """Compare measured borders of divergence with two predictions from the initial weights."""
    losses = FACTORIAL_LEVELS["loss"]
    curvature = {x: factors_off("curvature", "divergent", x) for x in losses}
    alone = np.concatenate([factors_off("noise only", "divergent", x) for x in losses])
    medians = {x: float(np.median(off)) for x, off in curvature.items()}
    median = float(np.median(alone))
    fails = [x for x, m in medians.items() if m > NEAR]
    if median > NEAR:
        verdict, says = Verdict.DIFFERS, "No prediction comes near the measured borders."
    elif fails:
        verdict = Verdict.CORRECTED
        says = (
            f"The curvature alone is off by a median factor {medians['mse']:.2f} for the squared "
            f"error and {medians['ce']:.2f} for cross-entropy; the initial network trained on "
            "noise without data finds both."
        )
    else:
        verdict, says = Verdict.REPRODUCED, "The curvature of the noisy loss tells it for both."
    draws = np.random.default_rng(0).choice(alone, (1000, len(alone)))  # bootstrap
    return Finding(
        verdict,
        says,
        median,
        float(np.median(draws, 1).std(ddof=1)),
        len(alone),
        "median factor between sigma_eps predicted from noise alone and measured, divergence",
    )


@claim(
    "C22",
    "Activation, loss, batch size, width and depth move the borders, but the phases persist.",
    "Sec. 3, App. A",
    PAGE,
)
def phases_persist() -> Finding:
    """Count the configurations whose catapult window is open, and those without divergence."""
    window: list[bool] = []
    bounded: list[Experiment] = []
    unbounded: list[Experiment] = []
    for e, borders in factorial_borders().items():
        low, high = (middle(borders[b])[0] for b in UPPER)
        if np.isnan(high):
            (bounded if e.activation == "tanh" else unbounded).append(e)
        else:
            window.append(bool(high / low > 1 + COARSE))
    share, err = mean(window)
    total = len(window) + len(bounded) + len(unbounded)
    if all(window) and not bounded and not unbounded:
        verdict, says = Verdict.REPRODUCED, "All phases are there in all configurations."
    else:
        verdict = Verdict.CORRECTED if not unbounded else Verdict.DIFFERS
        says = (
            f"Of {total} configurations {sum(window)} have a catapult window, "
            f"{len(window) - sum(window)} go from decay to divergence at once, and "
            f"{len(bounded) + len(unbounded)} have neither border; tanh never does."
        )
    return Finding(
        verdict,
        says,
        share,
        err,
        len(window),
        "share of configurations with a catapult window, of those that can diverge",
    )


@claim(
    "C23",
    "With a bounded activation the network fails by saturation where others diverge.",
    "Footnote 7",
    PAGE,
)
def bounded_activations() -> Finding:
    """Look for borders of bounded activations, and at their runs where ReLU's are lost.

    Learning is compared at the strongest noise, after a short and a long training, with that at
    the weakest.
    """
    cells, ends = [], []
    for loss, activation in itertools.product(FACTORIAL_LEVELS["loss"], BOUNDED):
        short, long = bounded_outcomes(loss, activation)
        weak, strong, later = (
            float(a.mean()) for a in (short.accuracy[0], short.accuracy[-1], long.accuracy[-1])
        )
        share = short.saturated[-1]
        fails = not (short.diverged.any() or long.diverged.any()) and strong < weak / 2
        fails &= share.mean() > 0.5 and not _has_border(loss, activation)
        setting = {"activation": activation, "loss": loss, "sigma_eps": BOUNDED_SIGMA_EPS[-1]}
        cells.append(Cell.of(setting, share, fails and later < 1.5 * strong, fails))
        ends.append((weak, strong, later))
    weak, strong, later = np.mean(ends, 0)
    verdict = judge(cells)
    says = (
        "No run diverges, however strong the noise; most neurons saturate, and after one epoch "
        f"accuracy is {strong:.2f} in place of {weak:.2f}."
    )
    if verdict == Verdict.CORRECTED:
        says += f" But learning is slow rather than at an end: {BOUNDED_EPOCHS[1]} epochs reach "
        says += f"{later:.2f}."
    elif verdict != Verdict.REPRODUCED:
        says = "Some runs diverge, or learn nonetheless, or few of their neurons saturate."
    return Finding.over(cells, says, "share of saturated neurons at the largest noise")


def _has_border(loss: str, activation: str) -> bool:
    """Return whether the factorial found a border of divergence for an activation in it."""
    e = dataclasses.replace(FACTORIAL_BASE, activation=activation, loss=loss)
    borders = factorial_borders().get(e)
    return borders is not None and bool(np.isfinite(borders["divergent"]).any())


def bounded_outcomes(loss: str, activation: str) -> tuple[Outcomes, Outcomes]:
    """Return how runs of a bounded activation end: short ones, and long ones at strong noise."""
    e = dataclasses.replace(FACTORIAL_BASE, loss=loss, activation=activation)
    strengths = BOUNDED_SIGMA_EPS, BOUNDED_SIGMA_EPS[-BOUNDED_LONG:]
    short, long = (
        outcomes(e, sigma_eps, FACTORIAL_SEEDS, epochs, BORDERS_SHELF)
        for sigma_eps, epochs in zip(strengths, BOUNDED_EPOCHS, strict=True)
    )
    return short, long
