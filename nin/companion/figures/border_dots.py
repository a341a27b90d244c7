"""What moves a border: choices, activations and units as dots, curvature as lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from nin.companion.border_choices import ChoiceEffect
from nin.companion.border_units import Collapse
from nin.companion.figures.border_bars import ACTIVATION_COLORS
from nin.companion.figures.style import NEXT, NIW, PHASE_COLORS
from nin.runs.averages import mean
from nin.runs.phases import Phase
from nin.studies.borders.prediction import Curve
from nin.studies.experiments import Experiment

_MARKERS = "osD^v"


def draw_choices(ax: Axes, effects: Mapping[str, ChoiceEffect], table: Mapping[str, float]) -> None:
    """Draw where each choice would put the borders at the paper's scale, a row for each.

    Args:
        ax: Where to draw.
        effects: By choice, from the top.
        table: K of Table 1 by phase, which hold the borders if the catapult's begins between the
            first two and divergence between the last two.
    """
    strengths = [K for name, K in table.items() if name != Phase.DECOUPLED]
    between = (Phase.CATAPULT, Phase.DIVERGENT)
    for phase, low, high in zip(between, strengths[:-1], strengths[1:], strict=True):
        label = f"{phase} would begin here"
        ax.axvspan(low, high, color=PHASE_COLORS[phase], alpha=0.6, lw=0, label=label)
    for row, effect in enumerate(effects.values()):
        catapult, divergent = effect.at_full_scale
        err = divergent * effect.factor[1] / effect.factor[0]
        names = ("catapult", "divergence") if row == 0 else (None, None)
        ax.plot(catapult, row, "o", ms=7, mfc="white", color=NIW, label=names[0])
        ax.errorbar(divergent, row, xerr=err, fmt="o", ms=4, color=NEXT, label=names[1])
    ax.set_yticks(range(len(effects)), list(effects))
    ax.set(xscale="log", xlabel="$K$ at the paper's scale", ylim=(len(effects) - 0.5, -0.5))
    ax.legend(ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def draw_beyond(ax: Axes, shares: Mapping[Experiment, np.ndarray]) -> None:
    """Draw where training diverges over where its second order would, a row per activation.

    Args:
        ax: Where to draw.
        shares: Of the linear model's border, (seeds,), by experiment: small, each seed; large, the
            mean with its standard error. Widths have markers of their own.
    """
    names = list(dict.fromkeys(e.activation for e in shares))
    widths = list(dict.fromkeys(e.width for e in shares))
    ax.axvspan(1e-9, 1, color=PHASE_COLORS[Phase.DIVERGENT], alpha=0.25, lw=0)
    for e, each in shares.items():
        i = widths.index(e.width)
        row, color = names.index(e.activation) + 0.3 * (i - (len(widths) - 1) / 2), f"C{i}"
        ax.plot(each, np.full(len(each), row), ".", ms=3, color=color)
        value, err = mean(each[np.isfinite(each)])
        label = f"{e.width} neurons" if e.activation == names[0] else None
        style: dict[str, Any] = {"color": color, "mec": "black", "label": label}
        ax.errorbar(value, row, xerr=err, fmt=_MARKERS[i], ms=6, **style)
    ax.axvline(1, color="black", lw=1, zorder=0)
    values = np.concatenate(list(shares.values()))
    values = values[np.isfinite(values)]
    ax.set_yticks(range(len(names)), names)
    ax.set(xscale="log", ylim=(len(names) - 0.5, -0.5), xlabel=r"$\lambda/4$ where it diverges")
    ax.set_xlim(min(values.min(), 0.5) / 1.5, max(values.max(), 2) * 1.5)
    ax.grid(axis="y", visible=False)


def draw_spreads(ax: Axes, found: Sequence[Collapse]) -> None:
    """Draw the spread of a border over networks in each unit: nothing to see where it collapses.

    Args:
        ax: Where to draw.
        found: For one loss; networks of one hidden layer filled, all of them hollow.
    """
    units = list(dict.fromkeys(c.unit for c in found))
    kinds = dict.fromkeys(c.networks for c in found)
    for kind, face in zip(kinds, (NIW, "white"), strict=False):
        rows = [(c.spread, units.index(c.unit)) for c in found if c.networks == kind]
        ax.plot(*np.array(rows).T, "o", ms=6, color=NIW, mfc=face, label=kind)
    ax.axvline(1, color="black", lw=1, zorder=0)
    ax.set_yticks(range(len(units)), units)
    ax.set(ylim=(len(units) - 0.5, -0.5), xlabel="spread over networks, a factor")


def draw_curvatures(ax: Axes, curves: Mapping[Experiment, Curve]) -> None:
    """Draw the curvature of the noisy loss at the initial weights against the noise.

    Args:
        ax: Where to draw.
        curves: By network: solid with the squared error, dashed with cross-entropy. Dotted lines
            are the thresholds of surge and divergence, 2 and 4.
    """
    for e, c in curves.items():
        style = "-" if e.loss == "mse" else "--"
        label, color = f"{e.activation}, {e.loss}", ACTIVATION_COLORS[e.activation]
        ax.plot(c.sigma_eps, c.lam, style, color=color, label=label)
    for level in (2, 4):
        ax.axhline(level, color="black", lw=0.8, ls=":")
    ax.set(xscale="log", yscale="log", xlabel=r"$\sigma_\epsilon$", ylabel=r"$\lambda$")
    ax.legend(ncols=2, loc="upper left", bbox_to_anchor=(1, 1))
