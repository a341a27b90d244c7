"""What the course of noise weights tells of how a network generalises, from committed runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import spearmanr

from nin.companion.claims.fig1 import MEMORISED, remembered
from nin.companion.claims.finding import Cell, Finding
from nin.companion.claims.ledger import claim
from nin.companion.claims.proposals import PAGE
from nin.folders import RESULTS
from nin.studies.experiments import Experiment
from nin.studies.memorisation import BASE, IMAGES, Memory, memory
from nin.studies.study import Shelf

Array = np.ndarray
SMALL = dataclasses.replace(BASE, width=64, d_in=196).at(0.01)
"""A smaller network of three layers, at the strength that Fig. 1's remembers best."""
SMALL_SHARES, SMALL_SEEDS = (0.0, 0.25, 0.5), (7, 8, 9)
LABELS = Shelf(RESULTS / "memorisation", "proposals", may_make=False)
TELLS = 0.8
"""Rank correlation, of either sign, from which one number tells another."""
EARLY = 1 / 15
"""Share of a run after which its course so far is asked: ten epochs of 150."""


class Gaps(NamedTuple):
    """Numbers of runs that differ in seed and in the share of wrong labels.

    Attributes:
        share: Of wrong labels, (runs,).
        gap: Training minus test accuracy at the end, noise off, (runs,).
        early: |w_ni| early in the run over its start, (runs,).
        end: The same at its end, (runs,).
        loss: Clean training loss early in the run, (runs,).
    """

    share: Array
    gap: Array
    early: Array
    end: Array
    loss: Array


def courses(found: Mapping[float, Memory]) -> Gaps:
    """Return the numbers of runs by their share of wrong labels."""
    rows = []
    for share, m in found.items():
        train, test = (m.clean[name][:, -1] for name in ("train_accuracy", "val_accuracy"))
        w = m.w_ni / m.w_ni[:, :1]
        when = EARLY * m.step[-1]
        early = w[:, np.searchsorted(m.step, when)]
        loss = m.clean["train_loss"][:, np.searchsorted(m.eval_step, when)]
        rows.append([np.full(len(w), share), train - test, early, w[:, -1], loss])
    return Gaps(*np.concatenate(rows, 1))


def rank_correlation(a: Array, b: Array) -> tuple[float, float]:
    """Return Spearman's coefficient and its standard error, of small samples and no ties."""
    value = float(spearmanr(a, b).statistic)
    return value, float(np.sqrt((1 - value**2) / (len(a) - 2)))


def small_memories(
    fixed: bool,
    base: Experiment = SMALL,
    seeds: Sequence[int] = SMALL_SEEDS,
    shares: Sequence[float] = SMALL_SHARES,
    images: int = IMAGES,
    shelf: Shelf = LABELS,
) -> dict[float, Memory]:
    """Return what the smaller network remembers, by share of wrong labels; default: on record.

    Args:
        fixed: Whether its NIN is.
        base: The network.
        seeds: Seeds of its runs.
        shares: Of wrong labels.
        images: Number of training images.
        shelf: Where the records lie.
    """
    base = dataclasses.replace(base, fixed=fixed)
    return {s: memory(base, seeds, s, images, shelf=shelf) for s in shares}


def of_fig1(fixed: bool) -> list[tuple[float, int, dict[float, Memory]]]:
    """Return K, width and memories by share of wrong labels of Fig. 1's network, as recorded."""
    return [
        (K, BASE.width, {s: remembered(s, fixed, K) for s in shares})
        for K, shares in MEMORISED.items()
        if fixed or len(shares) > 2
    ]


def settings_told() -> list[tuple[dict[str, str | float], Gaps]]:
    """Return the settings at which gaps are compared, with the numbers of their runs."""
    return [
        ({"N_w": width, "NIN": NIN, "K": K}, courses(found))
        for fixed, NIN in ((True, "fixed"), (False, "redrawn"))
        for K, width, found in (
            *of_fig1(fixed),
            (round(SMALL.K, 6), SMALL.width, small_memories(fixed)),
        )
    ]


@claim(
    "C41",
    "The evolution of the noise weights informs about generalisation.",
    "Sec. 5",
    f"{PAGE}#labels",
)
def tells_the_gap() -> Finding:
    """Rank runs with 0 to 50 % wrong labels by |w_ni|, early and at the end, and by their gap."""
    cells, by_loss = [], list[float]()
    for setting, runs in settings_told():
        for when in ("early", "end"):
            value, err = rank_correlation(getattr(runs, when), runs.gap)
            told = round(abs(value), 9) >= TELLS
            cells.append(Cell(setting | {"when": when}, value, err, len(runs.gap), told))
        by_loss.append(rank_correlation(runs.loss, runs.gap)[0])
    ranges = [
        f"{min(v):.2f} to {max(v):.2f} {when}, {NIN}"
        for NIN in ("fixed", "redrawn")
        for when in ("early", "end")
        for v in [[c.value for c in cells if c.setting["NIN"] == NIN and c.setting["when"] == when]]
    ]
    return Finding.over(
        cells,
        "|w_ni| is ranked as the gap between training and test accuracy with "
        f"{'; '.join(ranges)}. So it tells in {sum(c.holds for c in cells)} of {len(cells)} "
        "settings, and its sign changes with the network and the kind of NIN. The training loss "
        f"early on, {min(by_loss):.2f} to {max(by_loss):.2f}, needs no node for as much.",
        "rank correlation over runs of |w_ni| over its start and the gap; the value is that of the "
        "smaller network's fixed NIN at the end",
        value=next(c.number for c in cells if c.setting["N_w"] == SMALL.width
                   and c.setting["when"] == "end"),
        counted="runs",
    )  # fmt: skip
