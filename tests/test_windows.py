"""Windows of real training: what an observer keeps of it, and that it changes nothing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nin.curvature.measured_slope import over, ratio
from nin.networks.losses import Loss
from nin.networks.training import train
from nin.runs.phases import Phase
from nin.studies.experiments import FIG1
from nin.studies.study import Shelf, images, train_runs
from nin.studies.windows import Course, Watch, predicted_floor, window_courses, window_slope

SMALL = dataclasses.replace(FIG1, width=16, depth=2).at(0.1)
STARTS, LENGTH = (0, 5), 3


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("windows"), "curvature", workers=1)


def quadratic(seed: int = 0) -> Course:
    """A course whose steps follow the prediction up to a noise of known size."""
    rng = np.random.default_rng(seed)
    curvature, kinks = rng.uniform(0.5, 1.5, (1, 200)), np.full((1, 200), 0.5)
    kick = rng.normal(size=(1, 200))
    pull = 0.7 * curvature + kick + 0.1 * rng.normal(size=(1, 200))
    one, none = np.ones(1), np.zeros((1, 200))
    points = {n: one for n in ("exact", "averaged", "trace", "size", "reach", "loss")}
    steps = {"pull": pull, "fall": none, "kick": kick, "curvature": curvature, "kinks": kinks}
    course = {"step": one, "w_ni": one, "phase": Phase.DECAY, "made": {}}
    return Course(SMALL, (0,), **steps, bend=none, **points, **course)  # type: ignore[arg-type]


def test_watching_does_not_change_the_training() -> None:
    data = images(SMALL.scaling, SMALL.split_seed)
    few = dataclasses.replace(data, train_x=data.train_x[:1280], train_y=data.train_y[:1280])
    ends = []
    for observer in (None, Watch(SMALL.eta, Loss("ce"), STARTS, LENGTH)):
        model = SMALL.network()
        (h,) = train(
            [model],
            few,
            eta=SMALL.eta,
            batch_size=128,
            epochs=1,
            evaluations=0,
            progress=False,
            observer=observer,
        )
        ends.append((h.loss.tolist(), [p.tolist() for p in model.parameters()]))
    assert ends[0] == ends[1]


def test_the_measured_fall_is_that_of_the_run(shelf: Shelf) -> None:
    (c,) = window_courses([SMALL], shelf, STARTS, LENGTH)
    for w, start in enumerate(STARTS):
        norms = c.w_ni[start : start + LENGTH + 1]
        # |w_ni| is recorded in float32: its logarithm is off by up to 1e-7 or so.
        np.testing.assert_allclose(c.fall[w], -np.diff(np.log(norms)), atol=1e-6)
        assert c.size[w] == pytest.approx(norms[0], rel=1e-6)
    # |w'| is at least its part along w, which is 1 - pull of |w|; 1e-6: records are in float32.
    assert np.all(np.exp(-c.fall) > np.abs(1 - c.pull) - 1e-6)
    assert np.all(np.isfinite(c.curvature)) and np.all(c.curvature > 0)


def test_a_slope_is_found_with_its_error_and_without_the_kick() -> None:
    found = [window_slope([quadratic(seed)], 0) for seed in range(100)]
    off = np.array([(s.value - 0.7) / s.err for s in found])
    assert found[0].n == 200 and found[0].sigmas_from(1) > 20
    # 100 independent errors of size 1: their mean square is 1 +- 0.14.
    assert 0.5 < np.mean(off**2) < 1.6
    assert window_slope([quadratic()], 0, with_kinks=True).value == pytest.approx(
        0.7 / 1.5, abs=0.03
    )


def test_a_step_whose_kinks_are_unknown_is_left_out_only_where_kinks_count() -> None:
    c = quadratic()
    kinks = c.kinks.copy()
    kinks[0, 7] = np.nan
    holed = dataclasses.replace(c, kinks=kinks)
    assert window_slope([holed], 0) == window_slope([c], 0)
    assert window_slope([holed], 0, with_kinks=True).n == window_slope([c], 0).n - 1


def test_two_seeds_give_a_smaller_error_than_one() -> None:
    one, two = window_slope([quadratic(0)], 0), window_slope([quadratic(0), quadratic(1)], 0)
    assert two.n == 2 * one.n and two.err < one.err


def test_a_ratio_of_equal_numbers_has_no_error() -> None:
    s = ratio(np.array([2.0, 4.0]), np.array([1.0, 2.0]))
    assert (s.value, s.err, s.n) == (2.0, 0.0, 2)


def test_where_nothing_is_predicted_there_is_no_ratio() -> None:
    assert np.isnan(ratio(np.ones(2), np.zeros(2)).value)
    assert np.array_equal(over(np.ones(2), np.array([0.0, 2.0])), [np.nan, 0.5], equal_nan=True)


@pytest.mark.parametrize(("starts", "length"), [((), 3), ((0, 3), 3), ((5, 0), 2), ((0,), 0)])
def test_bad_windows_are_named(starts: tuple[int, ...], length: int) -> None:
    with pytest.raises(ValueError, match="windows need rising starts"):
        Watch(0.1, Loss("ce"), starts, length)


def test_a_run_without_noise_is_refused(shelf: Shelf) -> None:
    with pytest.raises(ValueError, match="give sigma_eps > 0"):
        window_courses([dataclasses.replace(SMALL, sigma_eps=0.0)], shelf, STARTS, LENGTH)


def test_a_watch_of_two_runs_is_an_error_and_not_a_mixture_of_both() -> None:
    watch = Watch(SMALL.eta, Loss("ce"), STARTS, LENGTH)
    two = [SMALL, dataclasses.replace(SMALL, seed=1)]
    with pytest.raises(ValueError, match="a watch keeps one run"):
        train_runs(two, evaluations=0, observer=watch)


@pytest.mark.parametrize("far", [0.2, 1.0, 5.0])
def test_the_floor_is_where_a_walk_with_a_pull_comes_to_rest(far: float) -> None:
    rate, kick, n = 0.02, 0.01, 400
    rng, w = np.random.default_rng(0), np.zeros((2000, n))
    for _ in range(300):  # six relaxation times
        w = (1 - rate) * w + kick * rng.normal(size=w.shape)
    rest = np.sqrt(np.square(w).sum(1).mean())
    size, steps = far * rest, np.ones((1, 20))
    bend = -n * kick**2 / size**2 / 2  # the walk across w_ni, as `step_rates` has it
    c = dataclasses.replace(quadratic(), curvature=rate * steps, kinks=0 * steps, bend=bend * steps)
    # A rate of 0.02 per step is finite: the walk's own rest is higher by rate / 4.
    found = predicted_floor(dataclasses.replace(c, size=np.array([size])), 0)
    assert found == pytest.approx(rest, rel=rate)


def test_without_a_pull_there_is_no_floor() -> None:
    c, none = quadratic(), np.zeros((1, 200))
    for pull, bend in ((0, -1), (-1, 1), (1, 1), (-1, -1)):
        c = dataclasses.replace(c, curvature=none + pull, kinks=none, bend=none + bend)
        assert np.isnan(predicted_floor(c, 0))
