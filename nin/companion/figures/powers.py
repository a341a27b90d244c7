"""Powers of the noise strength: no line that is flat, and no power law."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from nin.companion.figures.style import SIGMA_EPS
from nin.companion.local_power import LocalPower

_MARKERS = "so^D"


def draw_powers(ax: Axes, powers: Sequence[LocalPower], said: float) -> None:
    """Draw local powers, each between the two strengths that it is of, with what theory says.

    Args:
        ax: Where to draw.
        powers: Of one quantity; each share of the start has a line.
        said: The power that theory says, a dashed line.
    """
    for i, share in enumerate(dict.fromkeys(p.share for p in powers)):
        rows = [(np.sqrt(p.low * p.high), p.value, p.err) for p in powers if p.share == share]
        x, value, err = np.array(rows).T
        fmt, label = f"{_MARKERS[i % len(_MARKERS)]}-", f"to {share:g} of the start"
        ax.errorbar(x, value, err, fmt=fmt, ms=5, lw=1, capsize=2, label=label)
    ax.axhline(said, color="black", lw=1, ls="--", label=f"Eq. (2): {said:g}".replace("-", "−"))
    ax.set(xscale="log", xlabel=SIGMA_EPS, ylabel="local power")
    ax.legend()
