"""The noise-only map, the borders in numbers, and the search for borders."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from nin.linear import derived_borders as bd
from nin.linear import plane
from nin.linear.epochs import simulate_epochs
from nin.linear.model import simulate
from nin.runs.bisection import find_border
from nin.runs.phases import Phase
from nin.theory import noise_map as nm
from nin.theory import symbols as s
from nin.theory import two_layer as theory


def test_product_and_curvature_follow_the_catapult_map() -> None:
    assert (nm.product_map() - nm.CATAPULT_MAP).expand().is_zero_matrix
    next_a, next_b = nm.noise_only_map()
    back = {nm.g: nm.a * nm.b, nm.lam: nm.a**2 + nm.b**2}
    g_next, lam_next = nm.product_map().subs(back)
    assert sympy.expand(next_a * next_b - g_next) == 0
    assert sympy.expand(next_a**2 + next_b**2 - lam_next) == 0


def test_difference_of_squares_shrinks_by_one_minus_g_squared() -> None:
    next_a, next_b = nm.noise_only_map()
    expected = (nm.a**2 - nm.b**2) * (1 - nm.a**2 * nm.b**2)
    assert sympy.expand(next_a**2 - next_b**2 - expected) == 0


@settings(max_examples=300, deadline=None)  # the first call compiles
@given(st.floats(0.05, 2.4), st.floats(0.05, 2.4))
def test_the_map_diverges_above_four_only(a: float, b: float) -> None:
    lam = a * a + b * b
    if abs(lam - 4) < 0.02 or 1.0 in (a * a, b * b):
        return  # too slow to tell in 3000 steps; or one step makes a weight 0, and the map stops
    run = simulate(
        w1=b, u=a, w0=0, sigma_eps=1, eta=1, batch_size=1, sigma_x=0, steps=3000, noise="none"
    )
    assert bool(run.diverged) == (lam > 4)
    if lam < 4:
        assert run.u[-1] ** 2 + run.w1[-1] ** 2 < 2.02  # at 2 the approach is as slow as 1/steps


def test_plane_counts() -> None:
    found = plane.run_plane(20_000, data=False, steps=1500, seed=11)
    assert found.wrong("derived") <= 2  # starts within 1e-4 of the border are slow
    assert found.wrong("printed") > 5000


def test_simulated_borders_are_the_derived_ones() -> None:
    g = np.random.default_rng(8)
    for seed in range(4):
        w1, u = g.uniform(0.5, 2, 2)
        start = {"w1": w1, "u": u, "w0": 0.1, "eta": g.uniform(0.001, 0.1), "batch_size": 3}
        derived, printed = bd.linear_borders(**start), bd.linear_borders(**start, form="printed")
        alone = {**start, "sigma_x": 0.0, "noise": "none", "steps": 3000}
        border = find_border(
            lambda sigma, alone=alone: simulate(**alone, sigma_eps=sigma).diverged,
            float(derived.div) / 3,
            float(derived.div) * 3,
            seeds=1,
        )
        assert abs(border.value / derived.div - 1) < 3e-3, seed  # the bracket, and slow runs
        assert printed.cat == derived.cat <= derived.div < printed.div
        assert derived.div**2 <= 2 * derived.cat**2 * (1 + 1e-12)


def test_printed_sigma_dec_is_another_number() -> None:
    start = {"w1": 0.7, "u": 0.2, "w0": 0.1, "eta": 0.02, "batch_size": 40, "M": -2.0}
    ours, theirs = (float(bd.linear_borders(**start, form=f).dec) for f in ("corrected", "printed"))
    assert ours == pytest.approx(2.07 / (np.sqrt(40) * 0.14))
    assert theirs == pytest.approx(ours * 2 * 0.2)  # a factor 2, and no division by w_NI


def test_mean_square_border_is_where_the_factor_passes_one() -> None:
    factor = nm.mean_square_factor().subs(nm.b, sympy.sqrt(nm.MEAN_SQUARE))
    assert sympy.simplify(factor - 1) == 0
    sizes = np.array([1, 2, 10, 1000])
    np.testing.assert_allclose(bd.mean_square_border(sizes), 2 * sizes / (sizes + 2))


def test_almost_sure_border_by_drawing() -> None:
    g = np.random.default_rng(0)
    for size in (1, 3, 20):
        m = g.chisquare(size, 1_000_000) / size
        for curvature in (1.7, 2.9):
            logs = np.log(abs(1 - curvature * m))
            error = logs.std() / 1e3
            assert abs(logs.mean() - bd.growth_exponent(curvature, size)) < 5 * error
        border = bd.almost_sure_border(size)
        assert abs(bd.growth_exponent(border, size)) < 1e-5
        assert border > 2 > bd.mean_square_border(size)


def test_border_search_says_when_there_is_nothing_to_find() -> None:
    never = find_border(lambda sigma: sigma > 100, 1, 10, seeds=4)
    assert not never.found and np.isnan(never.value) and (never.below, never.above) == (0, 4)
    always = find_border(lambda sigma: sigma > 0, 1, 10, seeds=4)
    assert not always.found and (always.below, always.above) == (4, 0)


def test_border_search_covers_the_truth_at_its_stated_rate() -> None:
    g, hits = np.random.default_rng(4), 0
    for _ in range(200):
        borders = 5 * np.exp(0.1 * g.standard_normal(12))
        found = find_border(lambda sigma, b=borders: sigma > b, 1, 30, seeds=12)
        hits += abs(np.log(found.value / 5)) < found.err / found.value
    assert 110 <= hits <= 158  # 66% of 200 for Student's t with 11 degrees, 4 standard errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bd.linear_borders(w1=0, u=1, w0=1, eta=0.1, batch_size=1), "w1 must not be 0"),
        (lambda: bd.linear_borders(w1=1, u=0, w0=1, eta=0.1, batch_size=1), "u must not be 0"),
        (lambda: bd.linear_borders(w1=1, u=1, w0=1, eta=0, batch_size=1), "eta"),
        (lambda: bd.linear_borders(w1=1, u=1, w0=1, eta=1, batch_size=1, form="x"), "form must be"),
        (lambda: find_border(lambda v: v > 1, 2, 1, seeds=1), "low < high"),
        (lambda: plane.draw_start("C", 3), "reading must be one of A, B"),
    ],
)
def test_bad_input_is_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]


def test_rule_agrees_with_the_map_on_random_cases() -> None:
    """Where g first grows is the map's catapult; without data the two calm phases are one."""
    cases = plane.run_plane(10_000, data=False, steps=1500, seed=5)
    lam, g_sq = cases.a_sq + cases.b_sq, cases.a_sq * cases.b_sq
    exact = np.where(lam > 4, 3, np.where(abs(1 - lam + g_sq) > 1, 2, 1))
    ruled = np.maximum(cases.runs.phases(), 1)
    assert ((exact == 3) == (ruled == 3)).all()
    assert (exact == ruled).mean() > 0.95  # the rule ignores rises below 10 percent


@pytest.mark.parametrize("fixed", [True, False])
def test_fixed_noise_marches_and_new_noise_diffuses(fixed: bool) -> None:
    setting = {"w1": 0.5, "u": 0.0, "w0": 0.1, "sigma_eps": 1e-3, "eta": 1e-3, "samples": 60}
    u = simulate_epochs(
        **setting, batch_size=20, epochs=16, runs=1000, fixed=fixed, learn_data=False
    )
    growth = np.sqrt((u[16] ** 2).mean() / (u[1] ** 2).mean())
    assert growth == pytest.approx(16 if fixed else 4, rel=0.15)  # 5 errors of a ratio of spreads
    rate = nm.diffusion().subs({s.w1: 0.5, s.w0: 0.1, s.M: 1, s.sigma_x: 1, s.batch_size: 20})
    step_var = float(rate.subs({s.sigma_eps: 1e-3, s.eta: 1e-3}))
    assert (u[1] ** 2).mean() == pytest.approx(3 * step_var, rel=0.25)  # 5 errors of a variance


def learn(w1: float, w0: float, eta: float, M: float, sigma_x: float, steps: int) -> np.ndarray:
    """Gradient descent of the two data weights, without noise: (steps, 2), before each step."""
    course = []
    for _ in range(steps):
        course.append((w1, w0))
        slope = eta * sigma_x**2 * (w1 * w0 - M)
        w1, w0 = w1 - slope * w0, w0 - slope * w1
    return np.array(course)


STARTS = [(0.5, 0.5, 1), (1.2, 0.2, 1), (0.2, 1.2, 1), (-0.6, 0.4, 1), (0.9, -0.3, -1.4)]


def walk_to_come(w1: float, w0: float, M: float, sigma_x: float = 1.0) -> float:
    values = {s.w1: w1, s.w0: w0, s.M: M, s.sigma_x: sigma_x, s.eta: 1, s.sigma_eps: 1}
    return float(nm.WALK_TO_COME.subs(nm.TRACES).subs({**values, s.batch_size: 1}))


@pytest.mark.parametrize(("w1", "w0", "M"), STARTS)
def test_walk_to_come_is_the_sum_over_all_steps(w1: float, w0: float, M: float) -> None:
    eta, sigma_x = 1e-3, 0.7
    weights = learn(w1, w0, eta, M, sigma_x, 20_000)
    kicks = eta * sigma_x * weights[:, 0] * (weights.prod(1) - M)  # at |B| = sigma_eps = 1
    # A sum and its integral differ by eta times a rate of at most 2 sigma_x^2 (w0^2 + w1^2).
    assert (kicks**2).sum() / eta == pytest.approx(walk_to_come(w1, w0, M), rel=4e-3)


@settings(max_examples=100, deadline=None)
@given(st.floats(-2, 2), st.floats(-2, 2), st.sampled_from([-1.4, 0.3, 1.0]))
def test_walk_to_come_is_bounded_by_the_initial_loss(w1: float, w0: float, M: float) -> None:
    if abs(w1 + np.sign(M) * w0) < 0.05:  # ends in the saddle: the logarithm is of 0
        return
    loss = (w1 * w0 - M) ** 2 / 2
    assert -1e-12 <= walk_to_come(w1, w0, M) <= loss + 1e-12


def test_balanced_layers_walk_half_the_bound() -> None:
    assert walk_to_come(0.5, 0.5, 1) == pytest.approx((0.25 - 1) ** 2 / 4)


def test_drift_and_walk_meet_earlier_the_longer_one_looks() -> None:
    start = {"w1": 0.6, "u": -0.1, "w0": 0.2, "eta": 0.01, "batch_size": 100, "M": 1.3}
    course = plane.decoupling_course(5000, **start)
    assert course[0] == pytest.approx(float(bd.linear_borders(**start).dec))
    weights = learn(0.6, 0.2, 0.01, 1.3, 1.0, 5000)
    walk = np.sqrt(np.cumsum((0.01 * weights[:, 0] * (weights.prod(1) - 1.3)) ** 2) / 100)
    drift = 0.01 * 0.1 * np.cumsum(weights[:, 0] ** 2)
    np.testing.assert_allclose(course, walk / drift, rtol=1e-9)
    assert course[4999] / course[2499] == pytest.approx(0.5, rel=0.02)  # 1/T once it has learnt


def test_epochs_learn_the_slope() -> None:
    u = simulate_epochs(
        w1=0.5, u=0.3, w0=0.1, sigma_eps=2, eta=0.02, batch_size=10, samples=100, epochs=80,
        runs=20, fixed=False,
    )  # fmt: skip
    assert abs(u[-1]).max() < 1e-3 * 0.3
    with pytest.raises(ValueError, match="batch_size must divide"):
        simulate_epochs(
            w1=1, u=1, w0=1, sigma_eps=1, eta=0.1, batch_size=7, samples=10, epochs=1, runs=1,
            fixed=True,
        )  # fmt: skip


def test_borders_come_from_the_stated_equations() -> None:
    values = {s.w1: 0.7, s.u: 0.2, s.eta: 0.02}
    t = bd.linear_borders(w1=0.7, u=0.2, w0=0.1, eta=0.02, batch_size=40)
    assert t.div**2 == pytest.approx(float(theory.SIGMA_DIV.corrected.rhs.subs(values)))
    assert t.cat**2 == pytest.approx(float(theory.SIGMA_CAT.corrected.rhs.subs(values)))
    assert len(Phase) == len((t.dec, t.cat, t.div)) + 1
