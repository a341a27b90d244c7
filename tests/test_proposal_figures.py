"""The figures of proposed uses: curves and dots are those of their runs, by other means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from scipy import stats

from nin.companion.figures.feature_areas import draw_roc, draw_told
from nin.companion.figures.node_panels import draw_falls, draw_loss_rates, draw_sight
from nin.studies.features import Lengths
from nin.studies.several import Together

NAMES = ("1st", "2nd", "3rd", "4th", "dealt")
STEP = np.array([0, 10, 100])
CE, MSE = ("ce", "relu", 5.0), ("mse", "relu", 5.0)


@pytest.fixture
def ax() -> Iterator[Axes]:
    with mpl.rc_context():
        plt.switch_backend("agg")
        fig, ax = plt.subplots()
        yield ax
        plt.close(fig)


def lengths(seed: int) -> Lengths:
    """Eight real pixels, whose weights end longer the more they inform, and three dealt ones."""
    g = np.random.default_rng(seed)
    information = np.append(np.linspace(1, 0.1, 8), [0, 0, 0])
    end = information + g.normal(0.4, 0.3, 11)
    return Lengths(
        step=np.array([0, 9]),
        pixels=np.array([np.ones(11), end]),
        w_ni=np.array([1.0, g.normal(0.8, 0.3)]),
        information=information,
        dealt=information == 0,
    )


def fell(rate: float, noisy: float = 0.0) -> Together:
    """Two nodes whose ln|w_ni| falls at a rate over that of their curvature, with a deviation."""
    along = np.full((3, 2), 0.01)
    size = np.exp(-0.005 * np.outer(STEP, [rate, rate + noisy]))
    return Together(
        eta=0.5, sigma_eps=np.ones(2), features=np.array([4, 2]), step=STEP, size=size, along=along,
        trace=along, block=np.array([[2.0], [4.0], [8.0]]), input_sq=np.full((3, 1), 3.0),
        pull=np.full((3, 2), 0.1), loss=np.full(3, 0.5), slope_sq=np.array([0.2, 0.4, 0.8]) * rate,
        powers=np.zeros((2, 2, 1)),
    )  # fmt: skip


def dots(ax: Axes) -> list[np.ndarray]:
    """The ends of what `errorbar` drew, a container each: x, value, error; (n, 3)."""
    found = []
    for box in ax.containers:
        line, _, [bars] = box
        spans = [np.ptp(bar[:, 1]) / 2 for bar in bars.get_segments()]
        found.append(np.column_stack([line.get_xydata(), spans]))
    return found


def test_the_area_under_each_curve_is_mann_whitney_s(ax: Axes) -> None:
    found = [lengths(seed) for seed in range(6)]
    draw_roc(ax, found, NAMES)
    niw = [f.w_ni[-1] for f in found]
    for i, curve in enumerate(ax.lines[:5]):
        x, y = curve.get_xydata().T
        assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
        pixels = np.concatenate([f.pixels[-1, f.groups()[i]] for f in found])
        area = stats.mannwhitneyu(pixels, niw).statistic / (len(pixels) * len(niw))
        assert np.trapezoid(y, x) == pytest.approx(area)  # no ties
    assert [line.get_linestyle() for line in ax.lines[:5]] == ["-"] * 4 + ["--"]


def test_a_dot_is_the_share_of_a_group_and_its_error_that_of_the_runs(ax: Axes) -> None:
    runs = {(True, 1.0): [lengths(s) for s in range(4)], (False, 1.0): [lengths(9), lengths(10)]}
    draw_told(ax, runs, NAMES)
    for drawn, found in zip(dots(ax), runs.values(), strict=True):
        longer = [[(f.pixels[-1, g] > f.w_ni[-1]).mean() for g in f.groups()] for f in found]
        np.testing.assert_allclose(drawn[:, 1], np.mean(longer, 0))
        np.testing.assert_allclose(drawn[:, 2], stats.sem(longer), atol=1e-12)  # 0 where alike
        assert np.array_equal(drawn[:, 0].round(), range(5))  # each in the column of its group
    assert [text.get_text() for text in ax.get_xticklabels()] == list(NAMES)


def test_a_fall_is_drawn_over_what_curvature_says_and_left_out_where_it_is_not_known(
    ax: Axes,
) -> None:
    known = [fell(0.8), fell(1.2)]
    unknown = [fell(1.0, noisy=n) for n in (-4.0, 0.0, 4.0)]  # the second node: one even grows
    draw_falls(ax, {CE: known, MSE: unknown}, ("pixels", "outputs"), left=0.1)
    first, second = (box[0].get_xydata()[:, 1] for box in ax.containers)
    np.testing.assert_allclose(first, [1, 1])  # sums over runs
    assert second[0] == pytest.approx(1)
    assert np.isnan(second[1])
    assert ax.get_yscale() == "log"
    assert [box.get_label() for box in ax.containers] == ["CE, ReLU, 5", "MSE, ReLU, 5"]


def test_a_square_says_its_power_and_where_there_is_none(ax: Axes) -> None:
    draw_sight(ax, np.array([[2.04, -0.16], [np.nan, 0.0]]), ("pixels", "outputs"))
    assert [text.get_text() for text in ax.texts] == ["2.0", "−0.2", "–", "0.0"]
    assert [text.get_position() for text in ax.texts] == [(0, 0), (1, 0), (0, 1), (1, 1)]


def test_rates_of_the_loss_are_geometric_means_over_seeds(ax: Axes) -> None:
    runs = [fell(1.0), fell(4.0)]
    draw_loss_rates(ax, {CE: runs})
    trace, nodes = (line.get_xydata() for line in ax.lines[:2])
    np.testing.assert_array_equal(trace[:, 0], [0.7, 10, 100])
    # slope_sq / loss / 2 tr H = 0.1 at each look for a rate of 1, and 0.4 for one of 4
    np.testing.assert_allclose(trace[:, 1], [0.2] * 3)
    # A pull of 0.1 over two weights that read inputs of square 3: a trace of 0.6.
    np.testing.assert_allclose(nodes[:, 1], np.array([0.4, 0.8, 1.6]) / 2 / 0.6 * 2)


def test_a_rate_that_is_not_positive_leaves_a_gap(ax: Axes) -> None:
    up = replace(fell(1.0), pull=np.array([[0.1, -0.1], [0.1, 0.1], [0.1, 0.1]]))
    draw_loss_rates(ax, {CE: [up]})
    assert np.isnan(ax.lines[1].get_ydata()).tolist() == [True, False, False]
