"""Eqs. (1), (2), (5)-(8): the loss expanded in the noise, and the step of the NIW.

The chapter `derivation` derives each object of this file; the tests compare it with autodiff.
"""

from __future__ import annotations

from typing import Any

import sympy
from sympy import Expr, Rational, Sum, Symbol, exp, factorial, oo, sqrt

from nin.theory import symbols as s
from nin.theory.statement import Chain, Slip, chain, equation

_noisy_sample = s.sample_loss(s.theta_rest, s.z_i[s.i] + s.w_vector * s.eps_i[s.i], s.y_i[s.i])
_clean_sample = s.sample_loss(s.theta, s.x_i[s.i], s.y_i[s.i])
_sample_given_eps = s.sample_loss(s.theta, s.x_i[s.i], s.eps_i[s.i], s.y_i[s.i])
_batch = (s.i, 1, s.batch_size)


def _series(summand: Expr) -> Expr:
    """Return L(theta) plus the batch mean of the shift operator's series acting on `summand`."""
    term = (s.eps_i[s.i] * s.shift_operator) ** s.k / factorial(s.k) * summand
    return s.batch_loss(s.theta) + Sum(Sum(term, (s.k, 1, oo)), _batch) / s.batch_size


_lhs = s.batch_loss(s.theta, s.w_vector)
_shifted = Sum(_noisy_sample, _batch) / s.batch_size
_exponential = Sum(exp(s.eps_i[s.i] * s.shift_operator) * _clean_sample, _batch) / s.batch_size

EQ1, EQ5 = (
    equation(
        number,
        place,
        says,
        chain(_lhs, middle, _series(_sample_given_eps)),
        chain(_lhs, middle, _series(_clean_sample)),
        Slip.TYPO,
        why="The derivatives act on the loss without noise, so it must not depend on the noise "
        "value; the second line of App. C has it right.",
        page=f"derivation#eq-{number}",
        test="test_theory_expansion.py::test_series_of_the_shift_is_the_taylor_series",
    )
    for number, place, says, middle in (
        ("1", "Sec. 2", "The batch loss with noise is a series in the shift of the pre-activation.",
         _shifted),
        ("5", "App. C", "The same series, from the exponential of the shift operator.",
         _exponential),
    )
)  # fmt: skip

EQ6 = equation(
    "6",
    "App. C",
    "The batch-averaged loss to second order in the noise.",
    Chain(
        (
            s.loss_noisy,
            s.loss_clean
            + s.w_ni.T * s.mean_eps_gradient
            + Rational(1, 2) * s.w_ni.T * s.mean_eps2_hessian * s.w_ni,
        ),
        tail=True,
    ),
    page="derivation#eq-6",
    test="test_theory_expansion.py::test_eq_6_is_the_second_order_of_the_series",
)

EQ7 = equation(
    "7",
    "App. C",
    "One step of SGD on the noise injection weights.",
    chain(s.w_ni_next, s.w_ni - s.eta * s.loss_gradient),
    page="derivation#eq-7",
    test="test_theory_expansion.py::test_corrected_eq_2_is_eq_7_applied_to_eq_6",
)

_kick_size = s.eta * s.sigma_eps / sqrt(s.batch_size)
_printed_step = Chain(
    (
        s.w_ni_next,
        s.w_ni
        - _kick_size * s.phi * s.rms_gradient
        - s.eta * s.sigma_eps**2 / 2 * s.mean_hessian * s.w_ni,
    ),
    tail=True,
)
_corrected_step = Chain(
    (s.w_ni_next, s.w_ni - _kick_size * s.kick - s.eta * s.sigma_eps**2 * s.mean_hessian * s.w_ni),
    tail=True,
)
_why_step = (
    "The gradient of a quadratic form carries no 1/2, so the curvature term is twice the printed "
    "one. And the noise term is a vector: its covariance is the second moment of the gradient, "
    "which one scalar draw times a component-wise root cannot have."
)

EQ2, EQ8 = (
    equation(
        number,
        place,
        "The step of the noise injection weights: a random kick and a curvature term.",
        _printed_step,
        _corrected_step,
        Slip.WRONG,
        why=_why_step,
        matters=True,
        page=f"derivation#eq-{number}",
        test="test_theory_expansion.py::test_corrected_eq_2_is_eq_7_applied_to_eq_6",
    )
    for number, place in (("2", "Sec. 2"), ("8", "App. C"))
)

PRINTED_KICK_COVARIANCE = chain(s.kick_covariance, s.rms_gradient * s.rms_gradient.T)
"""Covariance of the noise term of Eq. (2) as printed, in units of its size."""

CORRECTED_KICK_COVARIANCE = chain(s.kick_covariance, s.mean_gradient_outer)
"""Covariance of the noise term as it is, in units of its size."""


def directional_derivative(loss: Expr, z: list[Symbol], w: list[Any], order: int) -> Expr:
    """Return ``(w . grad_z)^order`` applied to `loss`: the shift operator at work.

    Args:
        loss: A SymPy expression in the symbols `z`.
        z: The pre-activations of the injected layer.
        w: The noise injection weights, one for each of `z`.
        order: How many times the operator acts, >= 0.

    Returns:
        The derivative, unsimplified.

    Raises:
        ValueError: If `z` and `w` differ in length or `order` is negative.

    Example:
        >>> z, w = sympy.symbols("z w")
        >>> directional_derivative(z**3, [z], [w], 2)
        6*w**2*z
    """
    if len(z) != len(w) or order < 0:
        raise ValueError(
            f"expected one weight for each pre-activation and order >= 0, "
            f"not {len(z)}, {len(w)} and order={order}"
        )
    for _ in range(order):
        loss = sum((w_a * sympy.diff(loss, z_a) for w_a, z_a in zip(w, z, strict=True)), sympy.S(0))
    return sympy.expand(loss) if loss.is_polynomial(*z) else loss


def series_term(loss: Expr, z: list[Symbol], w: list[Any], order: int) -> Expr:
    """Return the term of order `order` of Eq. (1), for one sample.

    Implements the summand of Eq. (1) of Levi et al. (2022): its coefficient is read from that
    object, and the operator acts on `loss`.

    Args:
        loss: A SymPy expression in the symbols `z`.
        z: The pre-activations of the injected layer.
        w: The noise injection weights.
        order: The power of `eps`, >= 1.

    Returns:
        The term, a multiple of ``eps**order``.

    Example:
        >>> z, w = sympy.symbols("z w")
        >>> series_term(z**2 / 2, [z], [w], 2)
        eps**2*w**2/2
    """
    inner = EQ1.corrected.rhs.atoms(Sum)
    summand = next(a.function for a in inner if not a.function.has(Sum)).subs(s.k, order)
    commuting, _ = summand.args_cnc()
    coefficient = sympy.Mul(*commuting).subs(s.eps_i[s.i], s.eps)
    return coefficient * directional_derivative(loss, z, w, order)
