"""The paper's four-panel figures, first steps, and the bar of phases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from nin.companion.figures.style import NEXT, NIW, PHASE_COLORS, SIGMA_EPS, TEST, TRAIN
from nin.runs.averages import mean_and_spread
from nin.runs.history import History
from nin.runs.phases import Phase


def draw_course(
    ax: Axes,
    histories: Sequence[History],
    quantity: str,
    *,
    log: bool = True,
    color: str,
    label: str,
    **style: Any,
) -> None:
    """Draw mean and standard deviation over runs of one quantity, against the SGD step."""
    x, mean, low, high = mean_and_spread(histories, quantity, log)
    ax.plot(x, mean, color=color, label=label, **style)
    ax.fill_between(x, low, high, color=color, alpha=0.2, lw=0)


def draw_losses(ax: Axes, histories: Sequence[History]) -> None:
    """Draw the noisy training loss and the clean losses, solid; the test's thin on the training's.

    In one pass through the images the two are nearly one line, and both must be seen.
    """
    draw_course(ax, histories, "loss", color="#BBA2CC", label="training loss, noise on")
    for quantity, color, name, width in (
        ("train_loss", TRAIN, "training loss", 3.4), ("val_loss", TEST, "test loss", 1.1)
    ):  # fmt: skip
        draw_course(ax, histories, quantity, color=color, label=f"{name}, $\\epsilon=0$", lw=width)
    ax.set_yscale("log")


def draw_accuracies(ax: Axes, histories: Sequence[History]) -> None:
    """Draw the clean accuracies, dashed, on top of each other like the losses."""
    for quantity, color, name, width in (
        ("train_accuracy", TRAIN, "training accuracy", 3.4),
        ("val_accuracy", TEST, "test accuracy", 1.1),
    ):
        label, dashes = f"{name}, $\\epsilon=0$", (6 / width, 3 / width)  # alike on paper
        style: dict[str, Any] = {"lw": width, "dashes": dashes}
        draw_course(ax, histories, quantity, log=False, color=color, label=label, **style)
    ax.set_ylim(0, 1)


def draw_weights(ax: Axes, histories: Sequence[History], next_layer: str) -> None:
    """Draw the norms of w_ni and of the next layer's weights."""
    draw_course(ax, histories, "w_ni", color=NIW, label=r"$|w_{\rm NI}|$")
    draw_course(ax, histories, next_layer, color=NEXT, label=r"$|W^{(1)}|$, next layer")
    ax.set_yscale("log")


def draw_phases(panels: dict[str, tuple[Phase, Sequence[History]]], next_layer: str) -> plt.Figure:
    """Draw the paper's four-panel figure: a column per noise strength.

    Args:
        panels: By title, the phase found and the runs over seeds.
        next_layer: Name of the weights after the NIN, such as ``"layers.1.weight"``.

    Returns:
        The figure: losses, accuracies and norms in three rows.
    """
    fig, axes = plt.subplots(
        3, len(panels), figsize=(8.2, 5.4), sharex="col", sharey="row", squeeze=False
    )
    for column, (title, (phase, histories)) in zip(axes.T, panels.items(), strict=True):
        draw_losses(column[0], histories)
        draw_accuracies(column[1], histories)
        draw_weights(column[2], histories, next_layer)
        column[0].set_title(title, backgroundcolor=PHASE_COLORS[phase])
        column[2].set_xlabel("SGD step")
        for ax in column:
            ax.set_xscale("symlog", linthresh=1)
            ax.set_xlim(left=0)
            _mark_divergence(ax, histories)
    for ax, label in zip(axes[:, 0], ("loss", "accuracy", "norm"), strict=True):
        ax.set_ylabel(label)
    finite = [h for _, hs in panels.values() for h in hs if h.diverged_step is None]
    _limit(axes[0, 0], [a for h in finite for a in (h.loss, h.train_loss, h.val_loss)])
    _limit(axes[2, 0], [a for h in finite for a in (h.w_ni, h.norms[next_layer])])
    _legend_below(fig, axes[:, 0])
    return fig


def draw_first_steps(
    panels: dict[str, tuple[Phase, Sequence[History]]], next_layer: str, steps: int = 60
) -> plt.Figure:
    """Draw each run's first steps on their own, as growth over the start: a catapult is that short.

    Args:
        panels: As for `draw_phases`.
        next_layer: As for `draw_phases`.
        steps: How many steps to show, at most the 200 that are all recorded.

    Returns:
        The figure: a panel per noise strength, a thin line per run and quantity.
    """
    fig, axes = plt.subplots(
        1, len(panels), figsize=(8.2, 2.9), sharex=True, sharey=True, squeeze=False
    )
    quantities: tuple[tuple[str, str, Callable[[History], np.ndarray]], ...] = (
        (TRAIN, "training loss, noise on", lambda h: h.loss),
        (NIW, r"$|w_{\rm NI}|$", lambda h: h.w_ni),
        (NEXT, r"$|W^{(1)}|$, next layer", lambda h: h.norms[next_layer]),
    )
    for ax, (title, (phase, histories)) in zip(axes[0], panels.items(), strict=True):
        for h in histories:
            first = h.step <= steps
            for color, label, pick in quantities:
                values = pick(h)[first]
                new = label if h is histories[0] else None
                ax.plot(h.step[first], values / values[0], color=color, lw=0.8, label=new)
        ax.set_title(title, backgroundcolor=PHASE_COLORS[phase])
        ax.set(yscale="log", ylim=(0.02, 200), xlabel="SGD step")
        ax.axhline(1, color="black", lw=0.5)
    axes[0, 0].set_ylabel("over its start")
    _legend_below(fig, axes[:, 0])
    return fig


def draw_phase_bar(
    ax: Axes,
    found: Sequence[tuple[float, Phase]],
    shown: dict[float, tuple[str, Phase]],
    label: str = SIGMA_EPS,
) -> None:
    """Draw which phase each run of a sweep fell into, and the values that another figure shows.

    Between neighbouring noise strengths of one phase the bar takes its colour; where the phase
    changes, and where the seeds of one strength disagree, it is left white: the border lies there.
    The axis is logarithmic, so a run without noise has no place on it.

    Args:
        ax: Where to draw.
        found: (sigma_eps, phase) of each run; several runs of one sigma_eps are its seeds.
        shown: Title and phase by sigma_eps of the other figure's runs, marked with a diamond.
        label: Of the axis.
    """
    found = [(sigma, phase) for sigma, phase in found if sigma > 0]
    shown = {sigma: mark for sigma, mark in shown.items() if sigma > 0}
    phases: dict[float, set[Phase]] = {}
    for sigma, phase in found:
        phases.setdefault(sigma, set()).add(phase)
    for (a, at_a), (b, at_b) in pairwise(sorted(phases.items())):
        if at_a == at_b and len(at_a) == 1:
            ax.axvspan(a, b, color=PHASE_COLORS[next(iter(at_a))], lw=0.6)
    count = {sigma: 0 for sigma in phases}
    for sigma, phase in found:
        y = 0.15 + 0.1 * count[sigma]
        ax.plot(sigma, y, "o", ms=4, color=PHASE_COLORS[phase], mec="black", mew=0.5)
        count[sigma] += 1
    for sigma, (title, phase) in shown.items():
        _mark_shown(ax, sigma, title, phase, "D")
    ax.set(xscale="log", ylim=(0, 1.05), yticks=[], xlabel=label)
    ax.set_xlim(_padded([*phases, *shown] or [1.0]))
    ax.grid(False)
    _legend_above(ax, {phase for _, phase in found} | {phase for _, phase in shown.values()})


def draw_two_bars(
    axes: Sequence[Axes],
    sigma_eps: np.ndarray,
    shares: np.ndarray,
    stars: dict[Phase, float],
    found: Sequence[tuple[float, Phase]],
    diamonds: dict[float, tuple[str, Phase]],
) -> None:
    """Draw the bars above the paper's Fig. 2: the linear model's phases and, below, a network's.

    Args:
        axes: Two on one axis of noise strengths, the linear model's first.
        sigma_eps: Noise strengths of the linear model, (n,), rising.
        shares: Share of its draws of initial weights in each phase there, (phases, n).
        stars: The strength at which another figure shows each phase of it.
        found: As for `draw_phase_bar`.
        diamonds: As `shown` there.
    """
    linear, network = axes
    draw_phase_bar(network, found, diamonds)
    if legend := network.get_legend():
        legend.remove()
    linear.stackplot(sigma_eps, shares, colors=[PHASE_COLORS[phase] for phase in Phase], lw=0)
    for phase, sigma in stars.items():
        _mark_shown(linear, sigma, f"{sigma:g}", phase, "*")
    linear.set(ylim=(0, 1.05), yticks=[0, 0.5, 1], ylabel="linear model:\nshare of draws")
    linear.grid(False)
    network.set_ylabel("network:\na dot per run", labelpad=24)
    marks = [s for s, _ in found] + list(diamonds)
    linear.set_xlim(_padded([*sigma_eps, *(s for s in marks if s > 0)]))
    _legend_above(linear, Phase)


def _mark_shown(ax: Axes, sigma_eps: float, title: str, phase: Phase, marker: str) -> None:
    """Mark a noise strength that another figure shows."""
    size = 8 if marker == "D" else 13
    ax.plot(sigma_eps, 0.78, marker, ms=size, color=PHASE_COLORS[phase], mec="black")
    ax.annotate(title, (sigma_eps, 0.86), ha="center", va="bottom", fontsize=8)


def _legend_above(ax: Axes, phases: Iterable[Phase]) -> None:
    """Name the colours of the phases that occur, in their order."""
    for phase in sorted(phases, key=list(Phase).index):
        ax.plot([], [], "s", ms=9, color=PHASE_COLORS[phase], label=phase)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _legend_below(fig: plt.Figure, axes: Iterable[Axes]) -> None:
    """Give a figure one legend of all that these axes show."""
    handles = [handle for ax in axes for handle in ax.get_legend_handles_labels()[0]]
    fig.legend(handles=handles, loc="outside lower center", ncols=3)


def _padded(values: Sequence[float]) -> tuple[float, float]:
    """Return limits of a logarithmic axis a little wider than the values."""
    pad = max(max(values) / min(values), 2.0) ** 0.05
    return min(values) / pad, max(values) * pad


def _limit(ax: Axes, shown: Sequence[np.ndarray]) -> None:
    """Fit a logarithmic axis to these values; what diverges may leave it at the top."""
    if shown:
        ax.set_ylim(min(a.min() for a in shown) / 2, 20 * max(a.max() for a in shown))


def _mark_divergence(ax: Axes, histories: Sequence[History]) -> None:
    for h in histories:
        if h.diverged_step is not None:
            ax.axvline(h.diverged_step, color="black", lw=0.7, ls=":")
