"""The ledger as a picture: what was found over what the paper says, claim by claim."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from nin.companion.claims.finding import Verdict
from nin.companion.claims.ledger import Claim

VERDICT_STYLES = {
    Verdict.REPRODUCED: ("#228833", "o"),
    Verdict.CORRECTED: ("#4477AA", "s"),
    Verdict.PARTLY: ("#AA8800", "D"),
    Verdict.DIFFERS: ("#CC3311", "X"),
}
"""Colour and marker of a verdict; both, for those who see no colours."""
LOW, HIGH = 0.03, 130.0
"""What the axis shows; a worst cell below it lies on its edge, as an arrow."""


def draw_ledger(ax: Axes, claims: Iterable[Claim]) -> None:
    """Draw the number of each claim, its error and its cells, over the number that is expected.

    Args:
        ax: Where to draw.
        claims: Those of the ledger; one whose finding expects no number is left out.
    """
    order = list(VERDICT_STYLES)
    shown = [c for c in claims if c.finding.expected and c.finding.verdict in VERDICT_STYLES]
    shown.sort(key=lambda c: order.index(c.finding.verdict))
    for place, c in enumerate(shown):
        f, expected = c.finding, c.finding.expected or 1.0
        color, marker = VERDICT_STYLES[f.verdict]
        cells = [max(cell.value / expected, LOW) for cell in f.cells]
        ax.plot([min(cells), max(cells)], [place, place], color=color, lw=4, alpha=0.3)
        if f.worst is not None:
            worst = f.worst.value / expected
            style: dict[str, Any] = {"color": color, "mfc": "white", "ms": 5, "clip_on": False}
            ax.plot(max(worst, LOW), place, "<" if worst < LOW else marker, **style)
        err = f.err / abs(expected)
        ax.errorbar(f.value / expected, place, xerr=err, fmt=marker, ms=5, color=color, capsize=2)
    ax.axvline(1, color="black", lw=1, zorder=0)
    ax.set(xscale="log", xlim=(LOW, HIGH), ylim=(len(shown) - 0.4, -0.6))
    ax.set_yticks(range(len(shown)), [_name(c) for c in shown], fontsize=7)
    ax.set_xticks([0.1, 0.5, 1, 2, 10, 100], ["0.1", "½", "1", "2", "10", "100"])
    ax.minorticks_off()
    ax.set_xlabel("found over what the paper says")


def add_verdict_legend(ax: Axes) -> None:
    """Explain `draw_ledger` above its axes."""
    entries = [
        Line2D([], [], marker=marker, color=color, ls="", label=str(verdict))
        for verdict, (color, marker) in VERDICT_STYLES.items()
    ]
    entries.append(
        Line2D([], [], marker="o", color="black", mfc="white", ls="", label="worst cell")
    )
    entries.append(Line2D([], [], color="black", lw=4, alpha=0.3, label="all cells"))
    ax.legend(handles=entries, loc="lower right", bbox_to_anchor=(1, 1), ncols=3)


def _name(c: Claim) -> str:
    """Return what is measured, to its first comma, and the claim's id."""
    measured = re.split(r"[,;:]", c.finding.quantity)[0]
    return f"{measured.replace('|w_ni|', '$|w_{NI}|$')}  {c.id}"
