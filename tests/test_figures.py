"""The figures draw what they are given: means, spreads, phases and their colours."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import same_color

from nin.companion.figures.panels import (
    draw_course,
    draw_losses,
    draw_phase_bar,
    draw_phases,
    draw_two_bars,
)
from nin.companion.figures.style import NIW, PHASE_COLORS, use_style
from nin.runs.averages import mean_and_spread
from nin.runs.history import History
from nin.runs.phases import Phase


@pytest.fixture(autouse=True)
def paper() -> Iterator[None]:
    """Draw without a window, in the book's style, and leave no figure open."""
    with mpl.rc_context():
        plt.switch_backend("agg")
        use_style()
        yield
        plt.close("all")


def history(scale: float, steps: int = 5, diverged_step: int | None = None) -> History:
    step = np.arange(steps)
    values = (scale * 2.0 ** -np.arange(steps)).astype(np.float32)
    few = slice(0, min(2, steps))
    return History(
        steps_per_epoch=2,
        step=step,
        loss=values,
        accuracy=values,
        norms={"w_ni": values, "layers.1.weight": values},
        eval_step=step[few],
        train_loss=values[few],
        train_accuracy=values[few] / 100,
        val_loss=values[few],
        val_accuracy=values[few] / 100,
        diverged_step=diverged_step,
        last_finite_loss=1.0,
    )


def test_logarithms_are_averaged_with_a_factor_as_spread() -> None:
    x, mean, low, high = mean_and_spread([history(1.0), history(4.0)], "loss", log=True)
    np.testing.assert_array_equal(x, [0, 1, 2, 3, 4])
    # geometric mean of 1 and 4; log2 1 and 4 deviate by 1 from their mean, so by sqrt(2) of n - 1
    np.testing.assert_allclose(mean, 2 * 2.0**-x, rtol=1e-6)  # float32 values
    np.testing.assert_allclose(high / mean, 2**2**0.5, rtol=1e-6)
    np.testing.assert_allclose(mean / low, 2**2**0.5, rtol=1e-6)


def test_values_are_averaged_with_their_standard_deviation() -> None:
    _, mean, low, high = mean_and_spread([history(1.0), history(3.0)], "train_loss", log=False)
    np.testing.assert_allclose(mean, [2, 1], rtol=1e-6)  # float32 values
    np.testing.assert_allclose(high - mean, [2**0.5, 0.5**0.5], rtol=1e-6)
    np.testing.assert_allclose(mean - low, [2**0.5, 0.5**0.5], rtol=1e-6)


def test_one_run_has_no_spread() -> None:
    _, mean, low, high = mean_and_spread([history(3.0)], "loss", log=True)
    np.testing.assert_array_equal(low, mean)
    np.testing.assert_array_equal(high, mean)


def test_only_steps_that_all_runs_recorded_are_averaged() -> None:
    runs = [history(1.0, steps=5), history(1.0, steps=3, diverged_step=3)]
    x, *_ = mean_and_spread(runs, "loss", log=True)
    np.testing.assert_array_equal(x, [0, 1, 2])


def test_a_course_is_a_line_in_its_colour_with_a_band() -> None:
    _, ax = plt.subplots()
    draw_course(ax, [history(1.0), history(4.0)], "w_ni", color=NIW, label="w")
    [line] = ax.lines
    assert same_color(line.get_color(), NIW) and line.get_label() == "w"
    np.testing.assert_allclose(line.get_ydata(), 2 * 2.0 ** -np.arange(5), rtol=1e-6)  # float32
    assert len(ax.collections) == 1


def test_each_panel_has_its_title_on_its_phases_colour() -> None:
    panels = {
        "calm": (Phase.DECAY, [history(1.0), history(2.0)]),
        "lost": (Phase.DIVERGENT, [history(1.0, 1, 1), history(1.0, 2, 2)]),
    }
    fig = draw_phases(panels, "layers.1.weight")
    fig.canvas.draw()
    tops = np.array(fig.axes).reshape(3, 2)[0]
    assert [ax.get_title() for ax in tops] == ["calm", "lost"]
    for ax, (phase, _) in zip(tops, panels.values(), strict=True):
        box = ax.title.get_bbox_patch()
        assert box is not None and same_color(box.get_facecolor(), PHASE_COLORS[phase])


def test_panels_of_runs_that_diverged_at_once_can_be_drawn() -> None:
    lost = history(1.0, 1, diverged_step=1)
    draw_phases({"lost": (Phase.DIVERGENT, [lost, lost])}, "layers.1.weight").canvas.draw()


def bar(found: list[tuple[float, Phase]], shown: dict[float, tuple[str, Phase]]) -> plt.Axes:
    fig, ax = plt.subplots()
    draw_phase_bar(ax, found, shown)
    fig.canvas.draw()
    return ax


def test_the_bar_is_filled_between_neighbours_of_one_phase_and_white_at_borders() -> None:
    decay, lost = Phase.DECAY, Phase.DIVERGENT
    runs = [(1.0, decay), (1.0, decay), (2.0, decay), (4.0, lost), (4.0, decay), (8.0, lost)]
    ax = bar([*runs, (16.0, lost)], {4.0: ("K = 4", decay)})
    filled = [(p.get_x(), p.get_width(), p.get_facecolor()) for p in ax.patches]  # type: ignore[attr-defined]
    assert [(x, width) for x, width, _ in filled] == [(1.0, 1.0), (8.0, 8.0)]
    for (_, _, color), phase in zip(filled, (decay, lost), strict=True):
        assert same_color(color, PHASE_COLORS[phase])
    assert "K = 4" in [text.get_text() for text in ax.texts]
    low, high = ax.get_xlim()
    assert 0 < low < 1 and high > 16


@pytest.mark.parametrize("strengths", [[0.0], [0.0, 60.0]])
def test_runs_without_noise_have_no_place_on_the_logarithmic_bar(strengths: list[float]) -> None:
    calm = Phase.DECOUPLED
    ax = bar([(s, calm) for s in strengths], {s: (f"at {s}", calm) for s in strengths})
    assert [text.get_text() for text in ax.texts] == [f"at {s}" for s in strengths if s]


def test_the_legend_of_the_bar_names_no_phase_that_is_not_there() -> None:
    ax = bar([(1.0, Phase.DECAY), (2.0, Phase.DIVERGENT)], {})
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["decay", "divergent"]  # type: ignore[union-attr]


def test_two_bars_share_an_axis_that_holds_stars_and_diamonds_of_their_phases_colours() -> None:
    fig, axes = plt.subplots(2, 1, sharex=True)
    shares = np.array([[1, 0], [0, 0.5], [0, 0.5], [0, 0]])
    decay = Phase.DECAY
    found, shown = [(5.0, decay), (6.0, decay)], {500.0: ("at 500", Phase.DIVERGENT)}
    draw_two_bars(axes, np.array([0.1, 10]), shares, {decay: 3.0}, found, shown)
    fig.canvas.draw()
    [star] = [line for line in axes[0].lines if line.get_marker() == "*"]
    [diamond] = [line for line in axes[1].lines if line.get_marker() == "D"]
    assert same_color(star.get_color(), PHASE_COLORS[decay]) and star.get_xdata()[0] == 3  # type: ignore[index]
    assert same_color(diamond.get_color(), PHASE_COLORS[Phase.DIVERGENT])
    low, high = axes[1].get_xlim()
    assert axes[0].get_xlim() == (low, high) and low < 0.1 and high > 500
    assert len(fig.axes) == 2 and axes[1].get_legend() is None


def test_where_training_and_test_loss_are_one_line_both_are_seen() -> None:
    _, ax = plt.subplots()
    draw_losses(ax, [history(1.0)])
    _, training, test = ax.lines
    assert training.get_linewidth() > 2 * test.get_linewidth()
    assert training.get_zorder() <= test.get_zorder()
