"""Decay times against the noise strength: on courses whose times, powers and plateaus are known."""

from __future__ import annotations

import numpy as np
import pytest

from nin.runs.history import History
from nin.runs.times import (
    FALLS,
    RISE,
    decay_times,
    first_crossing,
    local_powers,
    plateau_end,
)

SIGMA = np.geomspace(1, 100, 9)


def history(tau: float, floor: float = 0.0, diverged_step: int | None = None) -> History:
    """A run whose |w_ni| and losses fall exponentially towards a floor."""
    step = np.arange(400)
    fall = (floor + (1 - floor) * np.exp(-step / tau)).astype(np.float32)
    clean = {"train_loss": 2.3 * fall, "val_loss": 2.4 * fall}
    clean |= {"train_accuracy": fall, "val_accuracy": fall}
    return History(
        steps_per_epoch=100,
        step=step,
        loss=fall,
        accuracy=fall,
        norms={"w_ni": 1.1 * fall},
        eval_step=step,
        **clean,
        diverged_step=diverged_step,
        last_finite_loss=1.0,
    )


@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize("log", [False, True])
def test_a_first_crossing_is_where_the_line_between_two_records_is_at_the_level(
    falling: bool, log: bool
) -> None:
    draws, t = np.random.default_rng(0), np.sort(np.random.default_rng(1).uniform(0, 9, 12))
    for _ in range(50):
        values = draws.uniform(0.1, 9, 12)
        found = first_crossing(t, values, 5.0, falling=falling, log=log)
        past = values <= 5 if falling else values >= 5
        if not past.any():
            assert found == np.inf
        elif past[0]:
            assert found == t[0]
        else:
            i = past.argmax()
            line = np.log(values) if log else values
            level = np.interp(found, t[i - 1 : i + 1], line[i - 1 : i + 1])
            assert level == pytest.approx(np.log(5) if log else 5, rel=1e-12)


def test_a_first_crossing_knows_infinite_flat_and_negative_records() -> None:
    t = np.arange(4)
    assert first_crossing(t, np.array([1, 1, np.inf, 2]), 2, log=True) == 1
    assert first_crossing(t, np.array([1.0, 2, 2, 3]), 2) == 1
    assert first_crossing(t, np.array([3.0, 1, -1, 0]), 0, falling=True, log=True) == 1.5


@pytest.mark.parametrize("quantity", FALLS)
@pytest.mark.parametrize("fraction", [None, 0.9, 0.3])
def test_of_an_exponential_it_is_tau_whatever_the_share(
    quantity: str, fraction: float | None
) -> None:
    taus = [3.0, 40.0, 120.0]
    found = decay_times([history(tau) for tau in taus], quantity, fraction)
    np.testing.assert_allclose(found, taus, rtol=1e-4)  # courses are kept in float32


def test_a_run_that_does_not_get_there_or_diverges_has_no_time() -> None:
    runs = [history(20), history(20, floor=0.6), history(20, diverged_step=50)]
    found = decay_times(runs, "w_ni")
    assert np.isfinite(found[0]) and np.isinf(found[1:]).all()


@pytest.mark.parametrize("true", [-2.0, 0.7])
def test_a_power_law_gives_its_power_for_each_seed(true: float) -> None:
    heights = np.array([1.0, 3.0, 0.2])
    found = local_powers(SIGMA, heights * SIGMA[:, None] ** true)
    np.testing.assert_allclose(found, np.full((len(SIGMA) - 1, 3), true), rtol=1e-9, atol=1e-9)


def test_where_the_power_changes_it_does_so_locally_and_a_missing_time_has_none() -> None:
    tau = np.array([8.0, 2.0, 1.0, np.inf])[:, None]
    found = local_powers([1.0, 2.0, 4.0, 8.0], tau)
    np.testing.assert_allclose(found[:, 0], [-2, -1, np.nan])


def test_a_plateau_ends_where_the_times_have_risen_by_the_factor() -> None:
    ends = np.array([5.0, 20.0])  # flat up to there, then linear
    tau = 7 * np.maximum(1, SIGMA[:, None] / ends)
    found = plateau_end(SIGMA, tau)
    # Straight lines in the logarithms between strengths a factor 1.8 apart cut the corner.
    np.testing.assert_allclose(found, RISE * ends, rtol=0.12)


def test_a_plateau_without_end_is_endless_and_a_missing_time_ends_it() -> None:
    flat = np.full((9, 2), 7.0)
    flat[6:, 1] = np.inf
    found = plateau_end(SIGMA, flat)
    assert np.isinf(found[0]) and found[1] == pytest.approx(SIGMA[5])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: local_powers([1, 2], np.ones((3, 1))), "expected n noise strengths"),
        (lambda: local_powers([2, 1], np.ones((2, 1))), "must be positive and rise"),
        (lambda: local_powers([1, 2], np.zeros((2, 1))), "times be positive"),
        (lambda: plateau_end([0, 2], np.ones((2, 1))), "must be positive and rise"),
        (lambda: plateau_end([1, 2], np.ones(2)), "expected n noise strengths"),
        (lambda: decay_times([history(9)], "loss"), "give 'loss' a fraction"),
        (lambda: decay_times([history(9, diverged_step=3)], "w_ni", 2.0), "between 0 and 1"),
    ],
)
def test_bad_input_is_named(call, says) -> None:
    with pytest.raises(ValueError, match=says):
        call()
