"""The flow solved: closed forms, conserved quantities, identities and the slaved loss."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from nin.linear import flow
from nin.linear.model import simulate
from nin.theory import closed_form as cf
from nin.theory import noise_map
from nin.theory import symbols as s
from nin.theory import two_layer as th

WHEN = np.linspace(0, 5, 11)


def draw(seed):
    g = np.random.default_rng(seed)
    start = dict(zip(("w1", "u", "w0"), g.normal(size=3), strict=True))
    start |= {"M": float(g.choice([-1, 1]) * g.uniform(0.3, 2)), "sigma_x": g.uniform(0.5, 1.5)}
    return start | {"sigma_eps": g.uniform(0.3, 2)}


def by_hand(start, back_reaction):
    """The flow, written out here a second time, by an explicit method of order 8."""
    M, sx2, se2 = start["M"], start["sigma_x"] ** 2, start["sigma_eps"] ** 2

    def slope(_, w):
        w1, u, w0 = w
        misfit = w1 * w0 - M
        pressure = se2 * u**2 * w1 if back_reaction else 0.0
        return [-sx2 * misfit * w0 - pressure, -se2 * w1**2 * u, -sx2 * misfit * w1]

    first = [start[name] for name in ("w1", "u", "w0")]
    return solve_ivp(slope, (0, 5), first, "DOP853", WHEN, rtol=1e-11, atol=1e-13).y


@pytest.mark.parametrize("seed", range(30))
def test_closed_form_is_the_flow_from_random_starts(seed):
    start = draw(seed)
    course, found = flow.closed_form(WHEN, **start), by_hand(start, False)
    # Tolerances 1e-11 a step; the flow contracts, but near a saddle it first expands.
    assert np.allclose([course.w1, course.u, course.w0], found, rtol=1e-7, atol=1e-8)
    loss = start["sigma_x"] ** 2 / 2 * (course.w1 * course.w0 - start["M"]) ** 2
    assert np.allclose(course.loss, loss, rtol=1e-6, atol=1e-14)


@pytest.mark.parametrize("seed", range(30, 40))
@pytest.mark.parametrize("back_reaction", [True, False])
def test_integrated_flow_is_the_flow(seed, back_reaction):
    start = draw(seed)
    course = flow.integrate(WHEN, **start, back_reaction=back_reaction)
    found = by_hand(start, back_reaction)
    assert np.allclose([course.w1, course.u, course.w0], found, rtol=1e-6, atol=1e-7)


def test_closed_form_begins_at_the_start_and_two_legs_are_one():
    start = draw(50)
    whole = flow.closed_form([0.0, 1.0, 3.0], **start)
    for name in ("w1", "u", "w0"):
        assert np.isclose(getattr(whole, name)[0], start[name], rtol=1e-12)
    rest = {name: float(getattr(whole, name)[1]) for name in ("w1", "u", "w0")}
    second = flow.closed_form([2.0], **{**start, **rest})
    for name in ("w1", "u", "w0", "loss"):
        assert np.isclose(getattr(second, name)[0], getattr(whole, name)[2], rtol=1e-9)


@pytest.mark.parametrize(
    ("w1", "w0", "M", "ends_at"),
    [
        (0.5, -0.5, 1.0, 0.0),  # on the saddle's stable line the product stays below zero
        (0.5, 0.5, -1.0, 0.0),
        (0.7, 0.7, 2.0, 2.0),  # balanced
        (0.0, 1.0, 1.0, 1.0),  # a dead second layer wakes up
        (0.0, 0.0, 1.0, 0.0),  # the saddle itself
    ],
)
def test_closed_form_at_special_starts(w1, w0, M, ends_at):
    course = flow.closed_form([0.0, 0.5, 40.0], w1=w1, u=0.3, w0=w0, sigma_eps=0.5, M=M)
    assert np.isfinite(course).all()
    assert np.isclose(course.w1[-1] * course.w0[-1], ends_at, atol=1e-9)


def test_closed_form_broadcasts_and_agrees_with_its_columns():
    w1 = np.array([[0.3], [1.2]])
    many = flow.closed_form(WHEN, w1=w1, u=0.2, w0=[0.1, -0.4, 0.9], sigma_eps=1.1)
    assert many.u.shape == (len(WHEN), 2, 3)
    one = flow.closed_form(WHEN, w1=1.2, u=0.2, w0=-0.4, sigma_eps=1.1)
    assert np.allclose(many.loss[:, 1, 1], one.loss, rtol=1e-13)


def test_loss_keeps_its_digits_long_after_the_weights_have_none_left():
    course = flow.closed_form([20.0, 25.0], w1=1.1, u=0.3, w0=0.4, sigma_eps=1.0)
    rate = 2 * np.hypot(course.w1, course.w0)[0] ** 2
    assert course.loss[1] < 1e-45  # the square of a difference of weights stops at 1e-32
    assert np.isclose(np.log(course.loss[0] / course.loss[1]), 5 * rate, rtol=1e-9)


def test_the_balance_is_conserved_along_the_flow_and_by_every_batch_to_second_order():
    assert cf.change(cf.IMBALANCE, back_reaction=False) == 0
    assert cf.change(cf.INVARIANT) == 0
    assert cf.change(cf.IMBALANCE) != 0 and cf.change(cf.INVARIANT, back_reaction=False) != 0
    moved = dict(zip(th.WEIGHTS, th.batch_step(), strict=True))
    gain = sp.Poly(sp.expand(cf.INVARIANT.subs(moved, simultaneous=True) - cf.INVARIANT), s.eta)
    assert [power for (power,), _ in gain.terms()] == [2]  # means of x^2, x eps, eps^2 are symbols


def test_sgd_breaks_the_balance_in_proportion_to_eta():
    change = []
    for eta in (0.02, 0.01, 0.005):
        run = simulate(w1=0.9, u=0.5, w0=0.2, sigma_eps=1.0, eta=eta, batch_size=10**6,
                       steps=round(2 / eta), noise="none")  # fmt: skip
        balance = run.w1**2 - run.w0**2 - run.u**2
        change.append(float(balance[-1] - balance[0]))
    ratios = np.divide(change[:-1], change[1:])
    assert np.allclose(ratios, 2, atol=0.05)  # 1/eta steps of eta^2 each


@pytest.mark.parametrize("seed", range(60, 70))
def test_noise_weight_is_a_power_of_the_loss_for_any_start(seed):
    start = draw(seed)
    w1, u, w0 = by_hand(start, False)
    log_loss = np.log(((w1 * w0 - start["M"]) / (w1[0] * w0[0] - start["M"])) ** 2)
    se2, sx2 = start["sigma_eps"] ** 2, start["sigma_x"] ** 2
    stated = se2 / (4 * sx2) * log_loss + se2 * (w0[0] ** 2 - w1[0] ** 2) * WHEN / 2
    early = log_loss > -14  # later the misfit is a difference without digits
    assert np.allclose(np.log(u / u[0])[early], stated[early], atol=1e-4)


def test_identities_are_the_integrals_of_rates():
    power = s.sigma_eps**2 / (4 * s.sigma_x**2)
    for back_reaction in (False, True):
        log_u = cf.change(s.u) / s.u
        log_loss = cf.change(noise_map.CLEAN_LOSS, back_reaction=back_reaction)
        log_loss = log_loss / noise_map.CLEAN_LOSS
        if back_reaction:
            fed = s.u**2 * s.w1 * s.w0 / th.MISFIT
            rest = power * 2 * s.sigma_eps**2 * fed
            rest -= s.sigma_eps**2 / 2 * (cf.INVARIANT + s.u**2)
        else:
            rest = s.sigma_eps**2 / 2 * cf.IMBALANCE
        assert sp.simplify(log_u - power * log_loss - rest) == 0
        # What the chapter shows, differentiated, is the same.
        shown = cf.reacting_identity() if back_reaction else None
        if shown is not None:
            assert shown.rhs.diff(cf.FED) == power * 2 * s.sigma_eps**2
            assert shown.rhs.diff(cf.LOST) == -(s.sigma_eps**2) / 2


def test_the_late_loss_is_the_slower_of_data_and_fourth_power_of_the_noise_weight():
    g = np.random.default_rng(3)
    off = []
    for _ in range(16):
        w1, u, w0 = g.normal(size=3)
        measured, predicted = flow.late_rate(w1=w1, u=u, w0=w0, sigma_eps=g.uniform(0.2, 1.5))
        off.append(abs(measured / predicted - 1))
    assert np.median(off) < 1e-3  # where one rate is clearly the smaller
    assert max(off) < 0.15  # where both are alike, 1e-15 is not late enough


def test_slaved_misfit_is_met():
    course = flow.integrate([0.0, 10.0], w1=0.9, u=0.8, w0=0.2, sigma_eps=0.5)
    at = {s.w1: course.w1[1], s.u: course.u[1], s.w0: course.w0[1], s.sigma_eps: 0.5, s.sigma_x: 1}
    found = course.w1[1] * course.w0[1] - 1
    assert np.isclose(found, float(cf.slaved_misfit().subs(at)), rtol=2e-3)  # next order: u^2


def test_final_weights_depend_on_the_initial_noise_weight_not_on_the_noise():
    ends = [
        flow.integrate([0.0, 80.0], w1=0.9, u=0.8, w0=0.2, sigma_eps=sigma)
        for sigma in (0.5, 1.0, 2.0)
    ]
    stated = [float(w.subs({s.w1: 0.9, s.u: 0.8, s.w0: 0.2, s.M: 1})) for w in cf.FINAL_WEIGHTS]
    for end in ends:
        assert np.allclose([end.w1[-1], end.w0[-1]], stated, atol=1e-6)


def test_taus_are_the_first_rates_of_the_closed_form():
    h, start = 1e-6, draw(80)
    course = flow.closed_form([0.0, h], **start)
    at = {getattr(s, name): value for name, value in start.items()}
    for tau, values in ((cf.TAU_LOSS, course.loss), (cf.TAU_NOISE, course.u)):
        measured = -h / np.log(values[1] / values[0])
        assert np.isclose(measured, float(tau.subs(at)), rtol=1e-4)  # h times a rate
    assert sp.simplify(cf.TAU_RATIO - cf.TAU_NOISE / cf.TAU_LOSS) == 0


def test_langevin_noise_has_the_covariance_of_one_step():
    n, point = 200_000, {"w1": 0.7, "u": 0.6, "w0": -0.3, "sigma_eps": 1.3}
    setting = {"eta": 0.02, "batch_size": 7}
    run = simulate(**{**point, "w1": np.full(n, 0.7)}, **setting, steps=1)
    measured = np.cov([run.w1[-1], run.u[-1], run.w0[-1]])
    values = {**point, **setting, "M": 1, "sigma_x": 1}
    noise = cf.langevin_noise()
    noise = np.array(
        noise.subs({symbol: values[str(symbol)] for symbol in noise.free_symbols}), float
    )
    stated = setting["eta"] * noise @ noise.T  # a step lasts eta
    size = np.sqrt(np.outer(np.diag(stated), np.diag(stated)))
    # Variances of products of Gaussians in batches of 7: kurtosis below 6, five errors.
    assert (abs(measured - stated) < 5 * np.sqrt(6 / n) * size).all()


def test_langevin_without_noise_or_batches_is_the_flow():
    start = {"w1": 0.9, "u": 0.8, "w0": 0.2, "sigma_eps": 1.0}
    paths = flow.langevin(t=2.0, runs=3, **start, eta=0.02, batch_size=10**14)
    there = flow.integrate([2.0], **start)
    assert np.allclose(paths.T, [there.w1[0], there.u[0], there.w0[0]], atol=1e-6)
    assert flow.langevin(t=0.0, runs=2, **start, eta=0.02, batch_size=5).tolist() == [
        [0.9, 0.9], [0.8, 0.8], [0.2, 0.2]]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: flow.closed_form([-1], w1=1, u=1, w0=1, sigma_eps=1), "flow times >= 0"),
        (
            lambda: flow.closed_form([1], w1=1, u=1, w0=1, sigma_eps=1, sigma_x=0),
            "nothing to learn",
        ),
        (lambda: flow.closed_form([1], w1=1, u=1, w0=1, sigma_eps=-1), "sigma_eps must be"),
        (lambda: flow.integrate([1], w1=1, u=1, w0=1, sigma_eps=1, M=0), "M must be"),
        (
            lambda: flow.langevin(
                t=1.0, runs=2, w1=1, u=1, w0=1, sigma_eps=1, eta=0.3, batch_size=5
            ),
            "multiple of eta",
        ),
    ],
)
def test_bad_input_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()
