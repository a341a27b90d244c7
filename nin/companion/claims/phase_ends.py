"""The claims of Sec. 3 on where the linear model's phases end and what comes of its weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from nin.companion.claims.finding import Cell, Finding, settings
from nin.companion.claims.ledger import claim
from nin.linear import derived_borders as bd
from nin.linear import plane
from nin.linear.model import LinearRuns, simulate
from nin.runs.bisection import find_border
from nin.runs.phases import Phase

RARE = 0.02
"""Share of the runs below which an outcome is too rare to matter."""
WRONG = 0.01
"""Share of the runs below which a border is right."""
RUNS: dict[str, dict[str, Any]] = {
    "noise alone": {"data": False},
    "data (averaged)": {"data": True},
    "data (|B| = 1000)": {"data": True, "batch_size": 1000},
    "data (|B| = 100)": {"data": True, "batch_size": 100},
}
"""What moves the weights, from the paper's argument to its training."""


@claim(
    "C11",
    "Three borders, in terms of the initial weights, separate the four phases.",
    "Sec. 3",
    "phases#borders-of-draws",
)
def three_borders() -> Finding:
    """Count the runs whose divergence the printed and the derived border get wrong.

    The share that the printed border gets wrong depends on where one looks, so it is given for
    Fig. 2's initial weights at several strengths; over a square of the plane it is 1/3 at most.
    """
    cells = []
    derived: dict[str, list[float]] = {run: [] for run in RUNS}
    axes = {"reading": plane.READINGS, "sigma_eps": (15.0, 25.0, 60.0), "run": RUNS}
    for setting in settings(axes):
        reading, sigma_eps, run = setting.values()
        found = plane.run_reading(reading, 3000, sigma_eps, **RUNS[run])
        n = len(found.a_sq)
        printed, ours = (found.wrong(form) / n for form in ("printed", "derived"))
        derived[run].append(ours)
        err = (printed * (1 - printed) / n) ** 0.5
        cells.append(Cell(setting, printed, err, n, printed < WRONG, ours < WRONG))
    alone = [c.value for c in cells if c.setting["run"] == "noise alone"]
    most = ", ".join(f"{max(wrong):.1%} ({run})" for run, wrong in derived.items())
    return Finding.over(
        cells,
        "Of the noise alone they do, once corrected: divergence begins at the harmonic mean of the "
        f"two printed values, not at the larger, which gets {min(alone):.0%} to {max(alone):.0%} "
        "of the runs wrong. With data learning moves the weights that the borders take from the "
        f"start. The derived border gets at most this wrong: {most}.",
        "share of runs that the printed border gets wrong",
        value=_over(c for c in cells if c.setting["run"] == "noise alone"),
        stated=0,
        counted="draws",
        proof="SymPy for the noise alone",
    )


def _over(cells: Iterable[Cell]) -> tuple[float, float, int]:
    """Return the mean of some cells, the error of one, and their least number of draws."""
    some = list(cells)
    value, err = (float(np.mean([getattr(c, name) for c in some])) for name in ("value", "err"))
    return value, err, min(c.n for c in some)


@claim(
    "C21-LIN",
    "The formulas tell where the linear model's upper borders lie, so that those of networks can "
    "be compared with them.",
    "Sec. 3",
    "phases#fig-phase-plane",
)
def measured_border() -> Finding:
    """Search where draws of weights diverge, in units of the derived border; with data too."""
    n, cells, too_large, earlier = 400, [], [], []
    axes = {"reading": plane.READINGS, "batch_size": (100, 1000), "data": ("no", "yes")}
    for setting in settings(axes):
        start: dict[str, Any] = plane.draw_start(setting["reading"], n, seed=11)
        options = {**start, "eta": plane.ETA, "batch_size": setting["batch_size"]}
        derived, printed = (
            bd.linear_borders(**options, form=form).div for form in ("corrected", "printed")
        )
        ratio = _border_over(derived, options, sigma_x=float(setting["data"] == "yes"))
        value = float(np.median(ratio))
        near = np.quantile(ratio, 0.5 + np.array([-0.5, 0.5]) / np.sqrt(n))  # one error each side
        good = abs(value - 1) < 0.05
        cells.append(Cell(setting, value, float(np.diff(near)[0]) / 2, n, False, good))
        if setting["data"] == "no":
            too_large.append(float(np.median(printed / (ratio * derived))))
        else:
            earlier.append(float((ratio < 0.95).mean()))
    return Finding.over(
        cells,
        "Of the noise alone they do, once corrected: the printed border of divergence is, in the "
        f"median, {min(too_large):.1f} to {max(too_large):.1f} times too large. With data "
        f"{min(earlier):.0%} to {max(earlier):.0%} of the draws diverge more than 5% below it, as "
        "learning raises the curvature.",
        "measured over derived noise strength at divergence, median",
        counted="draws",
    )


def _border_over(derived: np.ndarray, options: dict[str, Any], sigma_x: float) -> np.ndarray:
    """Return where each draw diverges, in units of its derived border."""

    def diverges(unit: np.ndarray) -> np.ndarray:
        sigma_eps = unit * derived
        run = simulate(**options, sigma_eps=sigma_eps, sigma_x=sigma_x, steps=2000, seed=7)
        return run.diverged

    return find_border(diverges, 0.001, 10, seeds=len(derived)).values


@claim(
    "C26",
    "Other outcomes, such as a noise weight that decays without an effect on the data weights, do "
    "not matter empirically.",
    "footnote 6",
    "where_weights_end#outcome-census",
)
def other_outcomes() -> Finding:
    """Count catapults after which the weights have swapped roles, and decays without an effect."""
    cells = []
    runs = [run for run in RUNS if run != "data (averaged)"]  # it has divergences of its own
    for setting in settings({"reading": ("A",), "sigma_eps": (15.0, 25.0, 40.0), "run": runs}):
        reading, sigma_eps, run = setting.values()
        swapped = plane.run_reading(reading, 5000, sigma_eps, **RUNS[run]).swapped()
        cells.append(Cell.of({"outcome": "swap"} | setting, swapped, swapped.mean() < RARE))
    shares = {run: [c.value for c in cells if c.setting["run"] == run] for run in runs}
    box = plane.run_plane(20_000, data=False, steps=1500).swapped().mean()
    idle: dict[str, list[float]] = {reading: [] for reading in plane.READINGS}
    for setting in settings({"reading": plane.READINGS, "sigma_eps": (1.0, 3.0)}):
        found = _without_effect(**setting)
        where = {"outcome": "no effect"} | setting | {"run": "data (|B| = 1000)"}
        cells.append(Cell.of(where, found, holds=True))  # what has no effect does not matter
        idle[setting["reading"]].append(float(found.mean()))
    ranges = [f"{min(x):.0%} to {max(x):.0%}" for x in (*shares.values(), *idle.values())]
    swaps = ", ".join(f"{r} ({run})" for r, run in zip(ranges, runs, strict=False))
    return Finding.over(
        cells,
        "After a catapult the roles may be swapped: the noise weight survives and the data weight "
        f"is pressed to zero. From Fig. 2's initial weights this comes of {swaps} of the catapults "
        f"that the noise weight drives; from a uniform square of starts, of {box:.0%}. The "
        "footnote's own case is common, and is the decay phase: the data weights stay within 1% of "
        f"their course without noise in {ranges[-2]} of the decays of reading A and {ranges[-1]} "
        "of B's.",
        "share of catapults, or of decays, that end so; value: noise alone",
        value=_over(c for c in cells if c.setting["run"] == "noise alone"),
        stated=0,
        counted="draws",
    )


def _without_effect(reading: str, sigma_eps: float) -> np.ndarray:
    """Tell for each draw whose noise weight decays whether the data weights notice it."""
    start = plane.draw_start(reading, 1000, seed=5)
    keep = np.unique(np.rint(np.geomspace(1, 4000, 100)).astype(int))
    options: dict[str, Any] = {"eta": plane.ETA, "batch_size": 1000, "steps": 4000, "record": keep}
    noisy, quiet = (simulate(**start, **options, sigma_eps=s) for s in (sigma_eps, 0.0))
    moved = [abs(a - b).max(0) / abs(b).max(0) for a, b in _data_weights(noisy, quiet)]
    return (np.max(moved, 0) < 0.01)[noisy.phases() == list(Phase).index(Phase.DECAY)]


def _data_weights(a: LinearRuns, b: LinearRuns) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(a.w1, b.w1), (a.w0, b.w0)]


@claim(
    "C34",
    "A noise weight that grows until the decoupled phase is left is quickly brought back by the "
    "curvature term.",
    "footnote 5",
    "decoupled#footnote-5",
)
def brought_back() -> Finding:
    """Start with a noise weight three times the size at which its pull equals its kick.

    Its time to a third is compared with the time in which the clean loss falls to a hundredth; a
    run that does not get there counts with its length.
    """
    cells, M = [], 1.0
    axes = {"w1": (0.6, 1.2), "sigma_eps": (0.1, 0.2), "batch_size": (100, 1000)}
    for seed, setting in enumerate(settings(axes)):
        w1, w0, sigma_eps = setting["w1"], 0.2, setting["sigma_eps"]
        u = abs(M - w0 * w1) / (np.sqrt(setting["batch_size"]) * sigma_eps * w1)
        steps = round(30 / (plane.ETA * sigma_eps**2 * w1**2))
        run = simulate(
            **setting | {"w1": np.full(20, w1)}, u=3 * u, w0=w0, eta=plane.ETA, M=M, steps=steps,
            record=np.unique(np.geomspace(1, steps, 4000).astype(int)), seed=seed,
        )  # fmt: skip
        back = first_step(run, abs(run.u) < u)
        learnt = first_step(run, run.clean_loss < run.clean_loss[0] / 100)
        returned = bool((back < steps).all())
        cells.append(Cell.of(setting, back / learnt, returned and max(back / learnt) < 1, returned))
    ratio = [c.value for c in cells]
    return Finding.over(
        cells,
        "It is brought back, but not quickly: at the pull of so weak a noise it takes "
        f"{min(ratio):.0f} to {max(ratio):.0f} times as long as learning.",
        "time to return over the time in which the clean loss falls to a hundredth",
        stated=0,
        counted="runs",
    )


def first_step(runs: LinearRuns, reached: np.ndarray) -> np.ndarray:
    """Return the first recorded step at which each run got there; its last where it never did."""
    return np.where(reached.any(0), runs.step[reached.argmax(0)], runs.step[-1])
