"""The claims of Sec. 3 on what the linear model does, tested by exact simulation."""

from __future__ import annotations

from typing import Any

import numpy as np

from nin.companion.claims.finding import Cell, Finding, Verdict, judge, settings
from nin.companion.claims.ledger import SIGMAS, claim
from nin.linear import plane
from nin.linear.model import simulate
from nin.runs.averages import middle
from nin.runs.phases import Phase
from nin.theory import noise_map

BATCH = 1000  # that of the paper's other panels of Fig. 2; App. B names none for the top row
FIG2_SIGMAS = {Phase.DECOUPLED: 0.02, Phase.DECAY: 3.0, Phase.CATAPULT: 18.0, Phase.DIVERGENT: 60.0}
"""Noise strengths of our Fig. 2 (top); the paper's are marks on an axis without numbers."""
SWEPT = np.geomspace(0.01, 100, 25)
"""Noise strengths at which each draw of weights is followed through the phases."""
BATCHES = (100, 1000)
_PHASES = list(Phase)


def start_of(reading: str, n: int, seed: int = 0) -> dict[str, Any]:
    """Return draws of Fig. 2's initial weights, (n, 1) each, to run at several strengths."""
    return {name: w[:, None] for name, w in plane.draw_start(reading, n, seed).items()}


@claim(
    "C1-LIN",
    "In the linear model the noise strength alone selects one of four phases, in this order.",
    "Sec. 3",
    "linear_model#fig-linear-bar",
)
def four_phases_linear() -> Finding:
    """Count the draws of weights whose phases follow each other in order, all else alike."""
    cells = []
    axes = {"reading": plane.READINGS, "eta": (plane.ETA, 3 * plane.ETA), "batch_size": (50, 1000)}
    for setting in settings(axes):
        reading, eta, batch_size = setting.values()
        start = start_of(reading, 200, seed=1)
        options: dict[str, Any] = {"eta": eta, "batch_size": batch_size, "steps": 4000}
        found = simulate(**start, **options, sigma_eps=SWEPT).phases()
        ordered = (np.diff(found, axis=1) >= 0).all(1)
        all_four = all((found == k).any() for k in range(4))
        setting["sigma_eps"] = f"{SWEPT[0]:g} to {SWEPT[-1]:g} ({len(SWEPT)})"
        cells.append(Cell.of(setting, ordered, all_four and ordered.mean() > 0.9))
    shares = [[c.value for c in cells if c.setting["reading"] == r] for r in plane.READINGS]
    a, b = (f"{min(of):.0%} to {max(of):.0%}" for of in shares)
    return Finding.over(
        cells,
        f"All four occur. With the initial weights of reading A {a} of the draws meet them in this "
        f"order as the noise grows; with those of reading B {b}, the fewest with large batches and "
        "small steps: there strong noise may press w1 to zero so soon that the noise weight stays "
        "where it was.",
        "share of draws whose phases are in order at all of the strengths",
        counted="draws",
    )


WALKERS = [(0.9, 0.2, 1.0), (0.4, 0.4, 1.0), (0.3, 1.1, 1.0), (-0.5, 0.8, 1.0), (0.9, -0.3, -1.4)]
"""Starts (w1, w0) of the walk, with the slope M to learn."""


@claim(
    "C9",
    "In the decoupled phase the noise weight walks at random, each step of the size of the local "
    "gradient term.",
    "Sec. 3",
    "decoupled#sigma-dec",
)
def random_walk() -> Finding:
    """Compare the variance after learning with the sum of all kicks.

    The same batches with and without noise tell whether the noise moves the data weights.
    """
    n, strength, eta = 4000, 1e-3, 0.004
    formula = noise_map.WALK_TO_COME.subs(noise_map.TRACES)
    cells = []
    for seed, setting in enumerate(settings({"start": WALKERS, "batch_size": (20, 100)})):
        w1, w0, M = setting["start"]
        options: dict[str, Any] = {"eta": eta, "batch_size": setting["batch_size"], "M": M}
        start: dict[str, Any] = {"w1": np.full(n, w1), "u": 0.0, "w0": w0, "seed": seed}
        noisy, quiet = (
            simulate(**start, **options, sigma_eps=sigma, steps=1500) for sigma in (strength, 0.0)
        )
        values = {**options, "w1": w1, "w0": w0, "sigma_eps": strength}
        stated = float(formula.subs({f: values[str(f)] for f in formula.free_symbols}))
        ratio, err = float(noisy.u[-1].var(ddof=1)) / stated, (2 / n) ** 0.5
        moved = float(abs(noisy.w1[-1] - quiet.w1[-1]).mean())
        # Steps of eta = 0.004 move the sum from its limit of small ones by up to five percent.
        good = abs(ratio - 1) < 0.05 + SIGMAS * err and moved < 1e-3
        where = {"w1": w1, "w0": w0, "M": M, "batch_size": setting["batch_size"]}
        cells.append(Cell(where | {"sigma_eps": strength}, ratio, err, n, good))
    return Finding.over(
        cells,
        "It does, and ends with a variance in closed form; the data weights do not notice. But the "
        "noise must be drawn anew, and a pull adds up faster: in time every noise decays.",
        "variance after learning over the sum of the variances of all gradient terms",
        counted="runs",
    )


@claim(
    "C10",
    "In the decay phase the noise weight falls exponentially, by the curvature term.",
    "Sec. 3",
    "linear_model#fig-linear-phases",
)
def exponential_decay() -> Finding:
    """Compare the fall of <w_NI>, over batches, with the product of the factors of Eq. (18).

    The kicks have mean zero: they make the floor below each run, but do not move the mean.
    """
    n, steps = 20_000, 60
    axes = {"w1": (0.9, -0.5), "u": (0.1, 0.5), "sigma_eps": (1.0, 3.0), "batch_size": BATCHES}
    cells = []
    for seed, setting in enumerate(settings(axes)):
        start: dict[str, Any] = setting | {"w1": np.full(n, setting["w1"]), "w0": 0.2}
        run = simulate(**start, eta=plane.ETA, steps=steps, record=range(steps), seed=seed)
        curvature = plane.ETA * setting["sigma_eps"] ** 2 * (run.w1[:-1] ** 2).mean(1)
        stated = float(np.log(1 - curvature).sum())
        end = run.u[-1] / run.u[0]
        value = float(np.log(end.mean())) / stated
        err = float(end.std(ddof=1) / np.sqrt(n) / end.mean() / abs(stated))
        # A curvature that fluctuates with w_NI shifts the mean's rate by up to two percent.
        cells.append(Cell(setting, value, err, n, abs(value - 1) < 0.02 + SIGMAS * err))
    return Finding.over(
        cells,
        "It falls at the rate of Eq. (18)."
        if judge(cells) == Verdict.REPRODUCED
        else "It does not fall at the rate of Eq. (18) everywhere.",
        "measured over stated logarithm of the fall of the mean",
        counted="runs",
    )


@claim(
    "C12",
    "In the catapult phase the noise weight and the loss first grow, the next layer's weight "
    "falls, and then all recover with a lower curvature.",
    "Sec. 3, Fig. 2c",
    "linear_model#fig-linear-phases",
)
def catapult_linear() -> Finding:
    """Look at the catapults that the noise weight drives: is the final curvature lower?"""
    cells, late = [], []
    axes = {"reading": ("A",), "sigma_eps": (14.0, 18.0, 25.0), "batch_size": BATCHES}
    for setting in settings(axes):
        start = plane.draw_start(setting["reading"], 2000)
        options: dict[str, Any] = {k: setting[k] for k in ("sigma_eps", "batch_size")}
        runs = simulate(**start, **options, eta=plane.ETA, steps=4000)
        driven = abs(runs.w1[0]) > abs(runs.u[0])
        chosen = driven & (runs.phases() == _PHASES.index(Phase.CATAPULT))
        curvature = plane.ETA * setting["sigma_eps"] ** 2 * runs.w1[0] ** 2
        at_once = chosen & (curvature > plane.CLAMP)
        lower = (abs(runs.w1[-1]) < abs(runs.w1[0]))[at_once]
        late.append(1 - at_once.sum() / chosen.sum())
        cells.append(Cell.of(setting, lower, lower.mean() > 0.99, lower.mean() > 0.5))
    return Finding.over(
        cells,
        f"So it is where the start is above the border; {min(late):.0%} to {max(late):.0%} of the "
        "catapults come later, when learning has raised the curvature. Reading B has none that the "
        "noise weight drives.",
        "share of immediate catapults that end with a smaller next-layer weight",
        counted="draws",
    )


@claim(
    "C13",
    "Usually it is the noise weight that drives the catapult, not the data weights.",
    "Sec. 3",
    "linear_model#fig-linear-bar",
)
def driver() -> Finding:
    """Compare the initial weights in both readings of App. B."""
    cells = []
    for reading in plane.READINGS:
        start = plane.draw_start(reading, 20_000)
        first = abs(start["w1"]) > abs(start["u"])
        cells.append(Cell.of({"reading": reading}, first, first.mean() > 0.5))
    return Finding.over(
        cells,
        "True if w1 is the larger weight at the start; with the other reading of App. B, where "
        f"w0 and w_NI are, only {cells[-1].value:.0%}.",
        "share of draws in which the noise weight would grow first",
        value=cells[0].number,
        counted="draws",
    )


@claim(
    "C14-LIN",
    "In the divergent phase all weights and the loss of the linear model diverge.",
    "Sec. 3, Fig. 2d",
    "phases#sigma-div",
)
def divergence_linear() -> Finding:
    """Compare all three weights with their start, at the last finite step."""
    cells = []
    axes = {"reading": plane.READINGS, "sigma_eps": (30.0, 60.0, 100.0), "batch_size": BATCHES}
    for setting in settings(axes):
        start = plane.draw_start(setting["reading"], 1000)
        options: dict[str, Any] = {k: setting[k] for k in ("sigma_eps", "batch_size")}
        runs = simulate(**start, **options, eta=plane.ETA, steps=4000)
        grew = [(abs(w[-1]) > 10 * abs(w[0]))[runs.diverged] for w in (runs.w1, runs.u, runs.w0)]
        every = np.all(grew, axis=0)
        cells.append(Cell.of(setting, every, every.mean() > 0.95, np.mean(grew[:2]) > 0.95))
    return Finding.over(
        cells,
        "Nearly all runs lose all three weights."
        if judge(cells) == Verdict.REPRODUCED
        else "The loss always diverges, and with it the noise path; w0, which the noise reaches "
        "only through the batch's correlations, is not always among them.",
        "share of diverged runs in which all three weights grew tenfold",
        counted="draws",
    )


@claim(
    "C16",
    "Solved numerically with M = 1 and a learning rate of 0.01, the linear model shows the four "
    "regimes.",
    "Fig. 2 (top)",
    "linear_model#top-of-fig-2",
)
def fig2_top() -> Finding:
    """Ask which phase most draws are in at each of the four strengths, in both readings."""
    cells = []
    strengths = list(FIG2_SIGMAS.values())
    for setting in settings({"reading": plane.READINGS, "batch_size": (64, BATCH)}):
        start = start_of(setting["reading"], 1000)
        options: dict[str, Any] = {"eta": plane.ETA, "batch_size": setting["batch_size"]}
        found = simulate(**start, **options, sigma_eps=strengths, steps=4000).phases()
        for k, sigma_eps in enumerate(strengths):
            most = np.bincount(found[:, k]).argmax()
            cells.append(Cell.of(setting | {"sigma_eps": sigma_eps}, found[:, k] == k, most == k))
    return Finding.over(
        cells,
        "In both readings of the initial weights."
        if judge(cells) == Verdict.REPRODUCED
        else "With w1 the larger weight, yes; in the other reading of App. B, which names no batch "
        "size, the catapult is the most common outcome at the same strength for batches of 64, not "
        "for 1000.",
        "share of draws in the phase of their column",
        counted="draws",
    )


@claim(
    "C17-LIN",
    "The larger the noise, the longer the relaxation of the linear model.",
    "Caption of Fig. 2",
    "linear_model#fig-linear-phases",
)
def relaxation_linear() -> Finding:
    """Compare steps to half the initial |w_NI| and to a hundredth of the clean loss."""
    strengths, keep = (1.0, 3.0, 6.0), np.unique(np.rint(np.geomspace(1, 8000, 200)).astype(int))
    cells = []
    for reading in plane.READINGS:
        start = start_of(reading, 500, seed=3)
        options: dict[str, Any] = {"eta": plane.ETA, "batch_size": BATCH}
        run = simulate(**start, **options, sigma_eps=strengths, steps=8000, record=keep)
        low = {
            "clean loss": run.clean_loss < run.clean_loss[0] / 100,
            "|w_NI|": abs(run.u) < abs(run.u[0]) / 2,
        }
        for (name, below), k in ((x, k) for x in low.items() for k in (1, 2)):
            pair = below[:, :, [k - 1, k]]
            steps = run.step[pair.argmax(0)][pair.any(0).all(-1)]
            value, err = middle(steps[:, 1] / steps[:, 0])
            setting = {"reading": reading, "of": name, "sigma_eps": strengths[k]}
            longer = np.log(value) - SIGMAS * err > np.log(1.05)
            cells.append(Cell(setting, value, value * err, len(steps), longer))
    loss, niw = ([c.value for c in cells if c.setting["of"] == name] for name in low)
    ranges = [
        f"{min(v[i : i + 2]):.2f} to {max(v[i : i + 2]):.2f}" for v in (niw, loss) for i in (0, 2)
    ]
    return Finding.over(
        cells,
        "The noise weight relaxes faster, as long as it does not press w1 down: its time changes "
        f"by {ranges[0]} in reading A of App. B and by {ranges[1]} in B. The data relax later only "
        f"where it does: theirs changes by {ranges[2]} in A and by {ranges[3]} in B.",
        "steps to half of |w_NI| or a hundredth of the clean loss, over those at the next weaker "
        "noise",
        stated=np.inf,
        counted="draws",
    )
