"""Fig. 1, and what a fixed NIN memorises: decays over time, and decay times over the noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from nin.companion.figures.style import NIW, NIW_FIXED, PHASE_COLORS, SIGMA_EPS, TEST, TRAIN
from nin.runs.averages import course, mean, running_median
from nin.runs.decay_fit import DecayFit, Outcome
from nin.runs.history import History
from nin.runs.phases import Phase
from nin.studies.memorisation import Memory

ANEW, FIXED = "re-randomised", "fixed"
"""The two kinds of NIN."""
LABELS = {"w_ni": r"$|w_{\rm NI}|$", "train_loss": "training loss", "val_loss": "test loss"}
COLORS = {"w_ni": NIW, "train_loss": TRAIN, "val_loss": TEST}
MARKERS = {"w_ni": "o", "train_loss": "s", "val_loss": "^"}


def draw_mean(
    ax: Axes, x: np.ndarray, values: np.ndarray, fmt: str = "-", alpha: float = 0.2, **style: Any
) -> None:
    """Draw the geometric mean over runs, and a band of one standard deviation of the logarithm.

    Args:
        ax: Where to draw.
        x: Times, (n,).
        values: (runs, n), > 0.
        fmt: Of the mean.
        alpha: Of the band; 0 for none.
        **style: Of the mean; its ``color`` is that of the band too.
    """
    log = np.log(values)
    middle, spread = log.mean(0), log.std(0, ddof=len(log) > 1)
    ax.plot(x, np.exp(middle), fmt, **style)
    if alpha:
        low, high = np.exp(middle - spread), np.exp(middle + spread)
        ax.fill_between(x, low, high, color=style["color"], alpha=alpha, lw=0)


def draw_decay(
    ax: Axes, t: np.ndarray, values: np.ndarray, fit: DecayFit, color: str, label: str
) -> None:
    """Draw a decay over its start, its fit as a thin line, and a star at the time of a good one.

    Args:
        ax: Where to draw.
        t: Times, (n,).
        values: (runs, n), > 0.
        fit: Of these records or the first of them; what does not fall has no line, and what is no
            exponential no star.
        color: Of all this.
        label: Of the records.
    """
    draw_mean(ax, t, values / values[:, :1], ".", ms=3, color=color, label=label)
    if np.isfinite(fit.tau):
        start, at = values[:, 0].mean(), np.geomspace(1e-3, fit.window[1], 400)
        ax.plot(at, fit(at) / start, color=color, lw=0.8)
        if fit.outcome is Outcome.EXPONENTIAL:
            star = fit(fit.tau) / start
            ax.plot(fit.tau, star, "*", ms=13, color=color, mec="black", mew=0.6)


def draw_decays(
    axes: Sequence[Axes],
    histories: Mapping[str, Sequence[History]],
    fits: Mapping[tuple[str, str], DecayFit],
    epochs: int,
) -> None:
    """Draw Fig. 1 (center) against the epoch, for both kinds of NIN; dotted: losses of the fixed.

    Args:
        axes: Two: with a linear and with a logarithmic axis of time.
        histories: Runs by kind, `ANEW` and `FIXED`.
        fits: By kind and quantity, in epochs.
        epochs: Where the axes of time end.
    """
    steps = histories[ANEW][0].steps_per_epoch
    for ax in axes:
        for quantity, name in LABELS.items():
            for kind, runs in histories.items():
                t, values = course(runs, quantity)
                color, label = COLORS[quantity], f"{name}, {kind}"
                if kind == FIXED and quantity != "w_ni":
                    over = values / values[:, :1]
                    draw_mean(ax, t / steps, over, ":", alpha=0, color=color, label=label)
                    continue
                color = NIW_FIXED if kind == FIXED else color
                draw_decay(ax, t / steps, values, fits[kind, quantity], color, label)
    axes[0].set(yscale="log", xlabel="epoch", ylabel="over its start", xlim=(0, epochs))
    axes[1].set(xscale="log", yscale="log", xlabel="epoch", xlim=(1 / steps, epochs))


def draw_times(
    ax: Axes,
    sigma_eps: np.ndarray,
    phases: Sequence[Phase],
    times: Mapping[str, Sequence[Mapping[str, np.ndarray]]],
    tenth: Sequence[np.ndarray],
    product: np.ndarray,
) -> None:
    """Draw Fig. 1 (right): decay times against the noise, on the colours of the phases.

    The losses of a fixed NIN would lie on the others and are left out; its |w_ni| is shifted by 4%
    to be seen. What some run does not reach has no point.

    Args:
        ax: Where to draw.
        sigma_eps: Noise strengths, (n,), rising.
        phases: The phase found at each.
        times: By kind, `ANEW` and `FIXED`: at each strength by quantity, (runs,).
        tenth: Decay times of |w_ni| from its first tenth, at each strength, (runs,).
        product: What Eq. (2), corrected, says of tau sigma_eps^2 with the curvature at the start,
            for each run, (runs,); as printed it says twice that.
    """
    between = np.sqrt(sigma_eps[:-1] * sigma_eps[1:])
    edges = np.concatenate([[sigma_eps[0] / 1.5], between, [sigma_eps[-1] * 1.2]])
    for phase, low, high in zip(phases, edges[:-1], edges[1:], strict=True):
        ax.axvspan(low, high, color=PHASE_COLORS[phase], alpha=0.45, lw=0)
    for quantity, name in LABELS.items():
        for kind, at_strength in times.items():
            if kind == FIXED and quantity != "w_ni":
                continue
            shift, color = (1.04, NIW_FIXED) if kind == FIXED else (1, COLORS[quantity])
            style = {"fmt": MARKERS[quantity], "color": color, "mec": "black", "mew": 0.5}
            each = [t[quantity] for t in at_strength]
            _draw_points(ax, sigma_eps * shift, each, label=f"{name}, {kind}", **style)
    predicted = product.mean() / sigma_eps**2
    for factor, ls, name in ((1, "--", "corrected"), (2, ":", "as printed, with ½")):
        label = f"Eq. (2), {name}"
        ax.plot(sigma_eps, factor * predicted, color="black", lw=0.9, ls=ls, label=label)
    label = LABELS["w_ni"] + ", from its first tenth"
    _draw_points(ax, sigma_eps, tenth, fmt="x", color=NIW, label=label)
    for phase in dict.fromkeys(phases):
        ax.plot([], [], "s", ms=9, color=PHASE_COLORS[phase], alpha=0.6, label=phase)
    ax.set(xscale="log", yscale="log", xlim=(edges[0], edges[-1]), ylim=(10, 5e4))
    ax.set(xlabel=SIGMA_EPS, ylabel="decay time (SGD steps)")


def _draw_points(ax: Axes, x: np.ndarray, each: Sequence[np.ndarray], **style: Any) -> None:
    """Draw mean and standard error of finite times, one set for each place."""
    rows = [(at, *mean(t)) for at, t in zip(x, each, strict=True) if np.isfinite(t).all()]
    if rows:
        ax.errorbar(*np.array(rows).T, ms=5, lw=1, capsize=2, **style)


def draw_memories(axes: Sequence[Axes], memories: Mapping[bool, Memory]) -> None:
    """Draw training losses and |w_ni| of runs with some labels wrong.

    Solid, the loss of the batches with the noise they were trained with, which is each image's own
    if the NIN is fixed (a running median over five records: batches differ); dashed, the loss of
    all images without noise. What all images lose at the end is marked: filled, with their own
    noise; hollow, with fresh noise.

    Args:
        axes: Two, for losses and norms.
        memories: By whether the NIN is fixed.
    """
    for fixed, m in memories.items():
        kind, color = (FIXED, NIW_FIXED) if fixed else (ANEW, NIW)
        step, eval_step = (np.maximum(s, 0.7) for s in (m.step, m.eval_step))  # 0 has no logarithm
        lines = (
            (axes[0], step, running_median(m.loss), "-", f"{kind} NIN, noise on"),
            (axes[0], eval_step, m.clean["train_loss"], "--", f"{kind} NIN, noise off"),
            (axes[1], step, m.w_ni, "-", f"{kind} NIN"),
        )
        for ax, x, values, fmt, label in lines:
            draw_mean(ax, x, values, fmt, alpha=0.25, color=color, label=label)
        for name, face in (("own", color), ("fresh", "white")):
            value, err = mean(m.end_loss[name])
            label = f"{kind} NIN, {name} noise at the end"
            style: dict[str, Any] = {"color": color, "mfc": face, "label": label}
            axes[0].errorbar(step[-1] * 1.3, value, err, fmt="o", ms=5, clip_on=False, **style)
