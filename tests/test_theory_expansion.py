"""Eqs. (1), (2), (5)-(8): the objects of nin.theory against independent derivations."""

import itertools

import mpmath
import numpy as np
import pytest
import sympy as sp
import torch
from sympy import Rational

from nin.curvature import kink_gradient
from nin.theory import expansion, mean_step
from nin.theory import symbols as s

Z, W = sp.symbols("z1:4", real=True), sp.symbols("a b c", real=True)
EPS = s.eps


def directional_line(loss):
    """The loss along the line z + t w, a function of the scalar t alone."""
    t = sp.Symbol("t", real=True)
    shift = dict(zip(Z, (z + t * w for z, w in zip(Z, W, strict=True)), strict=True))
    return t, loss.subs(shift, simultaneous=True)


LOSSES = {
    "exponential": sp.exp(Z[0] - 2 * Z[1] * Z[2]),
    "oscillating": sp.sin(Z[0] * Z[1]) + sp.cos(Z[2]),
    "softmax": sp.log(sum(sp.exp(z) for z in Z)) - Z[0],
    "polynomial": Z[0] ** 4 - Z[1] ** 3 * Z[2] + 2 * Z[0] * Z[2],
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_series_of_the_shift_is_the_taylor_series(name, order):
    loss = LOSSES[name]
    t, line = directional_line(loss)
    taylor = line.diff(t, order).subs(t, 0) / sp.factorial(order) * EPS**order
    term = expansion.series_term(loss, list(Z), list(W), order)
    both = sp.lambdify((*Z, *W, EPS), [term, taylor], "mpmath")
    points = itertools.product([mpmath.mpf(1) / 3, mpmath.mpf(-2)], repeat=7)
    with mpmath.workdps(40):
        for point in itertools.islice(points, 1, 128, 11):
            found, expected = both(*point)
            # 40 digits decide equality of numbers of order 1e3; the rest is rounding.
            assert abs(found - expected) < 1e-25


def test_series_ends_exactly_for_a_polynomial():
    loss = LOSSES["polynomial"]
    shifted = loss.subs({z: z + EPS * w for z, w in zip(Z, W, strict=True)}, simultaneous=True)
    terms = [expansion.series_term(loss, list(Z), list(W), order) for order in range(1, 6)]
    assert sp.expand(shifted - loss - sum(terms)) == 0
    assert terms[-1] == 0


def test_all_orders_of_eq_5_sum_to_the_exponential():
    x = sp.Symbol("x", real=True)
    coefficient = expansion.series_term(sp.exp(Z[0]), [Z[0]], [x], 5) / sp.exp(Z[0])
    assert coefficient == (EPS * x) ** 5 / sp.factorial(5)
    total = sp.summation((EPS * x) ** s.k / sp.factorial(s.k), (s.k, 0, sp.oo))
    assert sp.simplify(total - sp.exp(EPS * x)) == 0
    exponent = next(iter(expansion.EQ5.corrected.members[1].atoms(sp.exp))).exp
    assert exponent == s.eps_i[s.i] * s.shift_operator


def test_printed_and_corrected_eq_1_differ_only_in_the_argument_of_the_loss():
    printed, corrected = expansion.EQ1.as_printed.rhs, expansion.EQ1.corrected.rhs
    clean = s.sample_loss(s.theta, s.x_i[s.i], s.y_i[s.i])
    noisy = s.sample_loss(s.theta, s.x_i[s.i], s.eps_i[s.i], s.y_i[s.i])
    assert printed != corrected
    assert printed.xreplace({noisy: clean}) == corrected


def explicit(expr, size):
    """A matrix expression of width d written out for a layer of explicit width."""
    return sp.Matrix(expr.subs(s.d, size).as_explicit())


def test_eq_6_is_the_second_order_of_the_series():
    size = 3
    g = sp.Matrix(sp.symbols("g1:4"))
    h = sp.Matrix(size, size, lambda a, b: sp.Symbol(f"h{min(a, b)}{max(a, b)}"))
    loss = (g.T * sp.Matrix(Z) + sp.Matrix(Z).T * h * sp.Matrix(Z) / 2)[0]
    second = sum(expansion.series_term(loss, list(Z), list(W), order) for order in (1, 2))
    at_zero = second.subs(dict.fromkeys(Z, 0))
    eq6 = expansion.EQ6.corrected.rhs - s.loss_clean
    values = {
        s.w_ni.subs(s.d, size): sp.Matrix(W),
        s.mean_eps_gradient.subs(s.d, size): EPS * g,
        s.mean_eps2_hessian.subs(s.d, size): EPS**2 * h,
    }
    assert sp.expand(eq6.subs(s.d, size).xreplace(values).doit()[0] - at_zero) == 0


def test_corrected_eq_2_is_eq_7_applied_to_eq_6():
    size = 3
    w = explicit(s.w_ni, size)
    hbar = sp.Matrix(size, size, lambda a, b: sp.Symbol(f"h{min(a, b)}{max(a, b)}"))
    xi = sp.Matrix(sp.symbols("xi1:4"))
    kick_size = s.sigma_eps / sp.sqrt(s.batch_size)
    loss = (w.T * kick_size * xi + w.T * s.sigma_eps**2 * hbar * w / 2)[0]
    step = w - s.eta * sp.Matrix([loss.diff(w_a) for w_a in w])
    for form, agrees in ((expansion.EQ2.corrected, True), (expansion.EQ2.as_printed, False)):
        values = {
            s.mean_hessian.subs(s.d, size): hbar,
            s.kick.subs(s.d, size): xi,
            s.rms_gradient.subs(s.d, size): xi,
            s.w_ni.subs(s.d, size): w,
        }
        stated = form.rhs.subs(s.d, size).xreplace(values).doit().subs(s.phi, 1)
        assert (sp.simplify(sp.Matrix(stated) - step) == sp.zeros(size, 1)) is agrees
    assert expansion.EQ8.corrected.rhs == expansion.EQ2.corrected.rhs


def test_printed_kick_has_the_right_diagonal_and_the_wrong_rest():
    g = np.random.default_rng(0).normal(size=(200, 3)) @ [[1, 0, 0], [-2, 1, 0], [0, 0.5, 1]]
    true, root = g.T @ g / len(g), np.sqrt((g**2).mean(0))
    printed = sp.lambdify(
        s.rms_gradient.subs(s.d, 3), expansion.PRINTED_KICK_COVARIANCE.rhs.subs(s.d, 3), "numpy"
    )(root[:, None])
    assert np.allclose(np.diag(printed), np.diag(true), rtol=1e-12)
    assert printed[0, 1] > 0 > true[0, 1]
    # Monte Carlo of the kick itself: 5 standard errors of a covariance from n draws.
    eps = np.random.default_rng(1).normal(size=(20_000, len(g)))
    kicks = eps @ g / np.sqrt(len(g))
    error = np.abs(np.cov(kicks.T) - true) / np.outer(root, root)
    assert error.max() < 5 * np.sqrt(2 / len(kicks))


def test_one_unit_makes_the_two_kicks_agree_in_law():
    printed = expansion.PRINTED_KICK_COVARIANCE.rhs.subs(s.d, 1).as_explicit()[0, 0]
    assert printed == s.rms_gradient.subs(s.d, 1)[0, 0] ** 2


def test_drift_is_the_component_of_eq_2_without_its_kick():
    for form, rate in ((expansion.EQ2.corrected, 1), (expansion.EQ2.as_printed, Rational(1, 2))):
        component = mean_step.step_component(form)
        quiet = component.subs({"kick": 0, "rms": 0}) - sp.Symbol("w")
        assert sp.expand(quiet + rate * s.eta * s.sigma_eps**2 * sp.Symbol("hessian_w")) == 0
    vector = torch.tensor([1.0, -2.0])
    assert torch.equal(mean_step.drift(expansion.EQ2.corrected, 0.5, 2.0, vector), -2 * vector)


@pytest.mark.parametrize("m", range(1, 7))
def test_mean_orders_are_gaussian_moments_over_factorials(m):
    double_factorial = 0 if m % 2 else sp.factorial2(m - 1)
    expected = s.sigma_eps**m * double_factorial / sp.factorial(m - 1)
    assert sp.simplify(mean_step.mean_order(m) - expected) == 0


def test_kink_mean_is_the_integral_that_it_says():
    at, weights = np.polynomial.legendre.leggauss(400)
    for z, w, sigma in ((0.3, 0.7, 1.1), (-1.0, 0.4, 2.0), (0.5, -1.3, 0.6)):
        edge, reach = -z / w, 12 * sigma
        low, high = (edge, reach) if w > 0 else (-reach, edge)
        eps = (high - low) / 2 * at + (high + low) / 2
        density = np.exp(-(eps**2) / 2 / sigma**2) / sigma / np.sqrt(2 * np.pi)
        numeric = (eps * density * weights).sum() * (high - low) / 2
        tensors = (torch.tensor([[v]], dtype=torch.float64) for v in (z, 1.0))
        z_t, one = tensors
        found = kink_gradient(z_t, one, torch.tensor([w], dtype=torch.float64), sigma)
        # Gauss-Legendre over a smooth integrand: exact but for rounding.
        assert float(found) == pytest.approx(numeric, abs=1e-12)


def test_operator_refuses_lengths_that_do_not_match():
    with pytest.raises(ValueError, match="one weight for each pre-activation"):
        expansion.directional_derivative(Z[0], list(Z), [W[0]], 1)
