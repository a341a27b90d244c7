"""Several nodes at once: their decays, the weights that they see, and the rate of the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from nin.studies.several import Together, explained

_MARKERS = "os^Dv<"

Key = tuple[str, str, float]


def setting_name(key: Key) -> str:
    """Return the loss, activation and strength of runs in words.

    >>> setting_name(("ce", "relu", 7.0))
    'CE, ReLU, 7'
    """
    loss, activation, strength = key
    return f"{loss.upper()}, {activation.replace('relu', 'ReLU')}, {strength:g}"


def draw_falls(
    ax: Axes, found: Mapping[Key, Sequence[Together]], names: Sequence[str], left: float
) -> None:
    """Draw how far each node's weights fell over how far its own curvature says, where known.

    Args:
        ax: Where to draw.
        found: Runs by loss, activation and strength.
        names: Of the nodes.
        left: As for `Together.falls`.
    """
    ax.axhspan(0.5, 2, color="#44BB99", alpha=0.25, lw=0)
    for j, (key, runs) in enumerate(found.items()):
        value, err = np.transpose(explained(runs, left))
        value = np.where(err < 1, value, np.nan)
        x = np.arange(len(names)) + 0.1 * (j - (len(found) - 1) / 2)
        fmt = _MARKERS[j % len(_MARKERS)]
        ax.errorbar(x, value, err, fmt=fmt, ms=5, lw=1, color=f"C{j // 2}", label=setting_name(key))
    ax.axhline(1, color="black", lw=0.5)
    ax.set_xticks(range(len(names)), names)
    ax.set(yscale="log", ylabel=r"fall of $\ln|w_{\rm NI}|$, measured / by its curvature")
    ax.legend(fontsize="small")


def draw_sight(ax: Axes, powers: np.ndarray, names: Sequence[str]) -> None:
    """Draw with which power each node's pull goes as each layer's weights, a square for each.

    Args:
        ax: Where to draw.
        powers: (nodes, layers).
        names: Of the nodes.
    """
    ax.imshow(np.clip(powers, -2, 2), cmap="PuOr", vmin=-5, vmax=5)
    for (i, j), value in np.ndenumerate(powers):
        text = f"{value:.1f}".replace("-", "−") if np.isfinite(value) else "–"
        ax.text(j, i, text, ha="center", va="center", color="black")
    ax.set_xticks(range(powers.shape[1]), [f"$W^{{({i})}}$" for i in range(powers.shape[1])])
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="weights that are scaled", ylabel="node")
    ax.grid(visible=False)


def draw_loss_rates(ax: Axes, found: Mapping[Key, Sequence[Together]]) -> None:
    """Draw the rate of the loss over twice the trace of the Hessian along training.

    Solid, the trace itself; dashed, as the nodes tell it. Geometric means over seeds.
    """
    for j, (key, runs) in enumerate(found.items()):
        for style, trace in (("-", Together.hessian_trace), ("--", Together.trace_by_nodes)):
            ratios = np.array([r.loss_rate() / 2 / trace(r) for r in runs])
            value = np.exp(np.log(np.where(ratios > 0, ratios, np.nan)).mean(0))
            label = setting_name(key) if style == "-" else None
            x = np.maximum(runs[0].step, 0.7)  # step 0, on a logarithmic axis
            ax.plot(x, value, style, color=f"C{j // 2}", alpha=1 if j % 2 else 0.5, label=label)
    ax.axhline(1, color="black", lw=0.5)
    ax.set(xscale="log", yscale="log", xlabel="SGD step", ylabel=r"rate of the loss / 2 tr $H$")
