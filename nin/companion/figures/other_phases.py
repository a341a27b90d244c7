"""Networks that are no MLPs: their phases over the noise, and how fast their noise weights fall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from nin.companion.figures.style import PHASE_COLORS, SIGMA_EPS
from nin.runs.phases import Phase
from nin.studies.borders.search import is_past
from nin.studies.other_networks import OtherCourse, OtherForecast, explained_falls

_BORDERS = {"decay": "|", "divergent": "x"}
_MARKERS = "os^Dv<"

Runs = Mapping[float, Sequence[OtherCourse]]


def draw_phase_rows(
    ax: Axes, rows: Mapping[str, Runs], forecasts: Mapping[str, Sequence[OtherForecast]]
) -> None:
    """Draw the phase of each run as a coloured square: a line per seed, a group per setting.

    Args:
        ax: Where to draw.
        rows: Runs by noise strength, for each setting.
        forecasts: Predictions, one per seed, for settings that have some.
    """
    height, ticks = 0.0, {}
    for label, runs in rows.items():
        seeds = len(next(iter(runs.values())))
        for i in range(seeds):
            colors = [PHASE_COLORS[v[i].phase] for v in runs.values()]
            ax.scatter(list(runs), [-height - i] * len(runs), c=colors, marker="s", s=42)
            lost = [s for s, v in runs.items() if is_past("lost", v[i].finding)]
            ax.plot(lost, [-height - i] * len(lost), "o", color="black", ms=2)
            for border, marker in _BORDERS.items():
                if label in forecasts:
                    at = getattr(forecasts[label][i], border)
                    ax.plot(at, -height - i, marker, color="black", ms=6)
        ticks[label] = -height - (seeds - 1) / 2
        height += seeds + 0.7
    ax.set_yticks(list(ticks.values()), list(ticks))
    ax.set(xscale="log", xlabel=SIGMA_EPS)
    ax.grid(visible=False)


def add_phase_legend(ax: Axes, rows: Mapping[str, Runs]) -> None:
    """Name the colours of `draw_phase_rows` and the marks of its predictions, outside below.

    Args:
        ax: One of the figure that has a layout of its own.
        rows: The runs drawn: only phases that one of them has are named.
    """
    found = {run.phase for runs in rows.values() for of in runs.values() for run in of}
    for phase in Phase:
        if phase in found:
            ax.plot([], [], "s", color=PHASE_COLORS[phase], label=phase.value)
    ax.plot([], [], "o", color="black", ms=2, label="lost")
    for border, marker in _BORDERS.items():
        ax.plot([], [], marker, color="black", label=f"{border}, predicted")
    assert ax.figure is not None
    handles, labels = ax.get_legend_handles_labels()
    ax.figure.legend(handles, labels, loc="outside lower center", ncols=7, fontsize="small")


def draw_fall_ratios(ax: Axes, rows: Mapping[str, Runs], left: float) -> None:
    """Draw how far ln|w_ni| fell over what the curvature says (solid) and the pull (hollow).

    Args:
        ax: Where to draw.
        rows: Runs by noise strength, all of them short of a catapult, for each setting.
        left: As for `OtherCourse.falls`.
    """
    ax.axhline(1, color="black", lw=0.5)
    for j, (label, runs) in enumerate(rows.items()):
        for by, line in ((1, "-"), (2, ":")):
            value, err = np.transpose([explained_falls(v, left, by) for v in runs.values()])
            shown = np.where(err < 1, value, np.nan)  # else next to nothing should have come of it
            ax.errorbar(
                list(runs), shown, err, fmt=_MARKERS[j] + line, ms=5, lw=1, color=f"C{j}",
                fillstyle="full" if by == 1 else "none", label=label if by == 1 else None,
            )  # fmt: skip
    ax.set(ylim=(-0.8, 1.8))
    ax.set(xscale="log", xlabel=SIGMA_EPS, ylabel=r"fall of $\ln|w_{\rm NI}|$, measured / said")
    ax.legend(fontsize="small")
