"""The rule that names a run's phase, on courses with a known answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from nin.linear import simulate
from nin.runs.history import History
from nin.runs.phases import DECAYED, MARGIN, Phase, classify_phase, most_common_phase

STEPS = np.arange(100)
FLAT = np.ones(100)


def course(
    w: Sequence[float] | np.ndarray, loss: Sequence[float] | np.ndarray, diverged: int | None = None
) -> History:
    """A history with these norms of w_ni and noisy losses."""
    n = len(w)
    empty = np.array([], np.float32)
    return History(
        steps_per_epoch=10,
        step=np.arange(n),
        loss=np.asarray(loss, np.float32),
        accuracy=np.zeros(n, np.float32),
        norms={"w_ni": np.asarray(w, np.float32)},
        eval_step=np.array([], np.int64),
        train_loss=empty,
        train_accuracy=empty,
        val_loss=empty,
        val_accuracy=empty,
        diverged_step=diverged,
        last_finite_loss=float(loss[-1]) if n else float("nan"),
    )


def bump(height: float, end: float) -> np.ndarray:
    """Rise from 1 to a height at step 20, then fall to an end, reached at step 60."""
    return np.interp(STEPS, [0, 20, 60, 99], [1, height, end, end])


@pytest.mark.parametrize(
    ("history", "phase"),
    [
        (course(FLAT, FLAT), Phase.DECOUPLED),
        (course(3 * FLAT, 0.1 ** (STEPS / 50)), Phase.DECOUPLED),
        (course(np.exp(-STEPS / 20), np.exp(-STEPS / 40)), Phase.DECAY),
        (course(bump(5, 0.01), bump(20, 0.1)), Phase.CATAPULT),
        (course(bump(1e3, 1e3), bump(1e3, 1e3)), Phase.DIVERGENT),
        (course([1, 10, 1e9], [2, 1e3, 1e30], diverged=3), Phase.DIVERGENT),
        # a diverged run is that, whatever it did before
        (course(FLAT, FLAT, diverged=100), Phase.DIVERGENT),
        # either of the two recovers: a catapult
        (course(bump(5, 5), bump(20, 0.1)), Phase.CATAPULT),
        (course(bump(5, 0.5), bump(20, 20)), Phase.CATAPULT),
        # only one of the two rises: none
        (course(bump(5, 1), FLAT), Phase.DECOUPLED),
        (course(FLAT, bump(20, 1)), Phase.DECOUPLED),
        (course(bump(1, 0.1), bump(20, 1)), Phase.DECAY),
    ],
)
def test_courses_have_the_phase_they_were_made_for(history: History, phase: Phase) -> None:
    assert classify_phase(history).phase == phase


@pytest.mark.parametrize(
    ("w", "loss", "inside", "outside"),
    [
        # a rise by MARGIN is none; by a little more is one
        (lambda c: bump(c, 0.01), lambda _: bump(9, 0.1), Phase.DECAY, Phase.CATAPULT),
        (lambda _: bump(9, 0.01), lambda c: bump(c, 0.1), Phase.DECAY, Phase.CATAPULT),
        # an end at MARGIN times the start is a recovery; a little more is none
        (lambda c: bump(9, c), lambda _: bump(9, 9), Phase.CATAPULT, Phase.DIVERGENT),
        (lambda _: bump(9, 9), lambda c: bump(9, c), Phase.CATAPULT, Phase.DIVERGENT),
    ],
)
def test_a_change_counts_from_the_margin_on(w, loss, inside: Phase, outside: Phase) -> None:  # type: ignore[no-untyped-def]
    for factor, phase in ((MARGIN * 0.999, inside), (MARGIN * 1.001, outside)):
        assert classify_phase(course(w(factor), loss(factor))).phase == phase


def test_a_decay_counts_once_half_of_w_ni_is_gone() -> None:
    assert DECAYED == 0.5
    for end, phase in ((0.501, Phase.DECOUPLED), (0.499, Phase.DECAY)):
        assert classify_phase(course(bump(1, end), FLAT)).phase == phase


def test_units_of_weights_and_loss_do_not_matter() -> None:
    for scale in (1e-6, 1.0, 1e6):
        history = course(scale * bump(5, 0.01), bump(20, 0.1) / scale)
        assert classify_phase(history).phase == Phase.CATAPULT


def test_one_noisy_batch_at_the_end_does_not_decide() -> None:
    loss = bump(20, 0.1)
    loss[-1] = 100
    assert classify_phase(course(bump(5, 5), loss)).phase == Phase.CATAPULT


def test_a_rise_of_w1_counts_in_the_linear_model_and_not_in_a_network() -> None:
    runs = simulate(w1=0.1, u=1.0, w0=1.0, sigma_eps=0.0, eta=0.1, batch_size=1, steps=99)
    rose = runs.history()
    rose.norms.update(w_ni=FLAT, w1=bump(5, 1))
    rose = dataclasses.replace(rose, loss=bump(20, 0.1))
    assert classify_phase(rose).phase == Phase.CATAPULT
    rose.norms.update(w1=FLAT)
    assert classify_phase(rose).phase == Phase.DECOUPLED
    history = course(FLAT, bump(20, 0.1))
    for name in ("w1", "w0"):  # parameters of a user's network
        history.norms[name] = bump(5, 1)
        assert classify_phase(history).phase == Phase.DECOUPLED


@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize("place", ["loss", "w_ni"])
def test_numbers_that_are_not_finite_are_a_divergence_noted_or_not(place: str, bad: float) -> None:
    w, loss = bump(5, 5), bump(20, 20)
    (w if place == "w_ni" else loss)[70:] = bad
    for diverged in (None, 70):
        found = classify_phase(course(w, loss, diverged))
        assert found.phase == Phase.DIVERGENT and found.diverged_step == 70
        assert found.w_peak == pytest.approx(5)  # float32 rounding of the recorded values
        assert "no longer finite at step 70; before" in found.evidence


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_loss_that_was_never_finite_is_a_divergence_at_once(bad: float) -> None:
    found = classify_phase(course(FLAT, bad * FLAT))
    assert found.phase == Phase.DIVERGENT and found.diverged_step == 0
    lost = course([], [], diverged=0)
    lost.norms.clear()  # as training leaves it: nothing was recorded
    assert classify_phase(lost).phase == Phase.DIVERGENT


def test_weights_that_begin_at_zero_are_refused() -> None:
    with pytest.raises(ValueError, match=r"began at 0 \(init_std=0\).*init_std > 0"):
        classify_phase(course(np.r_[0, FLAT], np.r_[1, FLAT]))


def test_a_loss_that_began_below_0_is_refused_rather_than_read_upside_down() -> None:
    with pytest.raises(ValueError, match="the noisy loss began at -1, below 0"):
        classify_phase(course(FLAT, np.linspace(-1, -3, 100)))
    assert classify_phase(course(FLAT, np.linspace(1, -3, 100))).phase == Phase.DECOUPLED


def test_each_of_several_nodes_has_its_phase() -> None:
    history = course(FLAT, FLAT)
    history.norms.update({"w_ni[a.b]": FLAT, "w_ni[c]": bump(1, 0.1)})
    del history.norms["w_ni"]
    assert classify_phase(history, "a.b").phase == Phase.DECOUPLED
    assert classify_phase(history, "c").phase == Phase.DECAY
    for layer in (None, "d"):
        with pytest.raises(ValueError, match=r"nodes at a\.b, c: say layer="):
            classify_phase(history, layer)
    assert classify_phase(course(FLAT, FLAT), "any").phase == Phase.DECOUPLED


def test_finding_tells_peaks_and_ends_relative_to_the_start() -> None:
    found = classify_phase(course(2 * bump(5, 0.25), 3 * bump(20, 0.5)))
    # float32 rounding of the recorded values
    assert found.w_peak == pytest.approx(5) and found.w_end == pytest.approx(0.25)
    assert found.loss_peak == pytest.approx(20) and found.loss_end == pytest.approx(0.5)
    assert found.diverged_step is None
    assert found.evidence.startswith("|w_ni| peaked at 5 and ended at 0.25 times its start")


def test_evidence_of_divergence_names_the_step() -> None:
    found = classify_phase(course([1, 10, 1e9], [2, 1e3, 1e30], diverged=3))
    assert found.diverged_step == 3
    assert "no longer finite at step 3; before, |w_ni| peaked at 1e+09" in found.evidence


@pytest.mark.parametrize("records", [0, 1])
def test_a_run_that_diverged_at_once_is_divergent_all_the_same(records: int) -> None:
    found = classify_phase(course([1.0] * records, [2.0] * records, diverged=records))
    assert found.phase == Phase.DIVERGENT
    assert found.evidence == f"the loss was no longer finite at step {records}"


def test_runs_without_a_course_or_a_node_are_refused() -> None:
    with pytest.raises(ValueError, match="fewer than two records: no course to judge"):
        classify_phase(course([1.0], [1.0]))
    history = course(FLAT, FLAT)
    history.norms.clear()
    with pytest.raises(ValueError, match="this run has no NIN: attach one"):
        classify_phase(history)


def test_most_common_phase_counts_and_breaks_ties_towards_more_noise() -> None:
    calm, decay = course(FLAT, FLAT), course(bump(1, 0.1), FLAT)
    lost = course(FLAT, FLAT, diverged=100)
    assert most_common_phase([calm, decay, calm]) == (Phase.DECOUPLED, 2)
    assert most_common_phase([calm, decay]) == (Phase.DECAY, 1)
    assert most_common_phase([lost, calm, decay]) == (Phase.DIVERGENT, 1)
    with pytest.raises(ValueError, match="at least one history"):
        most_common_phase([])


def test_phases_are_in_the_order_of_growing_noise() -> None:
    assert [str(p) for p in Phase] == ["decoupled", "decay", "catapult", "divergent"]
