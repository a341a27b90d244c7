"""What pages read off runs: phases by strength, and where a course is cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from nin.companion import readings
from nin.runs.history import History
from nin.runs.phases import Phase
from nin.studies.experiments import FIG3, Experiment
from nin.studies.run import RunRecord

DECAY, CATAPULT, DIVERGENT = Phase.DECAY, Phase.CATAPULT, Phase.DIVERGENT
COURSES = {  # of |w_ni| and of the noisy loss: by the words of Sec. 3
    Phase.DECOUPLED: ([1, 1, 0.9], [1, 0.5, 0.2]),
    DECAY: ([1, 0.6, 0.2], [1, 0.5, 0.2]),
    CATAPULT: ([1, 3, 0.5], [1, 9, 0.2]),
    DIVERGENT: ([1, 3, 9], [1, 9, 99]),
}


def record(e: Experiment, phase: Phase, test_loss: Sequence[float] = (3, 1, 2)) -> RunRecord:
    w_ni, loss = (np.array(values, float) for values in COURSES[phase])
    step, ones = np.arange(3), np.ones(3)
    clean = {"train_loss": loss, "train_accuracy": ones, "val_accuracy": ones}
    history = History(
        steps_per_epoch=2,
        step=step,
        loss=loss,
        accuracy=ones,
        norms={"w_ni": w_ni},
        eval_step=step,
        val_loss=np.array(test_loss, float),
        diverged_step=None,
        last_finite_loss=1.0,
        **clean,
    )
    return RunRecord(e, history, {"seconds": 90.0})


@pytest.fixture
def runs() -> dict[Experiment, list[RunRecord]]:
    found = {0.1: [DECAY] * 3, 1.0: [CATAPULT, DECAY, CATAPULT], 2.0: [DIVERGENT] * 3}
    return {FIG3.at(K): [record(FIG3.at(K), q) for q in phases] for K, phases in found.items()}


def test_the_table_sets_the_phase_of_most_seeds_beside_the_paper_s(runs) -> None:
    columns = readings.phase_table(runs, "fig3").columns
    assert columns["$K$"] == pytest.approx([0.1, 1, 2])
    assert columns["paper"] == ["decay", "catapult", "not in Table 1"]
    assert columns["found"] == ["decay", "catapult", "divergent"]
    assert columns["share of seeds"] == ["3 of 3", "2 of 3", "3 of 3"]


def test_only_runs_at_table_1_s_strengths_can_agree_with_it(runs) -> None:
    assert readings.as_table1_says(runs, "fig3") == (5, 6)  # of 3 in decay and 3 in the catapult


def test_table_1_has_both_losses_at_the_paper_s_strengths() -> None:
    columns = readings.table1_beside_runs().columns
    assert columns["$K$"] == pytest.approx([1e-4, 30, 47, 50, 1e-4, 0.1, 1, 1.8])
    assert columns["loss"] == ["squared error"] * 4 + ["cross-entropy"] * 4
    assert columns["paper"] == [phase.value for phase in Phase] * 2


def test_courses_are_medians_over_seeds_and_accuracies_have_their_spread(runs) -> None:
    table = readings.course_table(runs, "fig3", "w_ni")  # |w_ni| stands in for the next layer
    assert table.columns["noisy loss, peak"] == [1, 9, 99]
    assert table.columns[r"$|w_{\rm NI}|$, end"] == [0.2, 0.5, 9]
    assert table.columns["$|W^{(1)}|$, end"] == table.columns[r"$|w_{\rm NI}|$, end"]
    assert table.columns["test accuracy"] == [(1, 0)] * 3


def test_each_panel_has_the_runs_of_one_strength(runs) -> None:
    panels = readings.phase_panels(runs)
    assert list(panels) == ["$K = 0.1$\ndecay", "$K = 1$\ncatapult", "$K = 2$\ndivergent"]
    for (phase, histories), records, expected in zip(
        panels.values(), runs.values(), (DECAY, CATAPULT, DIVERGENT), strict=True
    ):
        assert phase == expected and histories == [r.history for r in records]


def test_every_run_of_a_sweep_is_a_dot_in_its_phase(runs) -> None:
    found = readings.each_phase(runs)
    assert [phase for _, phase in found] == [
        *[DECAY] * 3, CATAPULT, DECAY, CATAPULT, *[DIVERGENT] * 3
    ]  # fmt: skip
    assert [sigma for sigma, _ in found] == [e.sigma_eps for e in runs for _ in range(3)]


def test_what_lies_far_below_a_sweep_gets_no_mark(runs) -> None:
    weakest, middle, _ = runs
    sweep = [(middle.sigma_eps, CATAPULT), (2 * middle.sigma_eps, DIVERGENT)]
    assert weakest.sigma_eps < middle.sigma_eps / 2
    shown = readings.shown_phases(runs, sweep, "at {:g}")
    assert list(shown.values()) == [("at 1", CATAPULT), ("at 2", DIVERGENT)]


def test_the_first_strength_is_that_of_a_search_through_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        found = [(float(s), list(Phase)[rng.integers(4)]) for s in range(1, 9) for _ in range(2)]
        for phase in Phase:
            agree = [s for s in range(1, 9) if found.count((float(s), phase)) == 2]
            expected = agree[0] if agree else np.nan
            assert readings.first_strength(found, phase) == pytest.approx(expected, nan_ok=True)


def test_a_test_loss_ends_where_its_mean_is_lowest_and_times_are_epochs() -> None:
    histories = [record(FIG3, DECAY, loss).history for loss in ((4, 1, 1.5), (4, 2, 3.5))]
    t, values = readings.falling_course(histories, "val_loss")
    assert t.tolist() == [0, 0.5] and values.tolist() == [[4, 1], [4, 2]]
    assert readings.falling_course(histories, "train_loss")[0].tolist() == [0, 0.5, 1]


def test_minutes_are_those_of_all_runs(runs) -> None:
    assert readings.minutes(runs) == 9 * 1.5


def test_a_decay_is_told_with_and_without_a_shape() -> None:
    t = np.linspace(0, 5, 60)
    rng = np.random.default_rng(0)
    noise = np.exp(0.01 * rng.standard_normal((4, 60)))
    times, shape = readings.decay_cells(t, np.exp(-t) * noise)
    assert shape[0] == "exponential"
    assert len(times) == len(readings.TIME_HEADS) and len(shape) == len(readings.SHAPE_HEADS)
    for value, err in (times[0], times[2]):  # type: ignore[misc]
        assert abs(value - 1) < 5 * err + 0.01  # 5 standard errors; a first crossing comes early
    times, shape = readings.decay_cells(t[:5], np.ones((2, 5)))  # too short for a fit, and flat
    assert str(shape[0]).startswith("no fit") and times[2][0] == np.inf  # type: ignore[index]


def test_kinds_of_noise_are_compared_seed_by_seed_over_the_start_of_one() -> None:
    histories = [record(FIG3, phase).history for phase in (DECAY, CATAPULT)]
    rows = readings.kinds_apart(histories[:1], histories[1:], (0, 1))
    assert rows == [(0.0, 1.0, (1.0, 0.0)), (1.0, pytest.approx(0.2), (pytest.approx(2.5), 0.0))]
