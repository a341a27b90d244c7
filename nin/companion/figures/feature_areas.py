"""What noise weights tell of features: a curve per group of pixels, and the areas under them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from nin.companion.figures.style import NIW, NIW_FIXED, SIGMA_EPS
from nin.runs.averages import mean
from nin.studies.features import Lengths, over_niw

_SHADES = ("#332288", "#4477AA", "#44AA99", "#88CC88", "#999999")
_MARKERS = "os^D"


def draw_roc(ax: Axes, found: Sequence[Lengths], names: Sequence[str]) -> None:
    """Draw the ROC curve by which the length of its weights tells a pixel from a NIN.

    Args:
        ax: Where to draw.
        found: Runs of one kind and strength.
        names: Of the groups of pixels.
    """
    niw = np.array([f.w_ni[-1] for f in found])
    for i, (name, color) in enumerate(zip(names, _SHADES, strict=True)):
        lengths = np.concatenate([f.pixels[-1, f.groups()[i]] for f in found])
        at = np.sort(np.concatenate([lengths, niw, [np.inf, -np.inf]]))[::-1]
        x, y = ([np.mean(group >= t) for t in at] for group in (niw, lengths))
        ax.plot(x, y, color=color, ls="--" if i == len(names) - 1 else "-", label=name)
    ax.plot([0, 1], [0, 1], color="black", lw=0.5)
    ax.set(
        xlabel=r"share of NINs above a length", ylabel="share of pixels above it", aspect="equal"
    )
    ax.legend(loc="lower right", title="pixels")


def draw_told(
    ax: Axes, found: Mapping[tuple[bool, float], Sequence[Lengths]], names: Sequence[str]
) -> None:
    """Draw the area under the curve of each group of pixels: fixed NINs light, redrawn ones dark.

    Args:
        ax: Where to draw.
        found: Runs by kind (whether fixed) and strength, each of which has a marker.
        names: Of the groups of pixels.
    """
    strengths = list(dict.fromkeys(s for _, s in found))
    for j, ((fixed, strength), runs) in enumerate(found.items()):
        value, err = np.transpose([mean(v) for v in zip(*map(over_niw, runs), strict=True)])
        x = np.arange(len(names)) + 0.08 * (j - (len(found) - 1) / 2)
        label = f"{SIGMA_EPS} = {strength:g}, {'fixed' if fixed else 'redrawn'}"
        style: dict[str, Any] = {"color": NIW_FIXED if fixed else NIW, "label": label}
        marker = _MARKERS[strengths.index(strength) % len(_MARKERS)]
        ax.errorbar(x, value, err, fmt=marker, ms=5, lw=1, **style)
    ax.axhline(0.5, color="black", lw=0.5)
    ax.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names])
    ax.set(ylim=(-0.03, 1.03), ylabel=r"share of pixels longer than $|w_{\rm NI}|$ (AUC)")
    ax.legend(loc="lower left", ncols=2)
