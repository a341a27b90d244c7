"""The linear model of Sec. 3: its loss, Eq. (3), its borders, and footnotes 2 and 4.

One sample is fitted by ``w1 (w0 x + u eps)`` where ``M x`` is wanted; u is the one noise weight.
Everything here is derived from `LOSS` by SymPy.
"""

from __future__ import annotations

import sympy
from sympy import Abs, Expr, Matrix, Min, Symbol, sqrt

from nin.theory import symbols as s
from nin.theory.statement import Entry, Slip, chain, equation
from nin.theory.theorem import fluctuation_ratio

x = Symbol("x", real=True)
z = Symbol("z", real=True)
w1_next, u_next, w0_next = (Symbol(f"{name}_next", real=True) for name in ("w1", "u", "w0"))
WEIGHTS = (s.w1, s.u, s.w0)
NEXT_WEIGHTS = (w1_next, u_next, w0_next)

LOSS = (s.w1 * (s.w0 * x + s.u * s.eps) - s.M * x) ** 2 / 2
"""Loss of one sample, with the factor 1/2 of the paper's L_MSE."""
MISFIT = s.w1 * s.w0 - s.M
"""w1 w0 - M: 0 where the model has learnt."""

_LOCAL = (s.w1 * z - s.M * x) ** 2 / 2
GRADIENT = sympy.diff(_LOCAL, z).subs(z, s.w0 * x)
"""Local gradient of one sample, without noise."""
HESSIAN = sympy.diff(_LOCAL, z, 2)
"""Local Hessian of one sample."""

mean_xx, mean_xe, mean_ee = sympy.symbols("mean_xx mean_xe mean_ee", real=True)


def batch_step() -> Matrix:
    """Return the exact SGD step of ``(w1, u, w0)`` for the batch means of x^2, x eps and eps^2."""
    means = {x**2: mean_xx, x * s.eps: mean_xe, s.eps**2: mean_ee}
    gradient = [sympy.expand(sympy.diff(LOSS, w)) for w in WEIGHTS]
    averaged = [
        sum(c * means[x**a * s.eps**b] for (a, b), c in sympy.Poly(g, x, s.eps).terms())
        for g in gradient
    ]
    return Matrix([w - s.eta * g for w, g in zip(WEIGHTS, averaged, strict=True)])


_size = s.eta * s.phi * s.sigma_x / sqrt(s.batch_size)
A = _size * s.u * (2 * s.w1 * s.w0 - s.M)
A_NI = _size * s.w1 * MISFIT
B = s.eta * s.u**2
B_NI = s.eta * s.w1**2
C = s.eta * MISFIT * s.w0 * s.sigma_x**2


def _eq_3(sign: int) -> list[Expr]:
    return [
        sign * A * s.sigma_eps + s.w1 * (1 - B * s.sigma_eps**2) - C,
        sign * A_NI * s.sigma_eps + s.u * (1 - B_NI * s.sigma_eps**2),
    ]


_TEST = "test_theory_linear.py::"
_w0_step = s.w0 - s.eta * MISFIT * s.w1 * s.sigma_x**2 - _size * s.u * s.w1**2 * s.sigma_eps
EQ3 = equation(
    "3",
    "Sec. 3",
    "The step of the linear model's weights.",
    chain(Matrix([w1_next, u_next]), Matrix(_eq_3(1))),
    chain(Matrix([w1_next, u_next, w0_next]), Matrix([*_eq_3(-1), _w0_step])),
    Slip.INCOMPLETE,
    why="The first layer learns too, as Fig. 2 shows, and all three rows share one random number, "
    "with one sign.",
    test=_TEST + "test_eq_3_is_the_step_of_sgd_with_mean_second_moments",
)

FN4_HESSIAN = Entry(
    "fn-4-hessian",
    "footnote 4",
    "The local Hessian of the linear model.",
    chain(Symbol("mean_H0"), 2 * s.w1**2),
    chain(Symbol("mean_H0"), HESSIAN),
    Slip.WRONG,
    why="The loss has the factor 1/2. Twice too large here and twice too small in Eq. (2) cancel: "
    "the damping in Eq. (3) is right.",
    page="derivation#eq-2",
    test=_TEST + "test_two_factors_of_two_cancel_in_eq_3",
)
FN4_GRADIENT = Entry(
    "fn-4-gradient",
    "footnote 4",
    "The root mean square of the local gradient.",
    chain(Symbol("rms_g0"), s.sigma_x * s.w1 * MISFIT),
    chain(Symbol("rms_g0"), s.sigma_x * Abs(s.w1 * MISFIT)),
    Slip.SIGN,
    why="A root is not negative; the random number in front has no preferred sign, so nothing "
    "follows from it.",
    test=_TEST + "test_rms_gradient_is_a_modulus",
)


def neglected_ratio() -> Expr:
    """Return footnote 2's neglected term over the kept one, for w_NI in the linear model.

    The standard deviation of the eps^2 term in one step of u over that of the eps term, for
    Gaussian noise.
    """
    drift = HESSIAN * s.u  # the same for all samples, so its mean is its root mean square
    rms = sqrt(sympy.expand(GRADIENT**2).subs(x**2, s.sigma_x**2))
    ratio = fluctuation_ratio(drift, Abs(drift), rms, sympy.Integer(3))
    return sympy.simplify(ratio)


FN2 = Entry(
    "fn-2",
    "footnote 2",
    "Fluctuations of the second-order term are negligible.",
    chain(Symbol("neglected_over_kept"), 0),
    chain(Symbol("neglected_over_kept"), neglected_ratio()),
    Slip.WRONG,
    why="Both terms fall with the same power of the batch size, so a larger batch does not help. "
    "The ratio passes 1 where the noise dominates.",
    matters=True,
    page="neglected#footnote-2",
    test=_TEST + "test_neglected_fluctuations_have_the_stated_ratio",
)


# The borders of Sec. 3, at the weights of t = 0.
_dec, _cat, _div = (Symbol(f"sigma_{name}", positive=True) for name in ("dec", "cat", "div"))
SIGMA_DEC = Entry(
    "sigma-dec",
    "Sec. 3",
    "Below this noise the first steps are a random walk.",
    chain(_dec, 2 * A_NI / B_NI),
    chain(_dec, s.sigma_x * Abs(MISFIT) / (sqrt(s.batch_size) * Abs(s.w1 * s.u))),
    Slip.WRONG,
    why="As printed it holds the random number itself, and it does not scale as a noise strength. "
    "Equating the size of the kick with the drift in one step gives the second form.",
    matters=True,
    test=_TEST + "test_sigma_dec_equates_kick_and_drift",
)
SIGMA_CAT = Entry(
    "sigma-cat",
    "Sec. 3",
    "Above this noise some weight grows at first.",
    chain(_cat, Min(2 / B, 2 / B_NI)),
    chain(_cat**2, Min(2 / B, 2 / B_NI)),
    Slip.TYPO,
    why="The right-hand side is a variance, as the paper's own divergent phase has it.",
    test=_TEST + "test_sigma_cat_is_where_a_weight_first_grows",
)
SIGMA_DIV = Entry(
    "sigma-div",
    "Sec. 3",
    "Above this noise all weights diverge.",
    chain(_div, sympy.Max(2 / B, 2 / B_NI)),
    chain(_div**2, 4 / (B + B_NI)),
    Slip.WRONG,
    why="A variance again; and the noise-only dynamics diverges when the sum of the two, not the "
    "smaller, reaches its limit. The catapult window is never wider than a factor 2.",
    matters=True,
    test=_TEST + "test_sigma_div_is_where_the_noise_only_map_diverges",
)

NOISE_DOMINANCE = Entry(
    "noise-dominated",
    "Sec. 3, below the decay phase",
    "When noise rules the first steps.",
    "Above $\\sigma_{\\epsilon,\\mathrm{cat}}$ the equations are noise-dominated.",
    "Two conditions: a weight grows above $\\sigma_{\\epsilon,\\mathrm{cat}}$, which depends on "
    "$\\eta$; noise dominates the step of $w^{(1)}$ where "
    "$\\sigma_\\epsilon^2 w_\\mathrm{NI}^2 |w^{(1)}| > \\sigma_x^2 |w^{(0)} "
    "(w^{(1)} w^{(0)} - M)|$, which does not.",
    Slip.INCOMPLETE,
    why="The two often hold together, but neither implies the other.",
    test=_TEST + "test_noise_dominance_does_not_depend_on_the_learning_rate",
)
SCALING = Entry(
    "scaling",
    "Fig. 2, App. B",
    "What the linear model's result depends on.",
    "The equations do not change with $M$; only ratios of weights and $\\eta$ matter.",
    "$M \\to \\lambda M$ with all weights times $\\sqrt{\\lambda}$ is the same dynamics only if "
    "also $\\eta \\to \\eta/\\lambda$.",
    Slip.INCOMPLETE,
    why="The learning rate has a scale. With the paper's M = 1 nothing changes.",
    test=_TEST + "test_rescaling_m_needs_another_learning_rate",
)
GRADIENT_FLOW = Entry(
    "sec4-trace",
    "Sec. 4",
    "Without noise, how the loss falls in one step.",
    "The squared gradient is the trace of the global Hessian times the loss.",
    "The squared gradient is *twice* the trace times the loss; Eq. (24) has the two.",
    Slip.INCOMPLETE,
    why="Special to the linear model, where the identity is exact.",
    page="timescales#eq-24",
    test=_TEST + "test_squared_gradient_is_twice_trace_times_loss",
)

EQUATIONS = (EQ3,)
OTHERS = (
    FN2,
    FN4_GRADIENT,
    FN4_HESSIAN,
    SIGMA_DEC,
    SIGMA_CAT,
    SIGMA_DIV,
    NOISE_DOMINANCE,
    SCALING,
    GRADIENT_FLOW,
)
