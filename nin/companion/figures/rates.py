"""The figures of curvature in training: what is predicted, what is measured, and at what cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nin.companion.course_groups import seed_slopes, strength_slopes
from nin.companion.curvature_tables import PREDICTIONS
from nin.companion.figures.style import NEXT, NIW, PHASE_COLORS
from nin.companion.layer_rates import PlainCourse
from nin.curvature.measured_slope import over
from nin.runs.averages import mean
from nin.runs.phases import Phase
from nin.studies.traces import Estimates
from nin.studies.windows import Course

LAYER_MARKERS = {"layers.0": "o", "layers.1": "s", "layers.2": "^"}
ALONE, KINKED, PRINTED = "black", NEXT, "gray"


def draw_ratios(ax: Axes, found: Sequence[Course], prediction: str) -> None:
    """Draw measured over predicted rates of single batches against the reach of the noise.

    Args:
        ax: Where to draw.
        found: The runs; those of a smooth network are drawn as crosses.
        prediction: A key of `PREDICTIONS`.
    """
    for c in found:
        marker = LAYER_MARKERS.get(c.experiment.layer, "D")
        ax.plot(
            c.reach,
            over(c.exact, PREDICTIONS[prediction](c)),
            marker if c.experiment.activation == "relu" else "x",
            color=PHASE_COLORS[c.phase] if c.experiment.activation == "relu" else "black",
            mec="black",
            mew=0.5 if c.experiment.activation == "relu" else 1.2,
            ms=5,
        )
    ax.axhline(1, color="black", lw=1, zorder=0)
    ax.axhline(0.5, color=PRINTED, lw=1, ls=":", zorder=0)
    ax.set(xscale="log", title=prediction, xlabel="reach of the noise")


def add_ratio_legend(fig: Figure, found: Sequence[Course]) -> None:
    """Explain colours, markers and lines of `draw_ratios` below a figure, those that it has."""
    layers = dict.fromkeys(c.experiment.layer for c in found)
    seen = {c.phase for c in found}
    dot: dict[str, Any] = {"ls": "", "mec": "black", "mew": 0.5}
    entries = [
        Line2D([], [], marker="o", color=PHASE_COLORS[q], label=q, **dot)
        for q in Phase
        if q in seen
    ]
    entries += [
        Line2D([], [], marker=LAYER_MARKERS.get(x, "D"), color="white", label=f"at {x}", **dot)
        for x in layers
    ]
    entries.append(Line2D([], [], marker="x", ls="", color="black", label="smooth network"))
    entries.append(Line2D([], [], color=PRINTED, ls=":", label="factor ½, as printed"))
    fig.legend(handles=entries, loc="outside lower center", ncols=5)


def draw_slopes(ax: Axes, groups: dict[str, list[Course]]) -> None:
    """Draw the slope of each window of real steps, without and with kinks, side by side.

    Mean and standard error over seeds; a line joins the means over windows at each place.

    Args:
        ax: Where to draw.
        groups: Runs alike in all but the seed, by the label of their place on the axis.
    """
    for place, (_, found) in enumerate(groups.items()):
        windows = len(found[0].starts)
        for w in range(windows):
            x = place + 0.7 * ((w + 0.5) / windows - 0.5)
            for shift, kinked in ((-0.04, False), (0.04, True)):
                slopes = seed_slopes(found, w, kinked)
                if len(slopes):  # else next to no curvature is left
                    color, fill = (KINKED, "white") if kinked else (ALONE, ALONE)
                    value, err = mean(slopes)
                    ax.errorbar(x + shift, value, err, fmt="o", ms=4, color=color, mfc=fill)
    for color, kinked in ((ALONE, False), (KINKED, True)):
        means = [strength_slopes(found, kinked).mean() for found in groups.values()]
        ax.plot(range(len(groups)), means, color=color, lw=1, alpha=0.6, zorder=1)
    ax.axhline(1, color="black", lw=1, zorder=0)
    ax.axhline(0.5, color=PRINTED, lw=1, ls=":", zorder=0)
    ax.set_xticks(range(len(groups)), list(groups))
    ax.set_xlim(-0.5, len(groups) - 0.5)


def add_slope_legend(fig: Figure) -> None:
    """Explain `draw_slopes` below a figure."""
    entries = [
        Line2D([], [], marker="o", ls="", color=ALONE, label="Hessian"),
        Line2D([], [], marker="o", ls="", color=KINKED, mfc="white", label="Hessian and kinks"),
        Line2D([], [], color=PRINTED, ls=":", label="factor ½, as printed"),
    ]
    fig.legend(handles=entries, loc="outside lower center", ncols=3)


def draw_window(ax: Axes, found: Sequence[Course], window: int) -> None:
    """Draw the fall of ln|w_ni| in a window, mean over runs, and its integrated predictions.

    Args:
        ax: Where to draw.
        found: Runs alike in all but the seed.
        window: Which window.
    """

    def total(pick: Callable[[Course], np.ndarray]) -> np.ndarray:
        return np.mean([np.append(0, -np.cumsum(pick(c)[window])) for c in found], 0)

    t = found[0].starts[window] + np.arange(len(found[0].fall[window]) + 1)
    ax.plot(t, total(lambda c: c.curvature / 2), color=PRINTED, ls=":", label="factor ½")
    ax.plot(t, total(lambda c: c.curvature), color=ALONE, label="Hessian")
    ax.plot(t, total(lambda c: c.curvature + c.kinks), color=KINKED, label="and kinks")
    both = total(lambda c: c.curvature + c.kinks + c.bend + c.kick)
    ax.plot(t, both, color=KINKED, ls="--", label="and walk and kick")
    ax.plot(t, total(lambda c: c.fall), color=NIW, lw=2.5, label="measured", zorder=3)
    ax.set(xlabel="SGD step")


def draw_bias(ax: Axes, found: dict[str, Estimates]) -> None:
    """Draw the mean of one-step estimates over the reference against the reach of the noise.

    Args:
        ax: Where to draw.
        found: States of networks, by name.
    """
    for (name, e), fmt in zip(found.items(), ("o-", "s-", "x--", "^:"), strict=False):
        each = e.one_step.mean(2) / e.reference[0]
        err = each.std(1, ddof=1) / each.shape[1] ** 0.5
        color = NIW if e.experiment.activation == "relu" else "black"
        ax.errorbar(e.reaches, each.mean(1), err, fmt=fmt, ms=5, color=color, label=name)
    ax.axhline(1, color="black", lw=1, zorder=0)
    ax.set(xscale="log", xlabel="reach of the noise", ylabel="estimate over tr$\\langle H\\rangle$")
    ax.legend()


def draw_costs(ax: Axes, e: Estimates, reach: int) -> None:
    """Draw the relative error of each kind of estimate against its cost.

    Args:
        ax: Where to draw.
        e: One state of a network.
        reach: Which strength of the noise the one-step estimates have.
    """
    cost = np.geomspace(2, 3000, 60)
    ax.plot(cost, e.probe_error(cost, reach), color=NIW, label="fresh $w_{\\rm NI}$ each step")
    mirrored = e.probe_error(cost, reach, mirrored=True)
    ax.plot(cost, mirrored, color=NIW, ls="--", label="and its mirror image")
    off = e.decay / e.reference[0] - 1
    steps = np.arange(1, off.shape[1] + 1)
    label = "one decaying $w_{\\rm NI}$"
    ax.plot(steps, np.sqrt(np.square(off).mean(0)), color=NIW, ls=":", label=label)
    ax.plot(cost, e.hutchinson_error(cost), color=NEXT, label="Hutchinson, curvlinops")
    label = "XTrace, curvlinops"
    ax.plot(e.xtrace_costs, e.xtrace_error(), "D", color=NEXT, mec="black", label=label)
    ax.set(xscale="log", yscale="log", xlabel="cost, in gradients of a batch")
    ax.set_ylabel("relative error of tr$\\langle H\\rangle$, rms")
    ax.legend()


def draw_pulls(ax: Axes, course: PlainCourse) -> None:
    """Draw the measured pull on each node over what the local curvature says, layer by layer.

    Args:
        ax: Where to draw.
        course: Training by a plain loop; filled, the Hessian of the network in ``eval()``, open,
            that of the batch in ``train()``.
    """
    places = np.arange(len(course.layers))
    for name, label, shift, face in (
        ("eq2", "Hessian in eval()", -0.12, ALONE),
        ("blocks", "batch's blocks in train()", 0.12, "white"),
    ):
        value, err = course.over(name)
        style: dict[str, Any] = {"color": ALONE, "mfc": face, "capsize": 2, "label": label}
        ax.errorbar(places + shift, value, err, fmt="o", ms=6, **style)
    ax.axhline(1, color="black", lw=1, zorder=0)
    ax.axhline(0.5, color=PRINTED, lw=1, ls=":", zorder=0)
    ax.set(ylim=(-0.5, 3), xticks=places, xticklabels=course.layers)
    ax.tick_params(axis="x", rotation=30)
