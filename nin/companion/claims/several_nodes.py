"""What several nodes at once tell, as Sec. 4 hopes, and the loss's rate in a network."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from nin.companion.claims.finding import Cell, Finding
from nin.companion.claims.ledger import claim
from nin.companion.claims.proposals import PAGE
from nin.runs.averages import mean
from nin.studies.several import (
    BASE,
    SEEDS,
    SEVERAL,
    STRENGTHS,
    Together,
    explained,
    runs_with_nodes,
    several,
)

NAMES = ("pixels", "layer 0", "layer 1", "outputs")
"""Where the nodes are."""
LEFT = 0.5
"""Share of |w_ni| down to which a decay is followed."""
SCALE = 2.0
"""Rates agree within this factor."""
UNKNOWN = 1.0
"""Error of a ratio of falls from which it is none: next to nothing should have come of a node."""
SEES = 1.0
"""Power of a matrix above which a pull depends on it: half of that of a product of both sides."""

Array = np.ndarray


@lru_cache
def runs_seen() -> dict[tuple[str, str, float], list[Together]]:
    """Return what was seen of the runs with several nodes, by loss, activation and strength."""
    asked = runs_with_nodes(BASE, STRENGTHS, SEEDS)
    found = iter(several([e for runs in asked.values() for e in runs], SEVERAL))
    return {setting: [next(found) for _ in runs] for setting, runs in asked.items()}


def _setting(key: tuple[str, str, float], **more: Any) -> dict[str, Any]:
    return dict(zip(("loss", "activation", "sigma_eps"), key, strict=True)) | more


def _near(value: float, of: float = 1.0) -> bool:
    return bool(of / SCALE < value < of * SCALE)


@claim(
    "C36",
    "Of several NINs each decays by the local Hessian of its own layer.",
    "Sec. 4",
    f"{PAGE}#fig-several",
)
def each_sees_its_own() -> Finding:
    """Compare the fall of each node's |w_ni|, all nodes on, with its curvature summed up."""
    cells, by_pull = [], list[float]()
    for key, runs in runs_seen().items():
        if key[0] == "mse":
            by_pull += [value for value, _ in explained(runs, LEFT, by=2)]
        for name, (value, err) in zip(NAMES, explained(runs, LEFT), strict=True):
            if err < UNKNOWN:
                setting = _setting(key, node=name)
                cells.append(Cell(setting, value, err, len(runs), _near(value)))
    by_node = {name: [c.value for c in cells if c.setting["node"] == name] for name in NAMES}
    return Finding.over(
        cells,
        f"Within a factor {SCALE:g} at {sum(bool(c.holds) for c in cells)} of {len(cells)} "
        "settings, all four noises on: "
        + ", ".join(f"{name} {min(v):.2f} to {max(v):.2f}" for name, v in by_node.items())
        + f". With the squared error it is {np.median(by_pull):.2f} (median) of the pull averaged "
        "over all noises: off there is the Hessian, taken at a silent network.",
        "fall of ln|w_ni| down to a half over the integral of eta sigma_eps^2 times the curvature "
        "along it; the value is the median setting's",
        value=sorted(cells, key=lambda c: c.value)[len(cells) // 2].number,
    )


@claim(
    "C37",
    "Several NINs could be placed so that they are sensitive to the weights of the first layer.",
    "Sec. 4",
    f"{PAGE}#fig-several",
)
def which_see_the_first_layer() -> Finding:
    """Scale the first layer's weights and see with which power each node's pull follows."""
    cells = []
    for key, runs in runs_seen().items():
        for when, at in (("start", 0), ("end", -1)):
            powers = np.array([r.powers[at, :, 0] for r in runs])  # (seeds, nodes)
            for name, values in zip(NAMES, powers.T, strict=True):
                there = values[np.isfinite(values)]
                if len(there):
                    setting = _setting(key, when=when, node=name)
                    cells.append(Cell.of(setting, there, float(there.mean()) > SEES))
    first, *later = ([c for c in cells if c.setting["node"] == name] for name in NAMES)
    behind = [c.value for part in later for c in part]
    return Finding.over(
        cells,
        f"One on the pixels themselves is, with a power of {min(c.value for c in first):.1f} to "
        f"{max(c.value for c in first):.1f}; those at the first layer and behind it are not, "
        f"{min(behind):.1f} to {max(behind):.1f}: a node sees what lies behind it. (Larger weights "
        "before it make outputs surer, and cross-entropy flatter.)",
        "power with which the pull goes as the size of the first layer's weights; the value is "
        "that of the node at the second layer",
        value=(*mean([c.value for c in later[1]]), len(SEEDS)),
        stated=2.0,
    )


def _against_loss(trace: Callable[[Together], Array]) -> list[Cell]:
    """Return the loss's rate over twice a trace, a geometric mean over a run, at each setting.

    It holds if the rate is twice the trace at all looks, and with a correction if it is in
    proportion to it at all looks.
    """
    cells = []
    for key, runs in runs_seen().items():
        ratios = np.log([r.loss_rate() / 2 / trace(r) for r in runs])  # (seeds, looks)
        looks = np.exp(ratios.mean(0))
        value, err = mean(ratios.mean(1))
        middle = float(np.exp(value))
        holds, mended = (all(_near(v, of) for v in looks) for of in (1.0, middle))
        cells.append(Cell(_setting(key), middle, middle * err, len(runs), holds, mended))
    return cells


def _changes(quantity: Callable[[Together], Array], loss: str) -> str:
    """Return by what factors a quantity changes along the runs of a loss."""
    folds = [
        float(np.ptp(np.mean([np.log(quantity(r)) for r in runs], 0)))
        for key, runs in runs_seen().items()
        if key[0] == loss
    ]
    return f"{np.exp(min(folds)):.2g}- to {np.exp(max(folds)):.2g}-fold"


@claim(
    "C28-NET",
    "In a network too the loss falls according to the trace of the full Hessian.",
    "Sec. 4, App. D",
    f"{PAGE}#fig-several",
)
def loss_by_trace() -> Finding:
    """Compare the rate of the loss under gradient flow with twice the trace along training."""
    cells = _against_loss(Together.hessian_trace)
    values = [c.value for c in cells]
    rates, traces = (
        [_changes(quantity, loss) for loss in ("ce", "mse")]
        for quantity in (Together.loss_rate, Together.hessian_trace)
    )
    return Finding.over(
        cells,
        f"It falls at {min(values):.2g} to {max(values):.2g} of twice the trace: most directions "
        f"of curvature are not those in which the loss falls. In proportion to it, within a factor "
        f"{SCALE:g} all along the run, in {sum(c.mended for c in cells)} of {len(cells)} settings; "
        f"with cross-entropy the rate changes {rates[0]} and the trace {traces[0]}, with the "
        f"squared error {rates[1]} and {traces[1]}.",
        "rate of the loss over twice the trace of the Hessian by all layers' weights, geometric "
        "mean over a run",
    )


@claim(
    "C38",
    "Several NINs together give the rate of the loss.",
    "Sec. 4",
    f"{PAGE}#fig-several",
)
def loss_by_nodes() -> Finding:
    """Add up what the nodes of all layers say of the full Hessian, and compare with the loss."""
    cells = _against_loss(Together.trace_by_nodes)
    told = np.array([
        np.mean([r.trace_by_nodes() / r.hessian_trace() for r in runs], 0)
        for runs in runs_seen().values()
    ])  # fmt: skip
    return Finding.over(
        cells,
        "Weighted by the squares of what the layers read, their pulls add up to the trace of the "
        f"full Hessian, {told[:, 0].min():.2f} to {told[:, 0].max():.2f} of it at the start and "
        f"{told[:, 1:].min():.2f} to {told[:, 1:].max():.2f} later, when noise weights have turned "
        "out of steep directions; but the rate of the loss is not that trace, nor in proportion to "
        "what they tell of it.",
        "rate of the loss over twice the trace that the nodes tell, geometric mean over a run",
    )
