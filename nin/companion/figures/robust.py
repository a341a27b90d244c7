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


def draw_leads(ax: Axes, leads: Mapping[str, Sequence[Lead]]) -> None:
    """Draw leads with their intervals, a row for each comparison; those not found have no point.

    Args:
        ax: Where to draw.
        leads: The same comparisons in two settings; the first is filled, and above the second.
    """
    rows = np.arange(len(next(iter(leads.values()))))[::-1]
    for (name, some), shift, face in zip(
        leads.items(), (0.15, -0.15), ("full", "none"), strict=True
    ):
        for row, x in zip(rows, some, strict=True):
            if not x.strengths:
                continue
            marker, _ = _KINDS[x.fixed]
            half = 100 * x.half if np.isfinite(x.half) else None  # one seed has none
            style: dict[str, Any] = {"color": PHASE_COLORS[x.phase], "fillstyle": face}
            ax.errorbar(
                100 * x.value, row + shift, xerr=half, fmt=marker, ms=7, mew=1.2, capsize=3,
                ecolor="black", elinewidth=1, **style,
            )  # fmt: skip
        ax.plot([], [], "o", color="black", fillstyle=face, label=name)
    ax.axvline(0, color="black", lw=1, ls="--")
    ax.set_yticks(rows, [f"{x.phase},\n{kind_of(x)}" for x in next(iter(leads.values()))])
    ax.set(
        xlabel="ahead of the peers at equal or\nhigher clean accuracy, points", ylim=(-1.2, None)
    )
    ax.legend(loc="lower left", fontsize="small")
