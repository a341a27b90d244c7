"""Measured borders against closed forms: every configuration a point, the phases behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from nin.companion.comparisons import Comparison, Shift
from nin.companion.figures.style import PHASE_COLORS
from nin.runs.phases import Phase

_MARKERS = "osD^vP"


def draw_border_plane(
    ax: Axes,
    alone: Mapping[str, Sequence[Comparison]],
    networks: Mapping[str, Sequence[Comparison]] | None = None,
    catapult_from: float | None = None,
) -> None:
    """Draw measured borders of divergence against their closed form, and the phases it predicts.

    Up is more noise: what lies above the line is divergent by the formula, what lies below is not.

    Args:
        ax: Where to draw.
        alone: Borders of networks that see the noise and no image, by what they have in common:
            hollow markers.
        networks: Borders of networks that see images, by the same names: filled.
        catapult_from: Where the catapult begins by the formula, as a share of the border; default:
            it is not drawn.
    """
    networks = networks or {}
    points = [p for group in (*alone.values(), *networks.values()) for p in group]
    values = np.array([[p.predicted, p.measured] for p in points])
    ends = np.array([values.min() / 1.6, values.max() * 1.6])
    bands = [(Phase.DECAY, ends[0] / ends), (Phase.DIVERGENT, np.ones(2))]
    if catapult_from is not None:
        bands.insert(1, (Phase.CATAPULT, np.full(2, catapult_from)))
    tops = [*(start for _, start in bands[1:]), ends[1] / ends]
    for (phase, start), top in zip(bands, tops, strict=True):
        color = PHASE_COLORS[phase]
        ax.fill_between(ends, ends * start, ends * top, color=color, alpha=0.45, lw=0, zorder=-1)
        ax.plot([], [], "s", ms=9, color=color, alpha=0.45, label=f"{phase}, by the formula")
    ax.plot(ends, ends, color="black", lw=1, zorder=0)
    names = dict.fromkeys([*alone, *networks])
    for i, name in enumerate(names):
        for group, face in ((alone.get(name, ()), "white"), (networks.get(name, ()), f"C{i}")):
            for p in group:
                ax.errorbar(
                    p.predicted, p.measured, p.err,
                    fmt=_MARKERS[i % len(_MARKERS)], ms=5, color=f"C{i}", mfc=face,
                )  # fmt: skip
        face = f"C{i}" if name in networks else "white"
        ax.plot([], [], _MARKERS[i % len(_MARKERS)], ms=5, color=f"C{i}", mfc=face, label=name)
    ax.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
    ax.set(xlabel=r"$\sigma_\epsilon$ of the closed form", ylabel=r"measured $\sigma_\epsilon$")
    ax.legend(loc="upper left", fontsize=7)
    ax.grid(False)


def draw_image_shift(
    ax: Axes, shifts: Mapping[str, Sequence[Shift]], levels: Mapping[str, float]
) -> None:
    """Draw how far images move borders of divergence from those of noise alone.

    Args:
        ax: Where to draw.
        shifts: By what networks have in common: with images filled, noise alone hollow.
        levels: Named values of measured over predicted to draw as lines.
    """
    for name, level in levels.items():
        ax.axhline(level, color="black", lw=0.8, ls=":")
        ax.annotate(name, (0.02, level), xycoords=("axes fraction", "data"), va="bottom")
    for i, (name, points) in enumerate(shifts.items()):
        rising = sorted(points, key=lambda s: s.size)
        size = [s.size for s in rising]
        for kind, face in (("images", f"C{i}"), ("alone", "white")):
            found = [getattr(s, kind) for s in rising]
            ratios = [p.ratio for p in found]
            errors = [p.err / p.predicted for p in found]
            ax.errorbar(
                size, ratios, errors, fmt=f"{_MARKERS[i % len(_MARKERS)]}-", ms=5, lw=1,
                color=f"C{i}", mfc=face,
            )  # fmt: skip
        at = (size[-1], rising[-1].images.ratio)
        ax.annotate(name, at, (-6, 4), textcoords="offset points", ha="right", color=f"C{i}")
    for name, face in (("with images", "black"), ("noise alone", "white")):
        ax.plot([], [], "o", ms=5, color="black", mfc=face, label=name)
    ax.set(xscale="log", xlabel=r"size of an image, $|x|^2/\sigma_\epsilon^2$")
    ax.set(ylabel="measured / closed form")
    ax.legend(loc="upper left", fontsize=7)
