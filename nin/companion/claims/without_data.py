"""Sec. 3 on strong noise, in networks: are the first steps those of a network without data?"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from nin.companion.claims.finding import Cell, Finding
from nin.companion.claims.ledger import claim
from nin.companion.claims.noise_dominated import OVERLOOKED, ROUGHLY
from nin.runs.phases import SURGE
from nin.studies.random_data import (
    BASE,
    DECAY,
    KINDS,
    LOSSES,
    RANDOM_DATA,
    SEEDS,
    WIDTHS,
    Courses,
    first_courses,
    networks,
)

PAGE = "figures/random_data"
OTHERS = KINDS[1:4]
"""What takes the place of the images; the last of `KINDS` is the yardstick."""
WEIGHTS = ("w_ni", "next")
"""What is to be alike: the noise weights, and the weights behind them."""


@lru_cache
def starts_seen() -> dict[tuple[str, int, float], list[Courses]]:
    """Return the first steps of all runs, by loss, width and share of the border of divergence."""
    asked = networks(BASE, LOSSES, WIDTHS, SEEDS)
    found = iter(first_courses([e for runs in asked.values() for e in runs], RANDOM_DATA))
    return {setting: [next(found) for _ in runs] for setting, runs in asked.items()}


def furthest(runs: list[Courses], kind: str) -> np.ndarray:
    """Return by what factor the weights of each run are away where they are furthest, (runs,)."""
    return np.array([max(r.furthest(kind, name) for name in WEIGHTS) for r in runs])


def cell_of(setting: tuple[str, int, float], runs: list[Courses], kind: str) -> Cell:
    """Make the cell of a setting: like if no weight is ever away by more than a reader sees.

    With a correction if the largest |w_ni| is within a factor `ROUGHLY`.
    """
    away, peaks = furthest(runs, kind), np.array([r.peak_ratio(kind) for r in runs])
    named = dict(zip(("loss", "width", "sigma_eps over border"), setting, strict=True))
    like, roughly = (away < 1 + OVERLOOKED).all(), (peaks < ROUGHLY).all()
    return Cell.of(named | {"trained on": kind}, away, like, roughly)


@claim(
    "C39-NET",
    "In networks too, above sigma_cat the early dynamics is that of a network trained on random "
    "data without labels.",
    "Sec. 3",
    f"{PAGE}#fig-random-data",
)
def network_without_data() -> Finding:
    """Follow the same weights, batches and noise with other labels, other inputs, and neither."""
    strong = {s: runs for s, runs in starts_seen().items() if s[2] != DECAY}
    cells = [cell_of(s, runs, kind) for s, runs in strong.items() for kind in OTHERS]
    yard = {s: cell_of(s, runs, KINDS[-1]).value for s, runs in strong.items()}
    keys = [s for s in strong for _ in OTHERS]
    less = sum(c.value <= yard[s] for s, c in zip(keys, cells, strict=True))
    quiet = [
        s
        for s, runs in strong.items()
        if not any(r.of("images", "loss").max() > SURGE * r.of("images", "loss")[0] for r in runs)
    ]
    parts = []
    for loss in LOSSES:
        for kind in OTHERS:
            of = [c for c in cells if (c.setting["loss"], c.setting["trained on"]) == (loss, kind)]
            good, rough = sum(c.holds for c in of), sum(c.holds or c.mended for c in of)
            parts.append(f"{loss}, {kind}: {good}, roughly {rough}")
    weak = {
        loss: max(
            cell_of(s, runs, kind).value
            for s, runs in starts_seen().items()
            for kind in OTHERS[:2]
            if s[0] == loss and s[2] == DECAY
        )
        for loss in LOSSES
    }
    return Finding.over(
        cells,
        "With the squared error labels and the contents of the images hardly matter, but that "
        "there are images does: they are a part of the input that the noise does not drown. With "
        "cross-entropy the courses part, but as they do when batches and noise are drawn anew, and "
        f"peaks are alike. Alike to {OVERLOOKED:.0%}, of six settings each: {'; '.join(parts)}. No "
        f"further away than other noise takes them: {less} of {len(cells)}. At {len(quiet)} of "
        f"{len(strong)} settings the loss does not rise yet. And it is nothing of "
        "strong noise: in a decay other labels or inputs change the weights by a factor of at most "
        f"{weak['mse']:.2f} (squared error) and {weak['ce']:.2f} (cross-entropy).",
        "factor by which |w_NI| or the weights behind it are away from those with images, where "
        "they are furthest, up to the peak; at most 10",
    )
