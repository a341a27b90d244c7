"""The claims on curvature in training, tested on the committed windows of real steps."""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np

from nin.companion.claims.finding import Cell, Finding, Verdict, judge
from nin.companion.claims.ledger import SIGMAS, claim
from nin.companion.course_groups import by_layer_and_strength, phase_slopes, runs_at_layers
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
"""The Hessian sets the scale of the pull if it is right within this factor on average."""
FLOOR = 1.5
"""|w_ni| rests where it is predicted to if it does so within this factor at every strength."""
EXACT = 0.01
"""Of the quadrature over the noise."""
ACTING = (Phase.DECAY, Phase.CATAPULT)
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
    PAGE,
)
def curvature_dictates() -> Finding:
    """Compare the pull of real steps with the Hessian's, and with that averaged over the noise."""
    decay, catapult = (phase_slopes(paper_courses().values(), p) for p in ACTING)
    (value, err), (later, later_err) = mean(decay), mean(catapult)
    smooth = window_courses(smooth_runs(), WINDOWS)
    averaged = np.concatenate([c.exact / c.averaged for c in smooth])
    exact = bool(np.abs(averaged - 1).max() < EXACT)
    if abs(value - 0.5) < SIGMAS * err and abs(value - 1) > SIGMAS * err:
        verdict = Verdict.REPRODUCED
    elif exact and 1 / SCALE < value < SCALE:
        verdict = Verdict.CORRECTED
    else:
        verdict = Verdict.DIFFERS
    return Finding(
        verdict,
        f"In the decay phase the Hessian sets the scale, with twice the printed factor; windows "
        f"scatter from {decay.min():.2f} to {decay.max():.2f}: kinks, and noise that reaches far. "
        f"In the catapult phase it is {later:.2f} +- {later_err:.2f}. What dictates is curvature "
        f"averaged over the noise: in a smooth network exactly, at any strength.",
        value,
        err,
        len(decay),
        "measured over the Hessian's pull in the decay phase, mean over windows; 0.5 as printed",
    )


@claim("C33", "Nodes at other layers would see other parts of the Hessian.", "Secs. 4, 5", PAGE)
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
    rows = [[c.size[w] / predicted_floor(c, w) for w in range(len(LATE_STARTS))] for c in found]
    each = np.mean(rows, 1).reshape(len(LATE_K), -1).mean(1)
    value, err = mean(each)
    near = bool((each > 1 / FLOOR).all() and (each < FLOOR).all())
    sizes = [c.size.mean() for c in found]
    return Finding(
        Verdict.REPRODUCED if near else Verdict.DIFFERS,
        f"It comes to rest {'about there' if near else 'elsewhere'}, at a length that the noise "
        f"strength hardly moves: {min(sizes):.2f} to {max(sizes):.2f} over a range of "
        f"{max(LATE_K) / min(LATE_K):.0f} in variance. The ratio is {each.max():.2f} under weak "
        f"and {each.min():.2f} under strong noise.",
        value,
        err,
        len(each),
        "|w_ni| in the second and third epoch over the length predicted from gradient and Hessian, "
        "mean over strengths",
    )
