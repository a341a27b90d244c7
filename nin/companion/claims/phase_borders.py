"""The claims on where a network's phases end, tested on the committed borders."""

from __future__ import annotations

import dataclasses
import itertools
from functools import lru_cache
from typing import Any

import numpy as np

from nin.companion.claims.finding import Cell, Finding, Verdict, judge
from nin.companion.claims.ledger import claim
from nin.runs.averages import mean
from nin.runs.crossings import Crossings
from nin.studies.borders.forecasts import Forecast, forecast
from nin.studies.borders.grid import (
    BOUNDED_EPOCHS,
    BOUNDED_LONG,
    BOUNDED_SIGMA_EPS,
    COARSE,
    DEEP_SEEDS,
    FACTORIAL_BASE,
    FACTORIAL_LEVELS,
    FACTORIAL_SEEDS,
    FACTORIAL_STEPS,
    FINE,
    IMAGES_BASE,
    PARTS_K,
    TABLE1_SEEDS,
    TABLE1_STEPS,
    agreement,
    deeper,
    factorial,
    parts_grid,
    table1_range,
)
from nin.studies.borders.image_parts import PARTS, borders_by_part
from nin.studies.borders.lost import SWEPT, lost_crossings
from nin.studies.borders.saturation import BOUNDED, Outcomes, outcomes
from nin.studies.borders.search import (
    ACTIVATIONS_SHELF,
    BORDERS_SHELF,
    K_RANGE,
    PREDICTED_SHELF,
    find_borders,
)
from nin.studies.experiments import FIG2, TABLE1, Experiment

PAGE, PREDICTED = "figures/network_borders", "figures/predicted_borders"
ACTIVATIONS = "figures/activations"
UPPER = ("catapult", "divergent")
NEAR = 1.1
"""A prediction is near within this factor in sigma_eps: three seeds and brackets make 4 % of it."""
LOSSES = {"mse": "the squared error", "ce": "cross-entropy"}


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
    asked = FACTORIAL_SEEDS, FACTORIAL_STEPS, PREDICTED_SHELF
    near = {e: said.noise_only for e, said in factorial_forecasts().items()}
    return find_borders(grid, UPPER, *asked, tolerance=COARSE, around=near)


@lru_cache
def factorial_forecasts() -> dict[Experiment, Forecast]:
    """Return the predictions for each configuration of the factorial."""
    grid = factorial(FACTORIAL_BASE, FACTORIAL_LEVELS)
    return {e: forecast(e, FACTORIAL_SEEDS, FACTORIAL_STEPS, PREDICTED_SHELF) for e in grid}


def border_ratios(method: str, border: str) -> dict[Experiment, np.ndarray]:
    """Return predicted over measured sigma_eps, (seeds,), where there is such a border.

    Where none is predicted in the range that is looked at, its end stands for it: the ratio is at
    least that. Seeds without a prediction do not count beside a majority that have one.

    Args:
        method: One of `nin.studies.borders.forecasts.METHODS`.
        border: ``"catapult"`` or ``"divergent"``.
    """
    found = {}
    for e, borders in factorial_borders().items():
        there = np.isfinite(borders[border])
        said = factorial_forecasts()[e].borders(method)[border][there]
        if there.any():
            known = np.isfinite(said)
            if 2 * known.sum() > len(said):
                there[there], said = known, said[known]
            end = e.at(K_RANGE[e.loss][1]).sigma_eps
            found[e] = np.minimum(said, end) / borders[border][there]
    return found


def deep_crossings() -> dict[Experiment, Crossings]:
    """Return where images throw |w_ni| for good, over where noise alone does, in sigma_eps.

    Of networks with two and three hidden layers, trained with cross-entropy.
    """
    return lost_crossings(deeper(IMAGES_BASE), DEEP_SEEDS, FACTORIAL_STEPS, BORDERS_SHELF)


def where(e: Experiment) -> dict[str, Any]:
    """Return the setting of a configuration of the factorial, for a cell."""
    words = {"width": "N_w", "batch_size": "|B|"}
    return {words.get(field, field): getattr(e, field) for field in FACTORIAL_LEVELS}


@claim(
    "C19",
    "Trained with a squared error, the network is in the phase that Table 1 names at each of its "
    "four noise variances.",
    "Fig. 2, Table 1",
    f"{PAGE}#fig-borders-seeds",
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
    f"{PREDICTED}#fig-borders-predicted",
)
def predictable() -> Finding:
    """Compare measured borders with two predictions from the initial weights."""
    cells = [
        _near(border, e, off)
        for border in UPPER
        for e, off in border_ratios("noise only", border).items()
    ]
    lost = deep_crossings()
    deep = [_near("lost", e, 1 / runs.middle) for e, runs in lost.items()]
    says = []
    for loss, name in LOSSES.items():
        ours = [c for c in cells if c.setting["loss"] == loss]
        alone = [c.value for c in ours]
        curved = [np.mean(off**2) for e, off in border_ratios("curvature", "divergent").items()
                  if e.loss == loss]  # fmt: skip
        says.append(
            f"With {name} the network trained on noise and no image is near at "
            f"{sum(c.holds for c in ours)} of {len(ours)} borders ({min(alone):.2f} to "
            f"{max(alone):.2f} of the measured K), the curvature alone gives {min(curved):.2g} to "
            f"{max(curved):.2g} of it."
        )
    told = [c.value for c in deep]
    first, last, count = (
        np.concatenate([getattr(runs, name) for runs in lost.values()])
        for name in ("first", "last", "count")
    )
    says.append(
        "With two and three hidden layers and cross-entropy no border of divergence can be told, "
        "since dead and infinite ends alternate; where |w_ni| is thrown for good in half of the "
        f"runs can: noise alone puts that at {min(told):.2f} to {max(told):.2f} of the measured K. "
        f"Of a single run less: at {len(SWEPT)} strengths, {SWEPT[0]:g} to {SWEPT[-1]:g} times "
        f"what noise alone says, {np.sum(count > 1)} of {len(count)} are thrown, kept and thrown "
        f"again, over a factor of up to {np.max(last / first) ** 2:.2g} in K, so that a search may "
        f"end where noise alone says {np.min(last**-2):.2f} to {np.max(first**-2):.2f} of its K."
    )
    return Finding.over(
        cells + deep,
        " ".join(says) + _what_images_do(),
        "K predicted from noise alone over the measured one",
    )


def _near(border: str, e: Experiment, off: np.ndarray) -> Cell:
    """Return the cell of a border predicted at so many times the measured sigma_eps, (seeds,)."""
    near = 1 / NEAR**2 < np.mean(off**2) < NEAR**2
    return Cell.of({"border": border, **where(e)}, off**2, near)


def _what_images_do() -> str:
    """Say by how much each part of the images raises cross-entropy's border of divergence."""
    seen = borders_by_part(parts_grid(), FACTORIAL_SEEDS, FACTORIAL_STEPS, PARTS_K, COARSE,
                           PREDICTED_SHELF)  # fmt: skip
    words = []
    for e, borders in seen.items():
        K = np.mean(borders**2, 1) / e.unit
        raised = ", ".join(
            f"{part} {k / K[0]:.2f}" for part, k in zip(PARTS[1:], K[1:], strict=True)
        )
        words.append(f"at eta = {e.eta:g}: {raised}")
    return (
        " What the images do to cross-entropy's K of divergence, over that without any: "
        f"{'; '.join(words)}."
    )


@claim(
    "C22",
    "Activation, loss, batch size, width and depth move the borders, but the phases persist.",
    "Sec. 3, App. A",
    f"{PREDICTED}#fig-borders-predicted-catapult",
)
def phases_persist() -> Finding:
    """Measure the catapult window of each configuration that can diverge."""
    cells, neither = [], []
    for e, borders in factorial_borders().items():
        low, high = (borders[b] for b in UPPER)
        there = np.isfinite(high)
        if there.any():
            window = high[there] / low[there]
            cells.append(Cell.of(where(e), window, window.mean() > 1 + COARSE))
        else:
            neither.append(f"{e.activation} with {LOSSES[e.loss]}")
    by_loss = {x: [c for c in cells if c.setting["loss"] == x] for x in LOSSES}
    opened = " and ".join(
        f"{sum(c.holds for c in by_loss[x])} of {len(by_loss[x])} configurations with {name}"
        for x, name in LOSSES.items()
    )
    few = [_varied(c) for c in by_loss["mse"] if c.holds]
    closed = [c.value for c in by_loss["mse"]]
    return Finding.over(
        cells,
        f"The loss decides: {opened} have a catapult window"
        + (f"; with the squared error those at {' and '.join(few)}" if few else "")
        + ". The others go from decay to divergence at once."
        + (f" Neither border is there for {' and '.join(neither)}." if neither else ""),
        "border of divergence over that of the catapult in sigma_eps; the value is that of the "
        "squared error, mean over configurations",
        value=(*mean(closed), min(c.n for c in by_loss["mse"])),
        stated=np.inf,
    )


def _varied(c: Cell) -> str:
    """Say in what a configuration differs from the factorial's base."""
    base = where(FACTORIAL_BASE)
    return ", ".join(f"{name} = {c.setting[name]}" for name in base
                     if name != "loss" and c.setting[name] != base[name])  # fmt: skip


@claim(
    "C23",
    "With a bounded activation the network fails by saturation where others diverge.",
    "Footnote 7",
    f"{ACTIVATIONS}#fig-borders-bounded",
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
        outcomes(e, sigma_eps, FACTORIAL_SEEDS, epochs, ACTIVATIONS_SHELF)
        for sigma_eps, epochs in zip(strengths, BOUNDED_EPOCHS, strict=True)
    )
    return short, long
