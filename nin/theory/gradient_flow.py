"""Eqs. (4) and (17)-(27): the decay phase of the linear model, in continuous time.

`t` is flow time, the learning rate times the number of steps.
"""

from __future__ import annotations

from typing import Any

import sympy
from sympy import Derivative, Function, Integral, Matrix, Rational, Symbol, sqrt

from nin.theory import symbols as s
from nin.theory.statement import Chain, Entry, Slip, chain, equation
from nin.theory.two_layer import MISFIT, u_next, w0_next, w1_next

_TEST = "test_theory_linear.py::"

t, t_ = Symbol("t", nonnegative=True), Symbol("t_prime", nonnegative=True)
f0, f1, fu, f_loss = (
    Function(name, real=True) for name in ("w0_flow", "w1_flow", "u_flow", "loss_flow")
)
_at_t: dict[Any, Any] = {s.w0: f0(t), s.w1: f1(t), s.u: fu(t)}
_D = MISFIT.subs(_at_t)
_w1_step = s.w1 - s.eta * MISFIT * s.w0 * s.sigma_x**2
_w0_step = s.w0 - s.eta * MISFIT * s.w1 * s.sigma_x**2
_trace = s.sigma_x**2 * (f0(t) ** 2 + f1(t) ** 2)
_rate = (f0(t_) ** 2 + f1(t_) ** 2, f1(t_) ** 2)
_loss_factor = sympy.exp(-2 * s.sigma_x**2 * Integral(_rate[0], (t_, 0, t)))
_noise_factor = sympy.exp(-(s.sigma_eps**2) * Integral(_rate[1], (t_, 0, t)))
_products = Derivative(f1(t), t) * f0(t) + Derivative(f0(t), t) * f1(t)
_root = sqrt(2 * f_loss(t))
_prefactors = "The value at t = 0 stands in front of the exponential; the paper's tilde hides it."


def _flow(number: str, says: str, printed: Chain, *rest: Any, **more: Any) -> Entry[Chain]:
    return equation(number, "App. D", says, printed, *rest, page=f"timescales#eq-{number}", **more)


EQ17 = _flow(
    "17",
    "The data weights in the decay phase.",
    chain(w1_next, _w1_step),
    chain(
        Matrix([w1_next, w0_next]), Matrix([_w1_step, s.w0 - s.eta * MISFIT * s.w1 * s.sigma_x**2])
    ),
    Slip.INCOMPLETE,
    why="The step of the first layer is missing; Eq. (23) uses it.",
    test=_TEST + "test_app_d_steps_are_the_mean_step_of_sgd",
)
EQ18 = _flow(
    "18",
    "The noise weight in the decay phase.",
    chain(u_next, s.u * (1 - s.eta * s.w1**2 * s.sigma_eps**2)),
    test=_TEST + "test_app_d_steps_are_the_mean_step_of_sgd",
)
EQ19 = _flow(
    "19",
    "The data weight in continuous time.",
    chain(Derivative(f1(t), t), -_D * f0(t) * s.sigma_x**2),
    test=_TEST + "test_flow_is_the_limit_of_the_step",
)
EQ20 = _flow(
    "20",
    "The noise weight in continuous time.",
    chain(Derivative(fu(t), t), -(f1(t) ** 2) * s.sigma_eps**2 * fu(t)),
    test=_TEST + "test_flow_is_the_limit_of_the_step",
)
EQ21 = _flow(
    "21",
    "The loss without noise.",
    chain(f_loss(t), Rational(1, 2) * (_D * s.sigma_x) ** 2),
    test=_TEST + "test_eq_21_is_the_mean_loss_without_noise",
)
EQ22 = _flow(
    "22",
    "How the loss falls.",
    chain(Derivative(f_loss(t), t), s.sigma_x**2 * _D * _products, s.sigma_x * _root * _products),
    chain(
        Derivative(f_loss(t), t),
        s.sigma_x**2 * _D * _products,
        s.sigma_x * sympy.sign(_D) * _root * _products,
    ),
    Slip.SIGN,
    why="A root forgets the sign of w1 w0 - M; Eq. (23) has it, so Eq. (24) is right.",
    test=_TEST + "test_eq_22_needs_the_sign",
)
EQ23 = _flow(
    "23",
    "The data weights in terms of the loss.",
    chain(
        Matrix([Derivative(f1(t), t), Derivative(f0(t), t)]),
        Matrix([-sympy.sign(_D) * _root * s.sigma_x * f for f in (f0(t), f1(t))]),
    ),
    test=_TEST + "test_eqs_23_to_25_follow",
)
EQ24 = _flow(
    "24",
    "The loss falls at twice the trace of the full Hessian.",
    chain(Derivative(f_loss(t), t), -2 * _trace * f_loss(t)),
    test=_TEST + "test_eqs_23_to_25_follow",
)
EQ25 = _flow(
    "25",
    "The noise weight falls at the trace of the local Hessian.",
    chain(Derivative(fu(t), t), -(s.sigma_eps**2) * f1(t) ** 2 * fu(t)),
    test=_TEST + "test_eqs_23_to_25_follow",
)
EQ26, EQ27 = (
    _flow(
        number,
        f"The {name} in closed form.",
        chain(f(t), factor),
        chain(f(t), f(0) * factor),
        Slip.INCOMPLETE,
        why=_prefactors,
        test=_TEST + "test_closed_forms_solve_the_flow",
    )
    for number, name, f, factor in (
        ("26", "loss", f_loss, _loss_factor), ("27", "noise weight", fu, _noise_factor)
    )
)  # fmt: skip
EQ4 = equation(
    "4",
    "Sec. 4",
    "Both closed forms, side by side.",
    chain(Matrix([f_loss(t), fu(t)]), Matrix([f_loss(0) * _loss_factor, _noise_factor])),
    chain(Matrix([f_loss(t), fu(t)]), Matrix([f_loss(0) * _loss_factor, fu(0) * _noise_factor])),
    Slip.INCOMPLETE,
    why=_prefactors,
    page="timescales#eq-4",
    test=_TEST + "test_closed_forms_solve_the_flow",
)

EQUATIONS = (EQ4, EQ17, EQ18, EQ19, EQ20, EQ21, EQ22, EQ23, EQ24, EQ25, EQ26, EQ27)
