"""The figure of the catapult where it was found: points and lines are those of its runs."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats

from nin.companion.figures.wide_layers import draw_flattening, draw_peaks, draw_rises
from nin.linear.wide_net import train_wide

WIDTHS = (64, 256)


def test_the_loss_over_the_width_is_drawn_and_named_by_the_width() -> None:
    runs = [train_wide(n, 3.0, range(2)) for n in WIDTHS]
    _, ax = plt.subplots()
    draw_rises(ax, runs, steps=9)
    for line, of in zip(ax.lines, runs, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), of.loss[0, :9] / of.width)
    assert [line.get_label() for line in ax.lines] == ["64", "256"]
    plt.close()


def test_peaks_are_geometric_means_and_their_lines_in_proportion_to_the_width() -> None:
    runs = {c: [train_wide(n, c, range(4)) for n in WIDTHS] for c in (2.5, 3.0)}
    _, ax = plt.subplots()
    draw_peaks(ax, runs)
    for (dots, line), wide in zip(np.reshape(ax.lines, (-1, 2)), runs.values(), strict=True):
        means = [stats.gmean(of.peak) for of in wide]
        np.testing.assert_allclose(np.asarray(dots.get_ydata()), means)
        low, high = np.asarray(line.get_ydata())
        assert (high / low, high) == pytest.approx((4, means[-1]))
    plt.close()


def test_each_run_is_a_point_from_its_curvature_at_the_start_to_that_at_the_end() -> None:
    starts = (0.5, 3.0)
    runs = [[train_wide(n, c, range(3)) for c in starts] for n in WIDTHS]
    _, ax = plt.subplots()
    draw_flattening(ax, runs)
    for dots, found in zip(ax.lines, runs, strict=False):
        np.testing.assert_allclose(np.asarray(dots.get_xdata()), np.repeat(starts, 3))
        ends = [of.eta_lam[k, -1] for of in found for k in range(3)]
        np.testing.assert_array_equal(dots.get_ydata(), ends)
    plt.close()
