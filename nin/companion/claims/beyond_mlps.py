"""What of the paper's statements survives in networks that are no MLPs."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from nin.companion.claims.finding import Cell, Finding
from nin.companion.claims.ledger import claim
from nin.companion.claims.several_nodes import LEFT, UNKNOWN
from nin.runs.averages import middle
from nin.runs.phases import Phase
from nin.studies.borders.search import is_past
from nin.studies.other_networks import (
    LAYERS,
    LOOKED_AT,
    MOMENTUM,
    OTHER_NETWORKS,
    OTHER_SEEDS,
    SEEDS,
    SIDES,
    STRENGTHS,
    OtherCourse,
    OtherForecast,
    OtherNetwork,
    border_between,
    explained_falls,
    other_forecasts,
    other_runs,
    short_of_catapult,
)

PAGE = "figures/beyond_mlps#fig-beyond-mlps"
COARSE = STRENGTHS[::2]
"""Of the transformer, and of the settings that nobody had looked at before."""
STRONG = STRENGTHS[4:]
"""Of the networks that see the noise alone."""
BORDERS = {"decay": "decay", "surge": "surge", "lost": "divergent"}
"""Borders as measured, and the prediction for each: a run that is lost diverges or dies."""
SEES_NOISE_ALONE = (OtherNetwork("convnet", "conv0", blind=True),)
"""Networks that were trained without any image."""
NEAR = 2.0
"""A border is near within this factor in sigma_eps: strengths are a factor of 1.8 apart."""
RIGHT = 1.25
"""A fall is explained within this factor."""


@lru_cache
def network_runs(network: OtherNetwork) -> dict[float, list[OtherCourse]]:
    """Return the runs of a network on record: its first setting, or one that is new."""
    first = network.layer == LAYERS[network.name][0] and not network.momentum
    fine = first and network.name == "convnet"
    strengths = STRONG if network.blind else STRENGTHS if fine else COARSE
    seeds = SEEDS if first else OTHER_SEEDS
    looked_at = 0 if network.blind else LOOKED_AT
    return other_runs(network, strengths, seeds, OTHER_NETWORKS, looked_at=looked_at)


def settings_tried() -> list[OtherNetwork]:
    """Return the settings: the node at the first layer, at a later one, and SGD with momentum."""
    first = [OtherNetwork(name, LAYERS[name][0]) for name in SIDES]
    later = [OtherNetwork(name, LAYERS[name][1]) for name in SIDES]
    return [*first, *later, replace(first[0], momentum=MOMENTUM)]


@lru_cache
def predictions_of(network: OtherNetwork) -> list[OtherForecast]:
    """Return what is predicted of a network's borders, for each seed of its runs."""
    first = network.layer == LAYERS[network.name][0]
    return other_forecasts(network, SEEDS if first else OTHER_SEEDS, OTHER_NETWORKS)


def _setting(of: OtherNetwork, **more: Any) -> dict[str, Any]:
    return {"network": of.name, "node": of.layer, "momentum": of.momentum, **more}


def phase_of(run: OtherCourse, lost: bool) -> int:
    """Return the place of a run's phase; a run that is lost may count as divergent."""
    phase = Phase.DIVERGENT if lost and is_past("lost", run.finding) else run.phase
    return list(Phase).index(phase)


def all_in_order(runs: dict[float, list[OtherCourse]], lost: bool) -> np.ndarray:
    """Return whether each seed meets all four phases, in their order, (seeds,).

    Args:
        runs: By sigma_eps, rising.
        lost: Whether a run that is lost counts as divergent.
    """
    met = np.array([[phase_of(r, lost) for r in v] for v in runs.values()])  # (strengths, seeds)
    every = np.array([len(np.unique(one)) == len(Phase) for one in met.T])
    return np.asarray((np.diff(met, axis=0) >= 0).all(0) & every)


def lacking(runs: dict[float, list[OtherCourse]]) -> list[str]:
    """Return the phases that a seed lacks, where a run that is lost counts as divergent."""
    met = np.array([[phase_of(r, lost=True) for r in v] for v in runs.values()])
    return [p.value for k, p in enumerate(Phase) if not all((one == k).any() for one in met.T)]


@claim(
    "C46",
    "The four phases, in their order, persist in every network.",
    "Sec. 3",
    PAGE,
)
def phases_of_others() -> Finding:
    """Ask for each seed whether it meets all four phases, and in their order."""
    cells, whole, without = list[Cell](), list[str](), list[str]()
    for of in settings_tried():
        runs = network_runs(of)
        good = all_in_order(runs, lost=True)
        strictly = all_in_order(runs, lost=False)
        cells.append(Cell.of(_setting(of), good, bool(strictly.all()), bool(good.all())))
        name = f"{of.name}, {of.layer}" + (", momentum" if of.momentum else "")
        if good.all():
            whole.append(name)
        elif missed := lacking(runs):
            without.append(f"no {' or '.join(missed)} in some seed of {name}")
    return Finding.over(
        cells,
        f"All seeds do in: {'; '.join(whole) or 'none'}; if a run counts as divergent whose noise "
        "weights end at ten times their start: its units are dead, its loss finite. Elsewhere: "
        f"{'; '.join(without) or 'not in order'}.",
        "share of seeds that meet all four phases in their order",
    )


@claim(
    "C47",
    "The initial weights tell at which noise the phases of any network end.",
    "Sec. 3",
    PAGE,
)
def borders_of_others() -> Finding:
    """Compare predicted and measured sigma_eps^2 at the borders that the runs have."""
    cells = list[Cell]()
    for of in (of for of in settings_tried() if not of.momentum):
        runs, told = network_runs(of), predictions_of(of)
        for border, name in BORDERS.items():
            said = np.array([getattr(f, name) for f in told])
            cells += _border_cells(of, border, "curvature", said, border_between(runs, border))
        blind = replace(of, blind=True)
        if blind in SEES_NOISE_ALONE:
            alone = network_runs(blind)
            for border in ("surge", "lost"):
                said, found = (border_between(r, border) for r in (alone, runs))
                cells += _border_cells(of, border, "noise alone", said, found)
    parts = {
        name: [c for c in cells if (c.setting["border"], c.setting["by"]) == name]
        for name in dict.fromkeys((c.setting["border"], c.setting["by"]) for c in cells)
    }
    return Finding.over(
        cells,
        "; ".join(
            f"{border} by {by}: {min(c.value for c in of):.2g} to {max(c.value for c in of):.2g}"
            for (border, by), of in parts.items()
        )
        + ". Borders that lie beyond the strengths tried are no cells.",
        "predicted over measured sigma_eps^2 of a border",
    )


def _border_cells(
    of: OtherNetwork, border: str, by: str, said: np.ndarray, found: np.ndarray
) -> list[Cell]:
    """Return the cell of a border, if seeds have it as measured and as predicted."""
    there = np.isfinite(said) & np.isfinite(found) & (said > 0) & (found > 0)
    if not there.any():
        return []
    off = said[there] / found[there]
    setting = {"network": of.name, "node": of.layer, "border": border, "by": by}
    near = 1 / NEAR < middle(off)[0] < NEAR
    return [Cell.of(setting, off**2, near)]


@claim(
    "C48",
    "Before any catapult the noise weights of any network decay by the local curvature.",
    "Sec. 2, Sec. 3",
    PAGE,
)
def decays_by_curvature() -> Finding:
    """Compare the fall of ln|w_ni| with the curvature along it, summed up over the steps."""
    cells = []
    for of in settings_tried():
        for s, runs in short_of_catapult(network_runs(of)).items():
            (value, err), (by_pull, _) = (explained_falls(runs, LEFT, by) for by in (1, 2))
            if err < UNKNOWN:
                near, pulled = (1 / RIGHT < v < RIGHT for v in (value, by_pull))
                cells.append(Cell(_setting(of, sigma_eps=s), value, err, len(runs), near, pulled))
    return Finding.over(
        cells,
        f"Within a factor {RIGHT:g} of what the Hessian of the silent network says at "
        f"{sum(bool(c.holds) for c in cells)} of {len(cells)} settings, all of weak noise; of what "
        f"the pull averaged over the noise says at {sum(bool(c.mended) for c in cells)}.",
        "fall of ln|w_ni| down to a half over the integral of eta sigma_eps^2 times the curvature "
        "along it",
    )
