"""What the claims on courses measure, on courses with a known answer."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from nin.companion.claims.finding import Verdict
from nin.companion.claims.generalisation import courses, rank_correlation
from nin.companion.claims.loss_alike import beside_the_loss, explained_by
from nin.companion.claims.noise_dominated import times_and_curvature
from nin.companion.claims.table1 import relaxation
from nin.linear.model import LinearRuns, simulate
from nin.runs.history import CLEAN_QUANTITIES, History
from nin.studies.memorisation import Memory

STEPS = np.arange(0, 400, 2)


def run(w_time: float, loss_time: float) -> History:
    """Exponentials of |w_ni| and of the clean loss."""
    w, loss = (3 * np.exp(-STEPS / time) for time in (w_time, loss_time))
    flat = np.ones_like(loss)
    return History(
        steps_per_epoch=10, step=STEPS, loss=loss, accuracy=flat, norms={"w_ni": w},
        eval_step=STEPS, train_loss=loss, train_accuracy=flat, val_loss=loss, val_accuracy=flat,
        diverged_step=None, last_finite_loss=float(loss[-1]),
    )  # fmt: skip


def test_two_exponentials_are_powers_of_each_other_at_the_ratio_of_their_times() -> None:
    pace, shares = beside_the_loss([run(60, 1), run(90, 1)], [run(1, 30), run(1, 30)])
    assert pace == pytest.approx([2, 3], rel=1e-6)  # straight lines in the logarithm
    assert shares == pytest.approx(np.ones((2, 2)))


def test_a_norm_that_does_not_halve_counts_with_the_length_of_its_run() -> None:
    [pace], _ = beside_the_loss([run(1e4, 1)], [run(1, 30)])
    assert pace == pytest.approx(STEPS[-1] / np.log(2) / 30, rel=1e-6)


def test_what_is_explained_is_one_less_the_residual_of_a_line_through_the_origin() -> None:
    g = np.random.default_rng(0)
    x, e = g.normal(2, 1, 50), g.normal(0, 0.5, 50)
    y = 3 * x + e
    slope = np.linalg.lstsq(x[:, None], y, rcond=None)[0][0]
    assert explained_by(y, x) == pytest.approx(1 - np.var(y - slope * x) / np.var(y), abs=0.01)
    assert explained_by(y, x) == pytest.approx(stats.pearsonr(x, y)[0] ** 2, abs=0.02)


def catapult() -> LinearRuns:
    """One that noise alone drives: eta sigma_eps^2 w1^2 = 2.56 at the start."""
    return simulate(
        w1=[1.0], u=0.1, w0=0.1, sigma_eps=16.0, eta=0.01, batch_size=1000, steps=1000,
        noise="none", record=range(1000),
    )  # fmt: skip


def test_times_run_from_the_peak_and_curvature_is_that_at_a_tenth_of_it() -> None:
    runs = catapult()
    found = times_and_curvature(runs)
    w1, u, w0 = 1.0, 0.1, 0.1
    course = [(w1, u, w0)]
    for _ in range(1000):  # the averaged step, written out
        miss = w1 * w0 - 1
        w1, u, w0 = (
            w1 * (1 - 0.01 * 256 * u**2) - 0.01 * miss * w0,
            u * (1 - 0.01 * 256 * w1**2),
            w0 - 0.01 * miss * w1,
        )
        course.append((w1, u, w0))
    sizes = [abs(u) for _, u, _ in course]
    peak = int(np.argmax(sizes))
    tenth = next(t for t in range(peak, 1001) if sizes[t] < sizes[peak] / 10)
    learned = next(t for t in range(peak, 1001) if (course[t][0] * course[t][2] - 1) ** 2 < 0.0081)
    assert found["|w_NI|"] == [tenth - peak]
    assert found["clean loss"] == [learned - peak]  # 0.81 at the start, half of it times sigma_x^2
    assert found["curvature"] == pytest.approx([course[tenth][0] ** 2])


def test_what_is_not_reached_has_no_time() -> None:
    runs = catapult()
    short = dataclasses.replace(runs, step=runs.step[:4], w1=runs.w1[:4], u=runs.u[:4],
                                w0=runs.w0[:4])  # fmt: skip
    found = times_and_curvature(short)
    assert np.isnan(found["|w_NI|"]).all()
    assert np.isnan(found["clean loss"]).all()


@pytest.mark.parametrize(
    ("w_times", "loss_times", "verdict"),
    [
        ((20, 30), (40, 60), Verdict.REPRODUCED),
        ((30, 20), (40, 60), Verdict.CORRECTED),
        ((30, 20), (60, 40), Verdict.DIFFERS),
    ],
)
def test_more_noise_that_slows_both_or_one_or_neither(
    w_times: tuple[float, float], loss_times: tuple[float, float], verdict: Verdict
) -> None:
    strengths = {
        K: [run(w, loss)] * 3 for K, w, loss in zip((0.1, 1.0), w_times, loss_times, strict=True)
    }
    found = relaxation("3", strengths)
    assert found.verdict is verdict
    assert found.value == pytest.approx(loss_times[1] / loss_times[0], rel=0.01)  # linear in t


def remembered(gap: float, early: float, end: float, loss: float) -> Memory:
    """Two runs of 150 epochs of a step, alike."""
    step, looks = np.arange(151), np.arange(0, 151, 5)
    w = np.where(step < 10, 2.0, np.where(step < 150, 2 * early, 2 * end))
    clean = {name: np.zeros((2, len(looks))) for name in CLEAN_QUANTITIES}
    clean["train_accuracy"][:, -1], clean["val_accuracy"][:, -1] = 0.9, 0.9 - gap
    clean["train_loss"][:, 2] = loss  # at step 10
    return Memory(
        step=step, w_ni=np.tile(w, (2, 1)), loss=np.ones((2, 151)), eval_step=looks, clean=clean,
        end_loss={}, end_accuracy={}, made={},
    )  # fmt: skip


def test_courses_are_asked_after_ten_epochs_and_at_the_end() -> None:
    runs = courses({0.0: remembered(0.1, 0.9, 0.5, 0.3), 0.5: remembered(0.4, 0.8, 0.2, 1.5)})
    assert runs.share.tolist() == [0, 0, 0.5, 0.5]
    assert runs.gap == pytest.approx([0.1, 0.1, 0.4, 0.4])
    assert runs.early == pytest.approx([0.9, 0.9, 0.8, 0.8])
    assert runs.end == pytest.approx([0.5, 0.5, 0.2, 0.2])
    assert runs.loss == pytest.approx([0.3, 0.3, 1.5, 1.5])


def test_the_error_of_a_rank_correlation_is_that_of_its_t_statistic() -> None:
    g = np.random.default_rng(1)
    a = g.normal(size=12)
    b = a + g.normal(size=12)
    value, err = rank_correlation(a, b)
    assert value == pytest.approx(stats.pearsonr(stats.rankdata(a), stats.rankdata(b))[0])
    assert 2 * stats.t.sf(value / err, 10) == pytest.approx(stats.spearmanr(a, b).pvalue)
