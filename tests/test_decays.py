"""Fig. 1: what is drawn is what was measured, over its start or against the noise."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import same_color
from scipy import stats

from nin.companion.figures.decays import (
    draw_decay,
    draw_decays,
    draw_mean,
    draw_memories,
    draw_times,
)
from nin.companion.figures.style import NIW, NIW_FIXED, PHASE_COLORS
from nin.runs.decay_fit import Outcome, fit_decay
from nin.runs.history import History
from nin.runs.phases import Phase
from nin.studies.memorisation import Memory

TAU, STEPS = 4.0, 10  # epochs, and steps of one
LABELS = [r"$|w_{\rm NI}|$, re-randomised", r"$|w_{\rm NI}|$, fixed"]


@pytest.fixture
def axes() -> Iterator[list[Axes]]:
    with mpl.rc_context():
        plt.switch_backend("agg")
        fig, axes = plt.subplots(1, 2)
        yield list(axes)
        plt.close(fig)


def lines(ax: Axes) -> dict[str, np.ndarray]:
    """What is drawn, by its label; (n, 2)."""
    return {str(line.get_label()): np.asarray(line.get_xydata()) for line in ax.lines}


def test_the_mean_is_geometric_and_the_band_one_deviation_of_the_logarithm(axes) -> None:
    values = np.random.default_rng(0).lognormal(size=(5, 7))
    draw_mean(axes[0], np.arange(7), values, color=NIW, label="x")
    np.testing.assert_allclose(lines(axes[0])["x"][:, 1], stats.gmean(values), rtol=1e-12)
    [band] = axes[0].collections
    assert same_color(band.get_facecolor()[0][:3], NIW)
    ends = band.get_paths()[0].get_extents()
    factor = stats.gstd(values, ddof=1)
    np.testing.assert_allclose(ends.y1, (stats.gmean(values) * factor).max(), rtol=1e-12)
    np.testing.assert_allclose(ends.y0, (stats.gmean(values) / factor).min(), rtol=1e-12)


def test_one_run_has_a_band_of_no_width(axes) -> None:
    draw_mean(axes[0], np.arange(3), np.array([[4.0, 2.0, 1.0]]), color=NIW)
    ends = axes[0].collections[0].get_paths()[0].get_extents()
    np.testing.assert_allclose([ends.y0, ends.y1], [1, 4], rtol=1e-12)  # rounding of exp(log)


def history(start: float, floor: float) -> History:
    step = np.arange(0, 20 * STEPS + 1, 5)
    decay = start * (floor + np.exp(-step / (TAU * STEPS)))
    clean = {"train_loss": decay, "val_loss": decay, "train_accuracy": decay, "val_accuracy": decay}
    return History(
        steps_per_epoch=STEPS,
        step=step,
        loss=decay,
        accuracy=decay,
        norms={"w_ni": decay},
        eval_step=step,
        diverged_step=None,
        last_finite_loss=1.0,
        **clean,
    )


def test_decays_are_drawn_over_their_starts_with_a_star_at_their_time(axes) -> None:
    runs = [history(2.0, 0.5), history(2.1, 0.5)]
    histories = {"re-randomised": runs, "fixed": runs}
    epoch = runs[0].step / STEPS
    fit = fit_decay(epoch, np.array([h.w_ni for h in runs]))
    fits = {(kind, name): fit for kind in histories for name in ("w_ni", "train_loss", "val_loss")}
    draw_decays(axes, histories, fits, epochs=20)
    for ax in axes:
        shown = {k: v for k, v in lines(ax).items() if not k.startswith("_")}
        kinds = ("re-randomised", "fixed")
        losses = [f"{name}, {kind}" for name in ("training loss", "test loss") for kind in kinds]
        assert list(shown) == [*LABELS, *losses]
        for xy in shown.values():
            np.testing.assert_allclose(xy[:, 0], epoch)
            expected = (0.5 + np.exp(-epoch / TAU)) / 1.5
            np.testing.assert_allclose(xy[:, 1], expected, rtol=1e-12)
        stars = [np.asarray(ln.get_xydata()) for ln in ax.lines if ln.get_marker() == "*"]
        assert len(stars) == 4
        # the fit finds tau to 1e-6 where there is no noise
        np.testing.assert_allclose(stars[0], [[TAU, (0.5 + np.exp(-1)) / 1.5]], rtol=1e-5)
        fixed = next(ln for ln in ax.lines if ln.get_label() == LABELS[1])
        assert same_color(fixed.get_color(), NIW_FIXED)
    creeping = np.outer([2.0, 2.1], 1 / (1 + epoch))
    rejected = fit_decay(epoch, creeping)
    assert rejected.outcome is Outcome.NOT_EXPONENTIAL
    ax = plt.figure().add_subplot()
    draw_decay(ax, epoch, creeping, rejected, "black", "")
    assert not [ln for ln in ax.lines if ln.get_marker() == "*"]
    assert axes[0].get_xlim() == (0, 20) and axes[1].get_xlim() == (1 / STEPS, 20)


def test_times_stand_on_their_phases_and_what_is_not_reached_has_no_point(axes) -> None:
    ax, sigma = axes[0], np.array([1.0, 4.0, 16.0])
    phases = [Phase.DECOUPLED, Phase.DECAY, Phase.DECAY]
    loss, never = np.array([10.0, 30.0]), np.array([np.inf, 50.0])
    some = {"train_loss": loss, "val_loss": loss}
    anew = [{"w_ni": w, **some} for w in (never, np.array([70.0, 90.0]), np.array([20.0, 40.0]))]
    fixed = [{"w_ni": w, **some} for w in (never, np.array([100.0, 100.0]), never)]
    times = {"re-randomised": anew, "fixed": fixed}
    draw_times(ax, sigma, phases, times, [never, loss, never], np.array([100.0, 300.0]))
    edges = [(p.get_x(), p.get_x() + p.get_width()) for p in ax.patches]
    np.testing.assert_allclose(edges, [(1 / 1.5, 2), (2, 8), (8, 16 * 1.2)])
    for patch, phase in zip(ax.patches, phases, strict=True):
        assert same_color(patch.get_facecolor()[:3], PHASE_COLORS[phase])
    points = {c.get_label(): np.asarray(c.lines[0].get_xydata()) for c in ax.containers}
    np.testing.assert_allclose(points[LABELS[0]], [(4, 80), (16, 30)])
    np.testing.assert_allclose(points[LABELS[1]], [(4 * 1.04, 100)])
    assert len(points["training loss, re-randomised"]) == 3
    assert "training loss, fixed" not in points  # it would lie on the other
    np.testing.assert_allclose(points[r"$|w_{\rm NI}|$, from its first tenth"], [(4, 20)])
    for label, tau in (("corrected", 200 / sigma**2), ("as printed, with ½", 400 / sigma**2)):
        np.testing.assert_allclose(lines(ax)[f"Eq. (2), {label}"][:, 1], tau)
    error = ax.containers[0].lines[2][0].get_segments()[0]
    # 70 and 90 deviate by 10 from their mean: a standard error of 10
    np.testing.assert_allclose(error[:, 1], [70, 90])


def test_where_nothing_is_reached_the_figure_is_drawn_without_points(axes) -> None:
    never = np.array([np.inf])
    times = {"re-randomised": [dict.fromkeys(("w_ni", "train_loss", "val_loss"), never)]}
    draw_times(axes[0], np.ones(1), [Phase.DIVERGENT], times, [never], np.ones(1))
    assert not axes[0].containers
    axes[0].figure.canvas.draw()


def test_a_memory_is_drawn_by_its_kind_from_the_first_step_on(axes) -> None:
    def memory(scale: float) -> Memory:
        w_ni, off = scale * np.ones((2, 3)), scale * np.full((2, 2), 0.1)
        steps = {"step": np.array([0, 1, 2]), "eval_step": np.array([0, 2])}
        ends = {"own": scale * np.array([0.1, 0.3]), "fresh": scale * np.array([7.0, 9.0])}
        return Memory(**steps, w_ni=w_ni, loss=2 * w_ni, clean={"train_loss": off},
                      end_loss=ends, end_accuracy={}, made={})  # fmt: skip

    draw_memories(axes, {False: memory(1.0), True: memory(3.0)})
    losses, norms = (lines(ax) for ax in axes)
    np.testing.assert_allclose(losses["re-randomised NIN, noise on"], [(0.7, 2), (1, 2), (2, 2)])
    np.testing.assert_allclose(losses["re-randomised NIN, noise off"], [(0.7, 0.1), (2, 0.1)])
    np.testing.assert_allclose(norms["fixed NIN"], [(0.7, 3), (1, 3), (2, 3)])
    for line, color in zip(axes[1].lines, (NIW, NIW_FIXED), strict=True):
        assert same_color(line.get_color(), color)
    ends = {c.get_label(): c.lines[0].get_ydata()[0] for c in axes[0].containers}
    assert ends["fixed NIN, own noise at the end"] == pytest.approx(0.6)
    assert ends["re-randomised NIN, fresh noise at the end"] == pytest.approx(8)
