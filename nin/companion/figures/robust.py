"""Robust against clean accuracy, and who is ahead at equal clean accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from nin.companion.figures.style import PHASE_COLORS
from nin.companion.robustness_tables import kind_of
from nin.runs.averages import mean
from nin.runs.phases import Phase
from nin.studies.leads import Lead
from nin.studies.robustness import Robustness

_PEERS = (("s", "black"), ("^", "#777777"))
_KINDS = {False: ("o", 1.0), True: ("D", 0.55)}


def draw_frontier(
    ax: Axes,
    peers: Mapping[str, Sequence[Robustness]],
    nins: Mapping[bool, Sequence[Robustness]],
) -> None:
    """Draw robust against clean accuracy: peers as lines, NINs as points in their phase's colour.

    Args:
        ax: Where to draw.
        peers: By name, their strengths from none on.
        nins: By whether the NIN is fixed; lost networks, which know nothing, are left out.
    """
    for (name, runs), (marker, color) in zip(peers.items(), _PEERS, strict=True):
        _points(ax, runs, f"{marker}-", color=color, lw=1.2, label=name)
    for fixed, runs in nins.items():
        marker, shade = _KINDS[fixed]
        for phase in Phase:
            some = [r for r in runs if r.phase is phase and phase is not Phase.DIVERGENT]
            label = f"NIN{', fixed' if fixed else ''}: {phase}"
            style: dict[str, Any] = {"mec": "black", "mew": 0.6, "alpha": shade, "zorder": 3}
            if some:
                _points(ax, some, marker, color=PHASE_COLORS[phase], label=label, **style)
    ax.set(xlabel="accuracy on clean images, %", ylabel="accuracy on spoilt images, %")


def _points(ax: Axes, runs: Sequence[Robustness], fmt: str, **style: Any) -> None:
    """Draw means over seeds with their standard errors."""
    cells = [[mean(100 * column) for column in r.points().T] for r in runs]
    (x, x_err), (y, y_err) = np.array(cells).transpose(1, 2, 0)
    ax.errorbar(x, y, y_err, x_err, fmt=fmt, ms=5.5, elinewidth=0.7, **style)


def draw_advantages(ax: Axes, comparisons: Sequence[Lead]) -> None:
    """Draw advantages with their intervals, a row each; those that were not found have no point.

    Args:
        ax: Where to draw.
        comparisons: The first is drawn on top.
    """
    rows = np.arange(len(comparisons))[::-1]
    for row, c in zip(rows, comparisons, strict=True):
        if not c.strengths:
            continue
        marker, _ = _KINDS[c.fixed]
        half = 100 * c.half if np.isfinite(c.half) else None  # one seed has none
        color = PHASE_COLORS[c.phase]
        style: dict[str, Any] = {"color": color, "ecolor": "black", "mec": "black"}
        ax.errorbar(100 * c.value, row, xerr=half, fmt=marker, ms=7, capsize=3, lw=1, **style)
    ax.axvline(0, color="black", lw=1, ls="--")
    ax.set_yticks(rows, [f"{c.phase},\n{kind_of(c)}" for c in comparisons])
    ax.set(xlabel="spoilt images: ahead of the peers\nat equal clean accuracy, points")
    ax.margins(y=0.25)
