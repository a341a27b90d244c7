"""How every figure looks: the style file, and what each colour means."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib_inline.backend_inline import set_matplotlib_formats

from nin.runs.phases import Phase

STYLE = Path(__file__).with_name("nin.mplstyle")
PHASE_COLORS = {
    Phase.DECOUPLED: "#77AADD",
    Phase.DECAY: "#44BB99",
    Phase.CATAPULT: "#EEDD88",
    Phase.DIVERGENT: "#EE8866",
}
"""Paul Tol's light scheme, safe for colour-blind readers; the same in every figure."""
SIGMA_EPS = r"$\sigma_\epsilon$"
"""Label of an axis of noise strengths."""
TRAIN, TEST, NIW, NEXT = "#7B3294", "#009E73", "#0072B2", "#D55E00"
"""Training, validation, w_ni and the next layer's weights: the paper's purple, green, blue, red."""
NIW_FIXED = "#56B4E9"
"""w_ni of a fixed NIN beside a re-randomised one: the paper's light blue."""


def use_style() -> None:
    """Draw everything from now on in the book's style, and in a notebook into the notebook.

    A server's ``MPLBACKEND=agg`` would leave its pages without figures. They are vectors, sharp on
    paper and on a phone, without the time of day, so that a second run gives the same bytes.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None and hasattr(shell, "kernel"):
        shell.run_line_magic("matplotlib", "inline")
        set_matplotlib_formats("svg", metadata={"Date": None})
    plt.style.use(STYLE)
