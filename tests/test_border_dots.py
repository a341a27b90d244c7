"""Dot plots of borders, and what they show."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats

from nin.companion.border_choices import choice_effects
from nin.companion.border_units import Collapse, collapses
from nin.companion.dead_ends import thrown
from nin.companion.figures.border_dots import (
    draw_beyond,
    draw_choices,
    draw_curvatures,
    draw_spreads,
)
from nin.runs.phases import Phase
from nin.studies.borders.forecasts import Forecast
from nin.studies.borders.prediction import Curve
from nin.studies.experiments import FIG2, TABLE1, Experiment

SEEDS = np.array([0.9, 1.0, 1 / 0.9])  # geometric mean 1


@pytest.fixture
def ax():
    fig, ax = plt.subplots()
    yield ax
    plt.close(fig)


def borders(catapult: float, divergent: float) -> dict[str, np.ndarray]:
    """sigma_eps of three seeds where K, in a unit of 4, has these geometric means."""
    found = {"catapult": catapult, "divergent": divergent}
    return {name: np.sqrt(4 * K) * SEEDS for name, K in found.items()}


def test_a_choice_is_extrapolated_by_the_factor_that_it_makes() -> None:
    found = {"first": borders(20, 25), "half": borders(10, 12.5), "fits": borders(22, 28.2)}
    effects = choice_effects(found, unit=4, full_scale=43, tolerance=0)
    assert effects["half"].divergent == pytest.approx(12.5)
    assert effects["half"].at_full_scale == pytest.approx((17.2, 21.5))
    value, err = effects["half"].factor
    assert value == pytest.approx(0.5)
    assert err == pytest.approx(0.5 * 2 * stats.sem(np.log(SEEDS)))  # K goes as a square
    assert [c.fits_table1 for c in effects.values()] == [False, False, True]


def test_the_bracket_is_part_of_the_error_of_a_factor() -> None:
    same = {name: np.full(3, 1.0) for name in ("catapult", "divergent")}
    effects = choice_effects({"first": same}, unit=1, full_scale=43, tolerance=0.03)
    assert effects["first"].factor[1] == pytest.approx(2 * 0.03 / 12**0.5)


def test_both_borders_of_a_choice_are_drawn_in_a_row_over_the_bands_of_table_1(ax) -> None:
    effects = choice_effects({"first": borders(20, 25)}, unit=4, full_scale=43, tolerance=0)
    draw_choices(ax, effects, TABLE1["fig2"])
    dots = [tuple(line.get_xydata()[0]) for line in ax.lines if len(line.get_xydata()) == 1]
    np.testing.assert_allclose(dots, [(34.4, 0), (43, 0)])
    spans = [(p.get_x(), p.get_x() + p.get_width()) for p in ax.patches]
    assert spans == [(30, 47), (47, 50)]


def forecast(e: Experiment, border: float) -> Forecast:
    said = {"divergent": np.full(3, border)}
    weak = Curve(np.array([1.0, 1e3]), np.array([1e-9, 1e-6]), np.zeros(2))
    return Forecast(e, (0, 1, 2), 42, [weak] * 3, np.ones(3), said, {})


def test_borders_in_proportion_to_a_unit_collapse_in_it_and_in_no_other() -> None:
    etas = (0.01, 0.02, 0.04)
    networks = [dataclasses.replace(FIG2, eta=eta) for eta in etas]
    measured = {e: {"divergent": np.full(3, 2 / e.eta)} for e in networks}
    predicted = {e: forecast(e, 4 / e.eta) for e in networks}
    found = {(c.networks, c.unit): c for c in collapses(measured, predicted)}
    for unit, center in ((r"$\eta\sigma_\epsilon$", 2), ("prediction: noise only", 0.5)):
        c = found["all", unit]
        assert (c.center, c.spread, c.n) == (pytest.approx(center), pytest.approx(1), 3)
    spread = np.exp(np.std(np.log(etas)))
    assert found["one hidden layer", r"$\sigma_\epsilon$"].spread == pytest.approx(spread)
    assert found["all", "$K^{1/2}$"].spread == pytest.approx(spread**0.5)


def test_spreads_stand_in_the_row_of_their_unit(ax) -> None:
    found = [
        Collapse("ce", networks, unit, 1.0, spread, 3)
        for networks, spread in (("one hidden layer", 1.1), ("all", 1.6))
        for unit in ("$K$", "eta")
    ]
    draw_spreads(ax, found)
    filled, hollow = (line.get_xydata().tolist() for line in ax.lines[:2])
    assert filled == [[1.1, 0], [1.1, 1]] and hollow == [[1.6, 0], [1.6, 1]]


def test_what_diverges_before_its_second_order_stands_in_the_shaded_part(ax) -> None:
    square = dataclasses.replace(FIG2, activation="square")
    draw_beyond(ax, {FIG2: np.array([1.0, 1.2]), square: np.array([0.1, 0.3])})
    [relu, early] = [container.lines[0].get_xydata()[0] for container in ax.containers]
    np.testing.assert_allclose([relu, early], [(1.1, 0), (0.2, 1)])
    [shade] = ax.patches
    assert shade.get_x() < early[0] < shade.get_x() + shade.get_width() == 1


def test_curvatures_are_solid_for_the_squared_error_and_dashed_else(ax) -> None:
    curve = Curve(np.array([1.0, 10.0]), np.array([0.5, 5.0]), np.zeros(2))
    draw_curvatures(ax, {FIG2: curve, dataclasses.replace(FIG2, loss="ce"): curve})
    assert [line.get_linestyle() for line in ax.lines[:2]] == ["-", "--"]
    assert [line.get_ydata()[0] for line in ax.lines[2:]] == [2, 4]


def test_a_catapult_that_ends_far_above_its_start_never_lands() -> None:
    ends = [(Phase.CATAPULT, 0.5), (Phase.CATAPULT, 11.0), (Phase.DIVERGENT, 99.0)]
    found = {i: SimpleNamespace(phase=phase, w_end=end) for i, (phase, end) in enumerate(ends)}
    assert thrown([SimpleNamespace(found=found)]) == (1, 2, 11.0)
    assert thrown([]) == (0, 0, 0.0)
