"""What halves |w_ni|, and where it comes to rest, as tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from nin.companion.tables import Cell, Table
from nin.networks.data import Dataset
from nin.runs.averages import mean
from nin.studies.borders.prediction import initial_rate
from nin.studies.half_lives import Halved
from nin.studies.windows import Course, predicted_floor, window_slope

SHARES: dict[str, Callable[[Halved], float]] = {
    "curvature": lambda h: h.parts["curvature"],
    "kinks": lambda h: h.parts["kinks"],
    "walk": lambda h: h.parts["bend"],
    "kick": lambda h: h.parts["kick"],
    "the rest": lambda h: h.fall - sum(h.parts.values()),
}
"""What adds up to ln 2, by its name on the page."""


def shares(found: Sequence[Halved], name: str) -> np.ndarray:
    """Return a part of the fall to one half, over ln 2, of each run, (runs,)."""
    return np.array([SHARES[name](h) for h in found]) / np.log(2)


def halving_table(groups: Mapping[str, Sequence[Halved]], data: Dataset) -> Table:
    """Return half-lives over what Eq. (2) says, and what adds up to the fall by ln 2.

    Args:
        groups: Runs alike in all but the seed, by their name.
        data: Images for the curvature at the start.
    """
    rows: list[list[Cell]] = []
    for name, runs in groups.items():
        start = [initial_rate(h.experiment, data) * h.experiment.sigma_eps**2 for h in runs]
        over = np.array([h.steps for h in runs]) * start / np.log(2)
        part = {of: shares(runs, of) for of in ("curvature", "walk", "kinks", "the rest")}
        on_the_way = part["curvature"] / over
        rows.append([name, *map(mean, (over, on_the_way, *part.values()))])
    heads = (
        "runs", "half-life over corrected Eq. (2)", "curvature on the way over that at the start",
        "curvature", "walk", "kinks", "the rest",
    )  # fmt: skip
    caption = (
        "The half-life, and what takes the logarithm down until then, over ln 2 (last four "
        f"columns; with the kick they add up to 1); n = {len(runs)} seeds, standard error."
    )
    return Table.of_rows("fig1_halving", caption, heads, rows)


def floor_cells(found: Sequence[Course], window: int) -> tuple[Cell, ...]:
    r"""Return |w_ni|, its predicted floor, the ratio, and measured over predicted pull and walk.

    Args:
        found: Runs alike in all but the seed.
        window: Which window.
    """
    floors = np.array([predicted_floor(c, window) for c in found])
    size = np.array([c.size[window] for c in found])
    slope = window_slope(found, window, with_kinks=True)
    walk, said = np.nansum([[(c.fall - c.pull)[window], c.bend[window]] for c in found], (0, 2))
    pull = (slope.value, slope.err)
    return mean(size), mean(floors), mean(size / floors), pull, float(walk / said)


FLOOR_HEADS = (
    r"$|w_{\rm NI}|$", "predicted floor", "measured over predicted", "pull over predicted",
    "walk over predicted",
)  # fmt: skip
"""What `floor_cells` returns."""
