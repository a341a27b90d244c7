"""The claims on curvature in training, tested on the committed windows of real steps."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import lru_cache

import numpy as np

from nin.companion.claims.finding import Cell, Finding, Verdict, judge
from nin.companion.claims.ledger import claim
from nin.companion.course_groups import (
    by_layer_and_strength,
    runs_at_layers,
    seed_slopes,
    strength_slopes,
)
from nin.runs.averages import mean
from nin.runs.phases import Phase
from nin.studies.experiments import FIG1
from nin.studies.windows import (
    DEEPER_K,
    K_VALUES,
    LATE_K,
    LATE_STARTS,
    LAYERS,
    SEEDS,
    WINDOWS,
    Course,
    late_runs,
    predicted_floor,
    smooth_runs,
    window_courses,
)

PAGE = "figures/curvature"
SCALE = 2.0
"""The Hessian sets the scale of the pull if it is right within this factor."""
FLOOR = 1.5
"""|w_ni| rests where it is predicted to if it does so within this factor at every strength."""
EXACT = 0.01
"""Of the quadrature over the noise."""
DECAYS = 0.01
"""K of Fig. 1, center: the weakest noise at which the weights decay, over a hundred epochs."""
FOLLOWS = 0.7
"""Correlation of logarithms above which one follows the other: half of the variance."""


@lru_cache
def paper_courses() -> dict[tuple[str, float], list[Course]]:
    """Return the runs of Fig. 1's network by layer and K, one course per seed."""
    runs = runs_at_layers(FIG1, LAYERS, K_VALUES, DEEPER_K, SEEDS)
    return by_layer_and_strength(window_courses(runs, WINDOWS))


@claim(
    "C3",
    "In the decay and catapult phases the local curvature dictates how the noise weights move.",
    "Sec. 1",
    f"{PAGE}#fig-curvature-slopes",
)
def curvature_dictates() -> Finding:
    """Compare the pull of real steps with the Hessian's by layer, strength and time."""
    cells, kinked = [], {}
    printed = True
    for (layer, K), found in paper_courses().items():
        if K < DECAYS:
            continue
        for w, start in enumerate(found[0].starts):
            slopes = seed_slopes(found, w)
            if len(slopes):
                value = slopes.mean()
                printed &= 1 / 8 < value**2 < 1 / 2  # nearer to 1/2 than to 1 or 1/4
                setting = {"layer": layer.removeprefix("layers."), "K": K, "step": start}
                cells.append(Cell.of(setting, slopes, False, 1 / SCALE < value < SCALE))
                kinked[layer, K, start] = seed_slopes(found, w, True).mean()
    cells = [replace(c, holds=printed) for c in cells]
    first = {K: mean(strength_slopes(found)) for (x, K), found in paper_courses().items()
             if x == LAYERS[0] and K >= DECAYS}  # fmt: skip
    weak = [slope for (_, K, _), slope in kinked.items() if K == DECAYS]
    smooth = window_courses(smooth_runs(), WINDOWS)
    averaged = np.concatenate([c.exact / c.averaged for c in smooth])
    says = (
        f"As printed, with 1/2, everywhere: {min(c.value for c in cells):.2f} and more."
        if printed
        else "The Hessian alone, with twice the printed factor, sets the scale at "
        f"{sum(c.mended for c in cells)} of {len(cells)} settings. At the first layer the pull is "
        + ", ".join(f"{v:.2f} (K = {K:g})" for K, (v, _) in first.items())
        + " of it. Weak noise is furthest off: there the kinks of ReLU pull as hard as the "
        f"Hessian, and with them it is {min(weak):.2f} to {max(weak):.2f} at K = {DECAYS:g}. "
        "Strong noise reaches beyond any second order."
    )
    if np.abs(averaged - 1).max() < EXACT:
        says += " Curvature averaged over Gaussian noise gives the pull exactly, without kinks."
    return Finding.over(
        cells,
        says,
        f"measured over the Hessian's pull, 0.5 as printed; the value is that of K = {DECAYS:g} "
        "at the first layer",
        value=(*first[DECAYS], len(SEEDS)),
        printed=0.5,
    )


@claim(
    "C33",
    "Nodes at other layers would see other parts of the Hessian.",
    "Secs. 4, 5",
    f"{PAGE}#fig-curvature-slopes",
)
def layers_differ() -> Finding:
    """Compare the ratio of rates at each later layer and the first with the Hessians'."""
    groups = paper_courses()
    cells, measured, said = [], [], []
    for layer, K in itertools.product(LAYERS[1:], DEEPER_K):
        pairs = list(zip(groups[LAYERS[0], K], groups[layer, K], strict=True))
        if any(Phase.CATAPULT in (first.phase, later.phase) for first, later in pairs):
            continue
        rates = np.log([later.exact / first.exact for first, later in pairs])  # (seeds, windows)
        hessians = np.log([b.curvature[:, 0] / a.curvature[:, 0] for a, b in pairs])
        off, err = mean((rates - hessians).mean(1))
        good = abs(off) < np.log(SCALE)
        setting = {"layer": layer.removeprefix("layers."), "K": K}
        cells.append(Cell(setting, float(np.exp(off)), float(np.exp(off) * err), len(pairs), good))
        measured.append(rates)
        said.append(hessians)
    low, high, least, most = np.exp([f(x) for x in (measured, said) for f in (np.min, np.max)])
    return Finding.over(
        cells,
        f"{'They do' if judge(cells) == Verdict.REPRODUCED else 'Not always'}: a later layer's "
        f"rate is {low:.1f} to {high:.1f} times the first's, by the Hessians {least:.1f} to "
        f"{most:.1f}.",
        "that ratio of rates, measured over the Hessians', geometric mean outside catapults",
    )


@claim(
    "C10-NET",
    "The NIWs decay until the kick of Eq. (2), of mean zero, is as large as the pull.",
    "Sec. 3",
    "figures/fig1_timescales",
)
def network_floor() -> Finding:
    """Compare |w_ni| late in training with the length at which kicks and pull balance."""
    found = window_courses(late_runs(), WINDOWS, LATE_STARTS)
    windows = range(len(LATE_STARTS))
    each = np.array([np.mean([c.size[w] / predicted_floor(c, w) for w in windows]) for c in found])
    cells = [
        Cell.of({"K": K}, ratios, bool((ratios > 1 / FLOOR).all() and (ratios < FLOOR).all()))
        for K, ratios in zip(LATE_K, each.reshape(len(LATE_K), -1), strict=True)
    ]
    near = judge(cells) == Verdict.REPRODUCED
    sizes = [c.size.mean() for c in found]
    return Finding.over(
        cells,
        f"It comes to rest {'about there' if near else 'elsewhere'}, at a length that the noise "
        f"strength hardly moves: {min(sizes):.2f} to {max(sizes):.2f} over a range of "
        f"{max(LATE_K) / min(LATE_K):.0f} in variance. The ratio is {cells[0].value:.2f} under "
        f"weak and {cells[-1].value:.2f} under strong noise.",
        "|w_ni| in the second and third epoch over the length predicted from gradient and Hessian, "
        "mean over the windows of a seed",
    )
