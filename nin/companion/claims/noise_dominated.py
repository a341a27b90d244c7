"""The claims of Sec. 3 on the linear model above sigma_cat: what rules its start, what is after."""

from __future__ import annotations

from typing import Any

import numpy as np

from nin.companion.claims.finding import Cell, Finding, settings
from nin.companion.claims.ledger import SIGMAS, claim
from nin.linear import plane
from nin.linear.model import LinearRuns, simulate
from nin.runs.averages import mean, middle
from nin.runs.phases import Phase

Array = np.ndarray
STRENGTHS, BATCHES = (14.0, 18.0, 25.0), (100, 1000)
"""Of C12's grid: the catapults of reading A that the noise weight drives."""
DECAYS = 3.0
"""Strength of a decay of the same weights to compare with: that of Fig. 2 (top)."""
FALL = 0.1
"""Share of its largest value to which a noise weight falls."""
LEARNED = 0.01
"""Share of the initial clean loss at which the data are learned."""
TARGETS = (-1.0, 3.0)
"""Other slopes to learn than the paper's 1."""
OVERLOOKED = 0.1
"""Relative difference of a weight that a reader of Fig. 2 (top) would overlook on its axis."""
MOST = 0.9
"""Share of draws from which a statement holds of the model."""
ROUGHLY = 2.0
"""Factor within which peaks are alike roughly."""
_STEPS, _EARLY, _DRAWS = 8000, 200, 2000
_KEPT = np.unique(np.rint(np.geomspace(1, _STEPS, 400)).astype(int))


def _at_once(start: dict[str, Array], sigma_eps: float) -> Array:
    """Tell which draws are above sigma_cat at the start, the noise weight in front, (draws,)."""
    curvature = plane.ETA * sigma_eps**2 * start["w1"] ** 2
    return (curvature > plane.CLAMP) & (abs(start["w1"]) > abs(start["u"]))


def _run(start: dict[str, Any], setting: dict[str, Any]) -> LinearRuns:
    return simulate(**start, **setting, eta=plane.ETA, steps=_STEPS, record=_KEPT)


def _early(start: dict[str, Any], setting: dict[str, Any], **more: float) -> LinearRuns:
    options: dict[str, Any] = setting | more
    return simulate(**start, **options, eta=plane.ETA, steps=_EARLY, record=range(_EARLY))


def times_and_curvature(runs: LinearRuns) -> dict[str, Array]:
    """Return how long each run's noise weight and data take from its peak, and what is left.

    Args:
        runs: Runs of one axis.

    Returns:
        Steps from the largest |u| to a tenth of it, and to a hundredth of the initial clean loss,
        NaN where that is not reached; w1^2 at a tenth of the peak over that at the start; (runs,).
    """
    u, peak = abs(runs.u), abs(runs.u).argmax(0)
    after = np.arange(len(runs.step))[:, None] >= peak
    low = {"|w_NI|": after & (u < FALL * u.max(0))}
    low["clean loss"] = after & (runs.clean_loss < LEARNED * runs.clean_loss[0])
    found = {
        name: np.where(below.any(0), runs.step[below.argmax(0)] - runs.step[peak], np.nan)
        for name, below in low.items()
    }
    then = np.take_along_axis(runs.w1, low["|w_NI|"].argmax(0)[None], 0)[0]
    return found | {"curvature": (then / runs.w1[0]) ** 2}


@claim(
    "C12-SLOW",
    "After a catapult the linear model behaves as in the decay phase, at a slower rate, since the "
    "curvature is smaller now.",
    "Sec. 3, Fig. 2c",
    "linear_model#fig-linear-phases",
)
def slower_after_a_catapult() -> Finding:
    """Compare curvature with that before, and times with those of the same weights in decay."""
    cells = []
    for setting in settings({"sigma_eps": STRENGTHS, "batch_size": BATCHES}):
        start = plane.draw_start("A", _DRAWS, seed=21)
        strong, weak = (_run(start, setting | more) for more in ({}, {"sigma_eps": DECAYS}))
        chosen = _at_once(start, setting["sigma_eps"])
        for runs, phase in ((strong, Phase.CATAPULT), (weak, Phase.DECAY)):
            chosen &= runs.phases() == list(Phase).index(phase)
        after, decay = times_and_curvature(strong), times_and_curvature(weak)
        ratios = {name: after[name] / decay[name] for name in ("|w_NI|", "clean loss")}
        ratios["curvature"] = after["curvature"]
        for name, each in ratios.items():
            found = each[chosen & np.isfinite(each) & (each > 0)]
            value, err = middle(found)
            log = np.log(value)
            slower = log + SIGMAS * err < 0 if name == "curvature" else log - SIGMAS * err > 0
            of = setting | {"of": name}
            cells.append(Cell(of, value, value * err, len(found), slower))
    by = {name: [c.value for c in cells if c.setting["of"] == name] for name in ratios}
    low = {name: f"{min(values):.2g} to {max(values):.2g}" for name, values in by.items()}
    return Finding.over(
        cells,
        f"The curvature is {low['curvature']} of that before. Beside a decay of the same weights "
        f"at sigma_eps = {DECAYS:g}, the noise weight takes {low['|w_NI|']} times as long from its "
        f"peak to a tenth, since the variance of the noise makes up for the curvature; the data "
        f"take {low['clean loss']} times as long to learn.",
        "geometric mean: curvature when a tenth of the peak is left over that before, or time over "
        "that of a decay; the value is the curvature's",
        value=(*mean(by["curvature"]), min(c.n for c in cells)),
        stated=0,
        counted="draws",
    )


@claim(
    "C39",
    "Above sigma_cat the early dynamics ignores the learning objective: it is that of a network "
    "trained on random data without labels.",
    "Sec. 3",
    "linear_model#fig-linear-phases",
)
def early_dynamics_without_objective() -> Finding:
    """Follow the same weights and batches with another slope to learn, and with no data at all.

    Early is until the noise alone has brought its weight to the peak. It holds if both weights are
    then the same but for a tenth, and with a correction if the largest |w_NI| is but for a factor.
    """
    cells, rough = [], dict[str, list[float]]()
    for setting in settings({"sigma_eps": STRENGTHS, "batch_size": BATCHES}):
        start = plane.draw_start("A", _DRAWS, seed=24)
        as_is, alone = (_early(start, setting, **more) for more in ({}, {"sigma_x": 0.0}))
        others = {f"M = {M:g}": _early(start, setting, M=M) for M in TARGETS} | {"no data": alone}
        chosen = _at_once(start, setting["sigma_eps"]) & ~alone.diverged
        peak = abs(alone.u).argmax(0)[None]
        for name, other in others.items():
            pairs = ((as_is.u, other.u), (as_is.w1, other.w1))
            here = [[np.take_along_axis(abs(w), peak, 0)[0] for w in pair] for pair in pairs]
            same = np.all([abs(b / a - 1) < OVERLOOKED for a, b in here], 0)[chosen]
            higher = abs(np.log(other.peaks[0] / as_is.peaks[0]))[chosen]
            near = float(np.mean(higher < np.log(ROUGHLY)))
            rough.setdefault(name, []).append(near)
            cells.append(Cell.of(setting | {"other": name}, same, same.mean() > MOST, near > MOST))
    by = {name: [c.value for c in cells if c.setting["other"] == name] for name in others}
    exact, roughly = (
        ", ".join(f"{name} {min(v):.0%} to {max(v):.0%}" for name, v in found.items())
        for found in (by, rough)
    )
    return Finding.over(
        cells,
        "When noise alone is at its peak, |w_NI| and |w1| are with another objective within "
        f"{OVERLOOKED:.0%} of what they are with M = 1 in so many draws: {exact}. The largest "
        f"|w_NI| of {_EARLY} steps is within a factor {ROUGHLY:g} in: {roughly}. So the objective "
        "hardly matters, but for a steep one, and exact it is not: the data kick the noise weight "
        "through each batch's correlations, most in small batches, before the noise multiplies it.",
        "share of draws whose weights are the same at the peak",
        counted="draws",
    )
