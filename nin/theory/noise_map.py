"""The linear model where noise dominates: the map of Sec. 3 that decides between the phases.

Without data the mean step of SGD moves two numbers, ``a`` and ``b``: w_NI and w1 in the unit in
which the step has no parameter. All of it follows from `nin.theory.two_layer.batch_step`.
"""

from __future__ import annotations

import sympy
from sympy import Expr, Matrix, Symbol, sqrt

from nin.theory import levels
from nin.theory import symbols as s
from nin.theory.two_layer import LOSS, MISFIT, WEIGHTS, batch_step, mean_ee, mean_xe, mean_xx, x

a, b, g, lam = sympy.symbols("a b g lambda", real=True)
kurtosis = Symbol("kappa", positive=True)

MEANS = {mean_xx: s.sigma_x**2, mean_xe: 0, mean_ee: s.sigma_eps**2}
"""The batch means of x^2, x eps and eps^2, averaged over all batches."""


def mean_loss() -> Expr:
    """Return the loss with noise, averaged over all batches."""
    moments = {(2, 0): s.sigma_x**2, (1, 1): 0, (0, 2): s.sigma_eps**2}
    terms = sympy.Poly(sympy.expand(LOSS), x, s.eps).terms()
    return sympy.Add(*(sympy.factor(c) * moments[powers] for powers, c in terms))


CLEAN_LOSS = (s.sigma_x * MISFIT) ** 2 / 2
"""The loss without noise, averaged over all batches: Eq. (21)."""
_SCALE = sqrt(s.eta) * s.sigma_eps
SCALED = {a: _SCALE * s.u, b: _SCALE * s.w1}
"""``a`` and ``b`` in terms of the weights."""
LAMBDA = _SCALE**2 * (s.u**2 + s.w1**2)
"""Sum of a^2 and b^2: the largest curvature of the noisy loss times eta, without data."""


def noise_only_map() -> Matrix:
    """Return the next ``(a, b)``: the mean step of SGD without data, in scaled weights."""
    step = batch_step().subs({mean_xx: 0, mean_xe: 0, mean_ee: s.sigma_eps**2})
    back = {s.u: a / _SCALE, s.w1: b / _SCALE}
    scaled = {w: sympy.expand(_SCALE * f.subs(back)) for w, f in zip(WEIGHTS, step, strict=True)}
    return Matrix([sympy.factor(scaled[s.u]), sympy.factor(scaled[s.w1])])


def product_map() -> Matrix:
    """Return the next ``g = a b`` and ``lambda = a^2 + b^2`` in terms of themselves.

    Both are symmetric in a^2 and b^2, so their sum and their product suffice.
    """
    squares = sympy.symbols("a_squared b_squared", positive=True)
    next_a, next_b = noise_only_map().subs({a: sqrt(squares[0]), b: sqrt(squares[1])})
    factor = sympy.expand(next_a * next_b / sqrt(squares[0] * squares[1]))
    next_g, next_lam = (
        sympy.symmetrize(f, squares, formal=True)
        for f in (factor, sympy.expand(next_a**2 + next_b**2))
    )
    sum_and_product = [symbol for symbol, _ in next_g[2]]
    by_name = dict(zip(sum_and_product, (lam, g**2), strict=True))
    return Matrix([g * next_g[0].subs(by_name), sympy.expand(next_lam[0].subs(by_name))])


CATAPULT_MAP = Matrix([g * (1 - lam + g**2), lam + g**2 * (lam - 4)])
"""Lewkowycz et al. (2020), a two-layer linear network and one sample: output and curvature."""
LAMBDA_DIV = sympy.Integer(levels.LAMBDA_DIV)
GROWTH = sympy.Integer(levels.GROWTH)

MEAN_SQUARE = 2 / (1 + (kurtosis - 1) / s.batch_size)
"""Largest b^2 at which the variance of w_NI falls, at fixed w1; 2 for an infinite batch."""


def mean_square_factor() -> Expr:
    """Return <(1 - b^2 m)^2> for m, the batch mean of eps^2 in units of its mean."""
    m_variance = (kurtosis - 1) / s.batch_size
    return sympy.expand((1 - b**2) ** 2 + b**4 * m_variance)


def drift_and_walk() -> tuple[Expr, Expr]:
    """Return how far w_NI drifts in the first step, and the root mean square of its kick."""
    step = batch_step()[1] - s.u
    drift = sympy.factor(step.subs(MEANS))
    xe_rms = s.sigma_x * s.sigma_eps / sqrt(s.batch_size)
    kick = sympy.factor(sympy.diff(step, mean_xe)) * xe_rms
    return drift, kick


def diffusion() -> Expr:
    """Return the variance that one step adds to w_NI in the decoupled phase."""
    return sympy.factor(drift_and_walk()[1] ** 2)


delta, h, h_learnt = sympy.symbols("delta h h_M", real=True)
TRACES = {
    delta: s.w0**2 - s.w1**2,
    h: s.w0**2 + s.w1**2,
    h_learnt: sqrt((s.w0**2 - s.w1**2) ** 2 + 4 * s.M**2),
}
"""What small steps on weak noise conserve, and the trace of the data's Hessian, now and learnt."""
_LEARNING = sympy.log((h + 2 * s.w1 * s.w0) / (h_learnt + 2 * s.M))
WALK_TO_COME = (
    s.eta
    * s.sigma_eps**2
    / (2 * s.batch_size)
    * (MISFIT**2 / 2 - delta * ((h - h_learnt) / 4 - s.M / 2 * _LEARNING))
)
"""The variance that w_NI will gain until the model has learnt, in the decoupled phase: the sum of
`diffusion` over all steps, for small eta, in terms of `TRACES`."""
