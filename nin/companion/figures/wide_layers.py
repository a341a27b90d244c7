"""Two wide linear layers on one sample: how the loss rises, how far, and what curvature is left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from nin.linear.wide_net import WideRuns
from nin.runs.averages import middle

_SMALL: dict[str, Any] = {"fontsize": "x-small", "title_fontsize": "x-small"}


def draw_rises(ax: Axes, runs: Sequence[WideRuns], steps: int = 40) -> None:
    """Draw the loss over the width of the first run of each width.

    Args:
        ax: Where to draw.
        runs: By rising width.
        steps: How many to show.
    """
    shades = mpl.colormaps["viridis"](np.linspace(0.1, 0.85, len(runs)))
    for of, color in zip(runs, shades, strict=True):
        ax.plot(of.loss[0, :steps] / of.width, color=color, label=f"{of.width:,}")
    ax.set(yscale="log", xlabel="step", ylabel="loss / $N_w$", ylim=(1e-9, 3))
    ax.legend(title="width $N_w$", **_SMALL)


def draw_peaks(ax: Axes, runs: Mapping[float, Sequence[WideRuns]]) -> None:
    """Draw the geometric mean of the highest loss against the width, with lines in proportion.

    Args:
        ax: Where to draw.
        runs: By rising width, for each eta times the initial curvature.
    """
    shades = mpl.colormaps["plasma"](np.linspace(0.1, 0.8, len(runs)))
    for (eta_lam, wide), color in zip(runs.items(), shades, strict=True):
        n = np.array([of.width for of in wide])
        peaks = np.array([middle(of.peak)[0] for of in wide])
        ax.plot(n, peaks, "o", ms=4, color=color, label=f"{eta_lam:g}")
        ax.plot(n, peaks[-1] * n / n[-1], "-", lw=0.8, color=color)
    ax.set(xscale="log", yscale="log", xlabel="width $N_w$", ylabel="peak of the loss")
    ax.legend(title=r"$\lambda_0$", **_SMALL)


def draw_flattening(ax: Axes, runs: Iterable[Sequence[WideRuns]]) -> None:
    """Draw eta times the curvature at the end against that at the start, a point for each run.

    Args:
        ax: Where to draw.
        runs: Of one width each, from different starts.
    """
    for found, marker in zip(runs, ".x+", strict=False):
        start, end = (np.concatenate([of.eta_lam[:, at] for of in found]) for at in (0, -1))
        ax.plot(start, end, marker, ms=3, label=f"{found[0].width:,}")
    ax.plot([0, 2, 4], [0, 2, 2], "k-", lw=0.8)
    ax.axvline(4, color="black", ls="--", lw=0.8)
    ax.set(xlabel=r"$\lambda$ at the start", ylabel=r"$\lambda$ at the end", ylim=(0, 2.2))
    ax.legend(title="width $N_w$", **_SMALL)
