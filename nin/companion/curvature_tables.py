"""Curvature in training as tables: windows of real steps, and estimates of a trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from nin.companion.course_groups import seed_slopes, strength_slopes
from nin.companion.tables import Cell, Table
from nin.curvature.measured_slope import is_resolved, over
from nin.runs.averages import mean
from nin.studies.traces import Estimates
from nin.studies.windows import Course, window_slope

Groups = Mapping[tuple[str, float], Sequence[Course]]
"""Runs by layer and K, those of one group alike in all but the seed."""
_NODE = ("node at", "$K$")
_EDGES = (0, 0.1, 0.5, 1, 2, np.inf)  # of the reach of the noise
_NONE = "no curvature left"
PREDICTIONS: dict[str, Callable[[Course], np.ndarray]] = {
    "Hessian": lambda c: c.curvature[:, 0],
    "Hessian and kinks": lambda c: (c.curvature + c.kinks)[:, 0],
    "Hessian averaged over the noise": lambda c: c.averaged,
}
"""Of the rate averaged over the noise, before the first step of each window."""
READ_STEPS = (1, 4, 16, 64)
"""After which steps of a decay the trace is read off it."""


def watched_table(groups: Groups) -> Table:
    """Return phase, |w_ni| and reach of the noise at the windows, means over seeds."""
    rows: list[list[Cell]] = []
    for (layer, K), found in groups.items():
        size, reach = (np.mean([getattr(c, name) for c in found], 0) for name in ("size", "reach"))
        phases = ", ".join(c.phase for c in found)
        rows.append([layer, K, phases, *map(float, size), *map(float, reach)])
    starts = _first(groups).starts
    numbers = (f"{what}, {t}" for what in (r"$|w_{\rm NI}|$", "reach") for t in starts)
    heads = (*_NODE, "phases", *numbers)
    caption = f"At steps {_list(starts)}: mean over {_seeds(groups)} seeds."
    return Table.of_rows("curvature_windows", caption, heads, rows, n=2)


def slope_table(groups: Groups) -> Table:
    """Return the slope of each window, by the Hessian alone and with kinks."""
    rows: list[list[Cell]] = []
    for (layer, K), found in groups.items():
        for w, start in enumerate(found[0].starts):
            both = [seed_slopes(found, w, kinks) for kinks in (False, True)]
            rows.append([layer, K, start, *(mean(s) if len(s) else _NONE for s in both)])
    heads = (*_NODE, "from step", "Hessian", "Hessian and kinks")
    return Table.of_rows("curvature_slopes", _over_predicted(groups), heads, rows, n=3)


def strength_table(groups: Groups) -> Table:
    """Return the slope at each strength, mean over windows, and how hard the kinks pull."""
    rows: list[list[Cell]] = []
    for (layer, K), found in groups.items():
        share = [np.nansum(c.kinks) / np.nansum(c.curvature) for c in found]
        both = (mean(strength_slopes(found, kinks)) for kinks in (False, True))
        rows.append([layer, K, *both, mean(share)])
    heads = (*_NODE, "Hessian", "Hessian and kinks", "kinks over Hessian")
    return Table.of_rows("curvature_strengths", _over_predicted(groups), heads, rows, n=2)


def smooth_table(groups: Groups) -> Table:
    """Return the slopes of a network without kinks, a column for each window."""
    rows: list[list[Cell]] = []
    starts = _first(groups).starts
    for (_, K), found in groups.items():
        slopes = [seed_slopes(found, w) for w in range(len(starts))]
        rows.append([K, *(mean(s) if len(s) else _NONE for s in slopes)])
    heads = ("$K$", *(f"step {start}" for start in starts))
    return Table.of_rows("curvature_smooth", _over_predicted(groups), heads, rows)


def walk_table(groups: Groups) -> Table:
    """Return what pull and walk take off ln|w_ni| in each window, means over seeds."""

    def total(found: Sequence[Course], pick: Callable[[Course], np.ndarray], w: int) -> float:
        return float(np.nansum([pick(c)[w] for c in found]) / len(found))

    rows = [
        (
            layer, K, start, total(found, lambda c: c.pull, w),
            total(found, lambda c: c.fall - c.pull, w), total(found, lambda c: c.bend, w),
        )
        for (layer, K), found in groups.items()
        for w, start in enumerate(found[0].starts)
    ]  # fmt: skip
    heads = (*_NODE, "from step", "pull", "walk, measured", "walk, predicted")
    caption = (
        r"What pull and walk take off the logarithm of $|w_{\rm NI}|$ in a window: mean over "
        f"{_seeds(groups)} seeds."
    )
    return Table.of_rows("curvature_walks", caption, heads, rows, n=3)


def reach_table(networks: Mapping[str, Sequence[Course]]) -> Table:
    """Return how far each prediction of single batches is off, by the reach of the noise.

    Args:
        networks: Runs of each network, by its name.
    """
    rows: list[list[Cell]] = []
    for name, found in networks.items():
        reach = np.concatenate([c.reach for c in found])
        for low, high in pairwise(_EDGES):
            there = (reach > low) & (reach <= high)
            if there.any():
                cells = [_median_off(found, of, there) for of in PREDICTIONS.values()]
                words = f"{low:g} to {high:g}" if np.isfinite(high) else f"above {low:g}"
                rows.append([name, words, int(there.sum()), *cells])
    heads = ("network", "reach of the noise", "batches", *PREDICTIONS)
    caption = "How far a prediction of the rate of a single batch is off: median over batches."
    return Table.of_rows("curvature_reach", caption, heads, rows, n=2)


def _median_off(
    found: Sequence[Course], of: Callable[[Course], np.ndarray], there: np.ndarray
) -> str:
    off = np.abs(np.concatenate([over(c.exact, of(c)) for c in found])[there] - 1)
    return f"{np.nanmedian(off):.1%}" if np.isfinite(off).any() else ""


def rate_table(groups: Groups, strengths: Sequence[float]) -> Table:
    """Return rates per step, measured and by the Hessians, a row for each strength and window.

    Args:
        groups: The runs.
        strengths: K at which there are runs at every layer.
    """
    layers = list(dict.fromkeys(layer for layer, _ in groups))
    rows: list[list[Cell]] = []
    for K in strengths:
        for w, start in enumerate(_first(groups).starts):
            at = [groups[layer, K] for layer in layers if (layer, K) in groups]
            measured = [float(np.mean([c.exact[w] for c in found])) for found in at]
            said = [float(np.mean([c.curvature[w, 0] for c in found])) for found in at]
            rows.append([K, start, *measured, *said])
    heads = ("$K$", "step", *layers, *(f"{layer}, Hessian" for layer in layers))
    caption = f"Rates per step, measured and by the Hessians: mean over {_seeds(groups)} seeds."
    return Table.of_rows("curvature_rates", caption, heads, rows, n=2)


def turn_table(groups: Groups) -> Table:
    """Return how w_ni turns: its curvature over a random direction's, and what its fall would say.

    The second is left out where next to nothing is predicted.
    """
    rows: list[list[Cell]] = []
    for (layer, K), found in groups.items():
        turned = np.mean([over(c.curvature[:, 0], c.trace) for c in found], 0)
        fall, said = (
            np.nansum([getattr(c, name) for c in found], (0, 2)) for name in ("fall", "curvature")
        )
        known = [is_resolved(window_slope(found, w)) for w in range(len(turned))]
        read = np.where(known, over(fall, said), np.nan)
        rows.append([layer, K, *map(float, turned), *map(float, read)])
    starts = _first(groups).starts
    heads = (
        *_NODE,
        *(f"{what}, {t}" for what in ("along over random", "read off") for t in starts),
    )
    caption = (
        r"Curvature along $w_{\rm NI}$ over that of a random direction, and what would be read off "
        r"the fall of $|w_{\rm NI}|$ alone over the Hessian's rate, at the windows from steps "
        f"{_list(starts)}: mean over {_seeds(groups)} seeds."
    )
    return Table.of_rows("curvature_turns", caption, heads, rows, n=2)


def trace_table(found: Mapping[str, Estimates]) -> Table:
    """Return the trace of the Hessian by all of curvlinops, and what an estimate costs."""
    rows: list[list[Cell]] = []
    for name, e in found.items():
        value, err = e.reference
        mean_h, err_h = mean(e.hutchinson)
        chance = np.std(e.own, ddof=1) / value
        cost = e.product_s / e.gradient_s
        traces = ((1e4 * value, 1e4 * err), (1e4 * mean_h, 1e4 * err_h))
        rows.append([name, *traces, e.top, f"{cost:.1f} gradients", f"{chance:.0%}"])
    heads = (
        "network", "trace, all of curvlinops, $10^{-4}$", "Hutchinson, $10^{-4}$",
        "largest eigenvalue", "a product costs", "chance of one direction",
    )  # fmt: skip
    draws = len(next(iter(found.values())).hutchinson)
    caption = f"Trace of the local Hessian over its features (Hutchinson: n = {draws})."
    return Table.of_rows("curvature_traces", caption, heads, rows)


def decay_reading_table(found: Mapping[str, Estimates]) -> Table:
    """Return what is read off the fall of |w_ni|, over its own direction's curvature."""
    first = next(iter(found.values()))
    steps = [t for t in READ_STEPS if t <= first.decay.shape[1]]
    rows: list[list[Cell]] = [
        [name, *(mean(e.decay[:, t - 1] / e.own) for t in steps), e.decay_reach]
        for name, e in found.items()
    ]
    heads = ("network", *(f"{t} step{'s' * (t > 1)}" for t in steps), "reach")
    caption = (
        r"Curvature read off $|w_{\rm NI}|$ after some steps, over that of its own direction, the "
        f"network held (n = {len(first.own)} directions, standard error)."
    )
    return Table.of_rows("curvature_readings", caption, heads, rows)


def _first(groups: Groups) -> Course:
    return next(iter(groups.values()))[0]


def _seeds(groups: Groups) -> int:
    return len(next(iter(groups.values())))


def _list(starts: Sequence[int]) -> str:
    return ", ".join(map(str, starts))


def _over_predicted(groups: Groups) -> str:
    n = _seeds(groups)
    return rf"Measured over predicted pull on $w_{{\rm NI}}$ (n = {n} seeds, standard error)."
