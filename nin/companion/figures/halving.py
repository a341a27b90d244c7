"""What halves |w_ni|: the parts of Eq. (2), summed over the steps to the half-life."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from nin.companion.figures.style import NEXT, NIW, SIGMA_EPS, TRAIN
from nin.companion.rest_tables import shares
from nin.runs.averages import mean
from nin.studies.half_lives import Halved

_STYLES = {
    "curvature": ("o", "black"),
    "kinks": ("s", NEXT),
    "walk": ("v", NIW),
    "kick": ("x", "gray"),
    "the rest": ("D", TRAIN),
}


def draw_halving(ax: Axes, halved: Mapping[float, Sequence[Halved]]) -> None:
    """Draw what the parts take off ln|w_ni| until one half is left, over ln 2.

    Args:
        ax: Where to draw.
        halved: Runs alike in all but the seed, by sigma_eps.
    """
    for name, (marker, color) in _STYLES.items():
        rows = np.array([mean(shares(found, name)) for found in halved.values()])
        (value, err), line = rows.T, f"{marker}-"
        ax.errorbar(list(halved), value, err, fmt=line, ms=5, lw=1, color=color, label=name)
    ax.axhline(0, color="black", lw=0.7)
    ax.axhline(1, color="black", lw=0.7, ls=":")
    ax.set(xscale="log", xlabel=SIGMA_EPS, ylabel="over ln 2, until the half-life")
    ax.legend(ncols=5, loc="upper center", bbox_to_anchor=(0.5, 1.15))
