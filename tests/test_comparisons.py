"""Predicted borders beside measured ones: what is compared, and what has no counterpart."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nin.companion.comparisons import against_closed_form, compare, compare_all, missed
from nin.companion.forecast_tables import missed_table, ratio_table
from nin.studies.borders.forecasts import METHODS, Forecast
from nin.studies.borders.prediction import Curve, closed_border
from nin.studies.experiments import FIG2, FIG3, Experiment

CURVE = Curve(np.array([1.0, 10.0]), np.array([0.5, 50.0]), np.zeros(2))


def forecast(e: Experiment, **borders: list[float]) -> Forecast:
    said = {name: np.array(values) for name, values in borders.items()}
    return Forecast(e, (0, 1, 2), 42, [CURVE] * 3, np.ones(3), said, {})


def test_geometric_means_over_seeds_are_compared() -> None:
    measured = {FIG2: {"divergent": np.array([2.0, 4.0, 8.0])}}
    predicted = {FIG2: forecast(FIG2, divergent=[1.0, 3.0, 9.0])}
    [point], lost = compare(measured, predicted, "noise only", "divergent")
    assert (point.activation, point.loss, lost) == ("relu", "mse", [])
    assert (point.measured, point.predicted) == pytest.approx((4, 3))
    # log2 of 2, 4 and 8 deviate by 1: the error of their mean is 1 / sqrt(3), times log 2
    assert point.err == pytest.approx(4 * np.log(2) / 3**0.5)
    assert point.ratio == pytest.approx(4 / 3)


def test_a_border_stands_beside_its_closed_form_with_seeds_and_bracket_in_its_error() -> None:
    unstable = dataclasses.replace(FIG2, eta=1.0)
    points = against_closed_form({FIG2: np.full(3, 60.0), unstable: np.zeros(3)}, tolerance=0.03)
    assert list(points) == [FIG2]
    assert points[FIG2].measured == pytest.approx(60)
    assert points[FIG2].predicted == pytest.approx(closed_border(FIG2))
    # Seeds that agree lie somewhere in one bracket, as likely at any place.
    assert points[FIG2].err == pytest.approx(60 * 0.03 / 12**0.5)


def test_a_border_on_one_side_only_is_lost_and_one_on_neither_is_not() -> None:
    none, some = [np.inf] * 3, [2.0] * 3
    tanh, gelu = (dataclasses.replace(FIG3, activation=name) for name in ("tanh", "gelu"))
    measured = {
        e: {"divergent": np.array(v)} for e, v in ((FIG3, none), (tanh, some), (gelu, none))
    }
    said = {FIG3: some, tanh: none, gelu: none}
    predicted = {e: forecast(e, divergent=values) for e, values in said.items()}
    assert compare(measured, predicted, "noise only", "divergent") == ([], [FIG3, tanh])


def test_all_comparisons_are_those_of_each_border_by_each_method() -> None:
    e = dataclasses.replace(FIG2, width=32)
    measured = {e: {"catapult": np.full(3, 2.0), "divergent": np.full(3, 4.0)}}
    predicted = {e: forecast(e, catapult=[1.0] * 3, divergent=[4.0] * 3)}
    found = compare_all(measured, predicted)
    assert set(found) == {(b, m) for b in ("catapult", "divergent") for m in METHODS}
    for (border, method), each in found.items():
        assert each == compare(measured, predicted, method, border)


def test_the_tables_say_how_far_off_a_method_is_and_which_borders_it_misses() -> None:
    some, none = (dataclasses.replace(FIG2, width=width) for width in (32, 64))
    measured = {
        e: {"catapult": np.full(3, 2.0), "divergent": np.full(3, 4.0)} for e in (some, none)
    }
    predicted = {
        some: forecast(some, catapult=[2.0] * 3, divergent=[2.0] * 3),
        none: forecast(none, catapult=[2.0] * 3, divergent=[np.inf] * 3),
    }
    ratios = ratio_table(compare_all(measured, predicted), ["mse", "ce"]).rows()
    half = [row for row in ratios if row[:3] == ("divergent", "squared error", "noise only")]
    assert [row[4:] for row in half] == [(1, 1)]  # one network both ways, one on one side only
    assert half[0][3].startswith("0.25")  # K goes as the square: half of sigma_eps is a quarter
    silent = [row for row in ratios if row[1] == "cross-entropy"]
    assert {row[3:] for row in silent} == {("", 0, 0)}
    found = missed_table(missed(measured, predicted, "noise only", 1.1)).rows()
    assert [row[:5] for row in found] == [
        ("squared error", "divergent", e.eta, e.width, 1) for e in (some, none)
    ]
    assert [row[7] for row in found] == [pytest.approx(0.25), pytest.approx(np.nan, nan_ok=True)]


def test_where_a_method_says_nothing_nothing_is_compared() -> None:
    deep = dataclasses.replace(FIG3, depth=2)
    measured = {deep: {"divergent": np.full(3, 2.0)}}
    assert compare(measured, {deep: forecast(deep)}, "halves", "divergent") == ([], [])


def test_a_border_is_missed_by_more_than_a_factor_or_where_none_is_predicted() -> None:
    near, far, none = (dataclasses.replace(FIG2, width=w) for w in (64, 128, 256))
    measured = {
        e: {"catapult": np.ones(3), "divergent": np.full(3, 2.0)} for e in (near, far, none)
    }
    predicted = {
        near: forecast(near, catapult=[1.05] * 3, divergent=[1.9] * 3),
        far: forecast(far, catapult=[0.95] * 3, divergent=[2.5] * 3),
        none: forecast(none, catapult=[1.0] * 3, divergent=[np.inf] * 3),
    }
    found = missed(measured, predicted, "noise only", 1.1)
    assert [(e, border, there) for e, border, there, _ in found] == [
        (far, "divergent", pytest.approx(2)), (none, "divergent", pytest.approx(2))
    ]  # fmt: skip
    assert found[0][3] == pytest.approx(2.5) and np.isnan(found[1][3])
