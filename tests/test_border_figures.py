"""The figures of borders: what is drawn is what was given."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from nin.companion.comparisons import Comparison, Shift
from nin.companion.figures.border_bars import (
    add_legend,
    draw_borders,
    draw_comparison,
    draw_comparisons,
    draw_outcomes,
)
from nin.companion.figures.border_plane import draw_border_plane, draw_image_shift
from nin.companion.figures.style import PHASE_COLORS
from nin.runs.phases import Phase
from nin.studies.borders.saturation import Outcomes


@pytest.fixture
def ax():
    fig, ax = plt.subplots()
    yield ax
    plt.close(fig)


def widths(ax, phase: Phase) -> list[tuple[float, float]]:
    color = plt.matplotlib.colors.to_rgba(PHASE_COLORS[phase])
    found = [p for p in ax.patches if p.get_facecolor() == color and p.get_width() > 0]
    return [(p.get_x(), p.get_x() + p.get_width()) for p in found]


def test_each_seed_s_bar_changes_colour_at_its_borders(ax) -> None:
    borders = {
        Phase.CATAPULT: np.array([10.0, 20.0]),
        Phase.DIVERGENT: np.array([15.0, 20.0]),
    }
    draw_borders(ax, borders, {"decay": 5.0, "catapult": 12.0}, "K")
    left, right = ax.get_xlim()
    assert widths(ax, Phase.DECAY) == [(left, 10.0), (left, 20.0)]
    assert widths(ax, Phase.CATAPULT) == [(10.0, 15.0)]  # the second seed has no such window
    assert [b for _, b in widths(ax, Phase.DIVERGENT)] == pytest.approx([right, right])


def test_a_seed_without_a_border_keeps_its_colour_to_the_end(ax) -> None:
    draw_borders(ax, {Phase.DIVERGENT: np.array([10.0, np.inf])}, {"divergent": 50.0}, "K")
    assert len(widths(ax, Phase.DIVERGENT)) == 1
    assert widths(ax, Phase.CATAPULT)[1][1] == pytest.approx(ax.get_xlim()[1])


def test_points_stand_at_predicted_and_measured(ax) -> None:
    point = Comparison("relu", "ce", 10.0, 12.0, 0.5)
    draw_comparison(ax, [point])
    assert [tuple(line.get_xydata()[0]) for line in ax.lines][:1] == [(10.0, 12.0)]
    low, high = ax.get_xlim()
    assert low < 10 and high > 12 and ax.get_ylim() == (low, high)


def test_each_method_has_a_panel_and_the_legend_what_was_compared() -> None:
    point = Comparison("gelu", "ce", 10.0, 12.0, 0.5)
    compared = {
        ("catapult", "formula"): ([], []), ("divergent", "formula"): ([point], []),
        ("divergent", "runs"): ([], []),
    }  # fmt: skip
    fig = draw_comparisons(compared, "divergent", ["relu", "gelu"], ["ce"])
    assert [ax.get_title() for ax in fig.axes] == ["formula", "runs"]
    assert [tuple(line.get_xydata()[0]) for line in fig.axes[0].lines][:1] == [(10.0, 12.0)]
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["gelu", "ce"]
    plt.close(fig)


def test_the_legend_names_each_activation_and_loss(ax) -> None:
    add_legend(ax.figure, ["relu", "tanh"], ["mse", "ce"])
    [legend] = ax.figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["relu", "tanh", "mse", "ce"]


def test_outcomes_show_every_seed_and_saturation_where_there_is_any() -> None:
    def runs(saturated: float) -> Outcomes:
        values = np.array([[0.5, 0.7], [0.1, 0.3]])
        strengths, no = np.array([1.0, 10.0]), np.zeros((2, 2), bool)
        return Outcomes(strengths, values, 2 * values, np.full((2, 2), saturated), no, {})

    fig, axes = plt.subplots(1, 3)
    short = {"relu": runs(np.nan), "tanh": runs(0.4)}
    draw_outcomes(axes, short, {"tanh": runs(0.4)})
    curves = [[ln for ln in ax.lines if ln.get_label() in short] for ax in axes]
    assert [len(c) for c in curves] == [1, 2, 2]  # ReLU has no bound to saturate at
    assert curves[1][0].get_ydata().tolist() == [0.6, 0.2]  # medians over two seeds
    hollow = [ln for ln in axes[1].lines if ln.get_markerfacecolor() == "none"]
    assert [ln.get_ydata().tolist() for ln in hollow] == [[0.5, 0.1], [0.7, 0.3]]
    plt.close(fig)


def test_networks_with_images_are_filled_and_those_of_noise_alone_hollow(ax) -> None:
    alone, seeing = (Comparison("relu", "mse", 10.0, m, 0.1) for m in (9.0, 12.0))
    draw_border_plane(ax, {"2 outputs": [alone]}, {"2 outputs": [seeing]})
    drawn = {tuple(line.get_xydata()[0]): line for line in ax.lines if len(line.get_xydata()) == 1}
    assert drawn[10.0, 9.0].get_markerfacecolor() == "white"
    assert drawn[10.0, 12.0].get_markerfacecolor() == drawn[10.0, 12.0].get_color()


def test_shifts_by_images_rise_along_the_axis_in_units_of_the_closed_form(ax) -> None:
    shifts = [
        Shift(
            x, Comparison("relu", "ce", 10.0, 10 * r, 0.1), Comparison("relu", "ce", 10.0, 8, 0.1)
        )
        for x, r in ((0.5, 1.1), (0.1, 0.9))
    ]
    draw_image_shift(ax, {"10 classes": shifts}, {"formula": 1.0})
    images, alone = (
        line for line in ax.lines if len(line.get_xydata()) == 2 and line.get_marker() == "o"
    )
    assert images.get_xydata().tolist() == [[0.1, 0.9], [0.5, 1.1]]
    assert alone.get_ydata().tolist() == [0.8, 0.8]
    assert [t.get_text() for t in ax.texts] == ["formula", "10 classes"]
