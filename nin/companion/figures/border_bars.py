"""The figures of borders: measured ones beside Table 1, and predicted against measured ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from nin.companion.comparisons import Compared, Comparison
from nin.companion.figures.style import PHASE_COLORS
from nin.runs.phases import Phase
from nin.studies.borders.saturation import Outcomes

ACTIVATION_COLORS = {
    "relu": "#4477AA",
    "gelu": "#228833",
    "softplus": "#CCBB44",
    "tanh": "#AA3377",
    "sigmoid": "#EE6677",
    "linear": "#66CCEE",
    "relu_squared": "#BBBBBB",
    "square": "#000000",
}
"""Paul Tol's bright scheme."""
LOSS_MARKERS = {"mse": "o", "ce": "s"}


def draw_borders(
    ax: Axes, borders: Mapping[Phase, np.ndarray], table: Mapping[str, float], label: str
) -> None:
    """Draw each seed's phases as a bar, and the values of Table 1 near them as diamonds above.

    Args:
        ax: Where to draw.
        borders: Value of K at which a phase begins, (seeds,), for some phases in their order; 0 or
            infinite where it begins outside the range looked at.
        table: Value of K by the phase that Table 1 gives it.
        label: Of the axis.
    """
    edges = np.concatenate([*borders.values()])
    edges = edges[np.isfinite(edges) & (edges > 0)]
    if not len(edges):
        edges = np.array([max(table.values())])
    left, right = edges.min() / 5, edges.max() * 3
    first = list(Phase)[list(Phase).index(next(iter(borders))) - 1]
    n = len(next(iter(borders.values())))
    for seed in range(n):
        starts = [left, *(float(values[seed]) for values in borders.values()), right]
        for phase, a, b in zip([first, *borders], starts[:-1], starts[1:], strict=True):
            ends = np.clip([a, b], left, right)
            ax.barh(seed, ends[1] - ends[0], 0.8, ends[0], color=PHASE_COLORS[phase], lw=0)
    for name, K in table.items():
        if not left < K < right:
            continue
        ax.axvline(K, color="black", lw=0.7, ls=":")
        color = PHASE_COLORS[Phase(name)]
        ax.plot(K, n + 0.1, "D", ms=8, color=color, mec="black", clip_on=False)
    for phase in [first, *borders]:
        ax.plot([], [], "s", ms=9, color=PHASE_COLORS[phase], label=phase)
    ax.plot([], [], "D", ms=8, color="white", mec="black", label="Table 1, in its phase's colour")
    ax.set(xscale="log", xlim=(left, right), ylim=(-0.6, n + 0.8), xlabel=label, ylabel="seed")
    _plain_ticks(ax.xaxis)
    ax.grid(False)


def draw_comparison(ax: Axes, points: Sequence[Comparison]) -> None:
    """Draw measured against predicted borders, with the line on which they agree."""
    for p in points:
        ax.errorbar(
            p.predicted,
            p.measured,
            p.err,
            fmt=LOSS_MARKERS[p.loss],
            ms=6,
            color=ACTIVATION_COLORS[p.activation],
            mec="black",
            mew=0.5,
        )
    values = np.array([[p.predicted, p.measured] for p in points] or [[1.0, 10.0]])
    ends = np.array([values.min() / 1.5, values.max() * 1.5])
    ax.plot(ends, ends, color="black", lw=1, zorder=0)
    ax.fill_between(ends, ends / 1.2, ends * 1.2, color="gray", alpha=0.2, lw=0, zorder=-1)
    ax.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
    for axis in (ax.xaxis, ax.yaxis):
        _plain_ticks(axis)
    ax.set(xlabel=r"predicted $\sigma_\epsilon$", ylabel=r"measured $\sigma_\epsilon$")


def draw_comparisons(
    compared: Compared, border: str, activations: Sequence[str], losses: Sequence[str]
) -> Figure:
    """Draw a border as measured against each method's prediction, a panel for each.

    Args:
        compared: From `nin.companion.comparisons.compare_all`.
        border: ``"catapult"`` or ``"divergent"``.
        activations: In the order of the legend, which leaves out what no border was compared for.
        losses: In the order of the legend.
    """
    methods = [method for there, method in compared if there == border]
    fig, axes = plt.subplots(1, len(methods), figsize=(8.2, 3.3), squeeze=False)
    for ax, method in zip(axes[0], methods, strict=True):
        draw_comparison(ax, compared[border, method][0])
        ax.set_title(method)
    drawn = {q.activation for points, _ in compared.values() for q in points}
    add_legend(fig, [a for a in activations if a in drawn], losses)
    return fig


def draw_outcomes(
    axes: Sequence[Axes], short: Mapping[str, Outcomes], long: Mapping[str, Outcomes]
) -> None:
    """Draw how runs end against the noise: saturated neurons, accuracy, growth of w_ni.

    Args:
        axes: Three, in this order.
        short: Runs by activation: filled markers, lines through the medians over seeds.
        long: Longer runs by activation: their accuracy, hollow markers.
    """
    for activation, runs in short.items():
        color = ACTIVATION_COLORS[activation]
        for ax, values in zip(axes, (runs.saturated, runs.accuracy, runs.growth), strict=True):
            if np.isfinite(values).all():  # nothing saturates without bounds
                ax.plot(runs.sigma_eps, np.median(values, 1), color=color, label=activation)
                ax.plot(runs.sigma_eps, values, "o", ms=4, color=color)
        if activation in long:
            late = long[activation]
            axes[1].plot(late.sigma_eps, late.accuracy, "o", ms=5, mfc="none", color=color)
    axes[0].set(ylim=(-0.05, 1.05), ylabel="share of saturated neurons")
    axes[1].set(ylim=(-0.05, 1.05), ylabel="accuracy, noise off")
    axes[2].set(yscale="log", ylim=(0.1, 10), ylabel=r"$|w_{\rm NI}|$, end over start")
    _plain_ticks(axes[2].yaxis)
    for ax in axes:
        ax.set(xscale="log", xlabel=r"$\sigma_\epsilon$")


def _plain_ticks(axis: Axis) -> None:
    """Label 1, 2 and 5 of each decade in plain numbers: a narrow range has too few powers of 10."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())


def add_legend(fig: Figure, activations: Sequence[str], losses: Sequence[str]) -> None:
    """Explain colours and markers of `draw_comparison` below a figure."""
    entries = [
        Line2D([], [], marker="o", ls="", color=ACTIVATION_COLORS[a], label=a) for a in activations
    ] + [Line2D([], [], marker=LOSS_MARKERS[x], ls="", color="gray", label=x) for x in losses]
    fig.legend(handles=entries, loc="outside lower center", ncols=len(entries))
