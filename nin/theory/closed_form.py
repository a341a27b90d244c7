"""The flow of App. D solved: weights, loss and noise weight at any time, and what ties them.

Times are flow times, learning rate times steps. The symbols `w0`, `w1` and `u` stand for the
weights at the time in question in a rate, and for those at t = 0 in a solution. Everything follows
from `nin.theory.two_layer.batch_step`.
"""

from __future__ import annotations

import sympy
from sympy import Expr, Function, Integral, Matrix, Symbol, exp, sqrt

from nin.theory import symbols as s
from nin.theory.gradient_flow import f0, f1, f_loss, fu, t, t_
from nin.theory.noise_map import CLEAN_LOSS, MEANS
from nin.theory.statement import Chain, chain
from nin.theory.two_layer import MISFIT, WEIGHTS, batch_step, mean_ee, mean_xe, mean_xx

_MOMENTS = (mean_xx, mean_xe, mean_ee)
delta, E = Symbol("delta", real=True), Symbol("E", positive=True)
S_PLUS, S_MINUS = sympy.symbols("S_+ S_-", nonnegative=True)
"""sqrt(delta^2 + 4 M^2) + 2 M, and the same with - 2 M; their product is delta^2."""
IMBALANCE = s.w0**2 - s.w1**2
"""`delta`: what the data flow conserves."""
INVARIANT = s.w1**2 - s.w0**2 - s.u**2
"""What the flow with the noise weight conserves, and every minibatch up to eta^2."""
SQUARES = ((s.w0 + s.w1) ** 2, (s.w0 - s.w1) ** 2)
SPREAD = sqrt(IMBALANCE**2 + 4 * s.M**2)
"""Half of S+ plus S-: the trace of the final Hessian over sigma_x^2."""
DECAY = exp(-(s.sigma_x**2) * (S_PLUS + S_MINUS) / 2 * t)
"""`E`: falls from 1 to 0; the only place where the solution knows of time."""


def velocity(*, back_reaction: bool = True) -> Matrix:
    """Return d/dt of ``(w1, u, w0)``: the mean step of SGD over the learning rate.

    Args:
        back_reaction: Whether the noise weight acts on the data weights; App. D neglects it.
    """
    moved = batch_step().subs(MEANS)
    rates = [sympy.factor((f - w) / s.eta) for f, w in zip(moved, WEIGHTS, strict=True)]
    if not back_reaction:
        rates = [
            rate if w is s.u else rate.subs(s.u, 0) for rate, w in zip(rates, WEIGHTS, strict=True)
        ]
    return Matrix(rates)


def change(quantity: Expr, *, back_reaction: bool = True) -> Expr:
    """Return d/dt of a function of the weights along the flow.

    Example:
        >>> change(INVARIANT), change(IMBALANCE, back_reaction=False)
        (0, 0)
    """
    rates = velocity(back_reaction=back_reaction)
    return sympy.factor(
        sum(sympy.diff(quantity, w) * v for w, v in zip(WEIGHTS, rates, strict=True))
    )


def riccati(square: Expr, slope: Expr) -> Expr:
    """Return d/dt of (w0 + w1)^2, for slope M; of (w0 - w1)^2, for slope -M."""
    return -(s.sigma_x**2) / 2 * (square**2 - 4 * slope * square - delta**2)


def square_at(start: Expr, sign: int = 1) -> Expr:
    """Return the solution of `riccati` that begins at `start`, in terms of `E`.

    Args:
        start: (w0 + w1)^2 at t = 0; (w0 - w1)^2 if `sign` is -1.
        sign: That of M in `riccati`.
    """
    above, beneath = (S_PLUS, S_MINUS) if sign > 0 else (S_MINUS, S_PLUS)
    return (above * (start + beneath) - beneath * E * (above - start)) / below(start, sign)


def below(start: Expr, sign: int = 1) -> Expr:
    """Return the denominator of `square_at`."""
    above, beneath = (S_PLUS, S_MINUS) if sign > 0 else (S_MINUS, S_PLUS)
    return (start + beneath) + E * (above - start)


def misfit_at() -> Expr:
    """Return w1 w0 - M at time t, in terms of `E`: a product, so that no digits cancel."""
    plus, minus = SQUARES
    return MISFIT * (S_PLUS + S_MINUS) ** 2 * E / (below(plus) * below(minus, -1))


def solution() -> dict[str, Expr]:
    """Return ``w1``, ``w0``, ``loss`` and ``u`` at time t by the initial weights, in E and S+-.

    The data flow only, as App. D has it; the loss is the clean one, Eq. (21).
    """
    plus, minus = (
        sympy.sign(root) * sqrt(square_at(root**2, sign))
        for root, sign in ((s.w0 + s.w1, 1), (s.w0 - s.w1, -1))
    )
    fall = (misfit_at() / MISFIT) ** 2
    loss = CLEAN_LOSS.subs(MISFIT, misfit_at())
    found = {"w1": (plus - minus) / 2, "w0": (plus + minus) / 2, "loss": loss}
    found["u"] = (
        s.u
        * fall ** (s.sigma_eps**2 / (4 * s.sigma_x**2))
        * exp(s.sigma_eps**2 * IMBALANCE * t / 2)
    )
    return found


def identity() -> Chain:
    """Return what ties Eqs. (26) and (27): the noise weight as a power of the loss, and a drift."""
    power = s.sigma_eps**2 / (4 * s.sigma_x**2)
    at_start = IMBALANCE.subs({s.w0: f0(0), s.w1: f1(0)})
    drift = exp(s.sigma_eps**2 * at_start * t / 2)
    return chain(fu(t) / fu(0), (f_loss(t) / f_loss(0)) ** power * drift)


FED, LOST = Function("I_1")(t), Function("I_2")(t)
"""What the noise weight's action on the data weights adds to `reacting_identity`."""


def reacting_integrals() -> tuple[Chain, Chain]:
    """Return what `FED` and `LOST` stand for."""
    at = {s.w0: f0(t_), s.w1: f1(t_), s.u: fu(t_)}
    fed = (s.u**2 * s.w1 * s.w0 / MISFIT).subs(at)
    lost = (s.u**2).subs(at)
    return tuple(
        chain(name, Integral(what, (t_, 0, t))) for name, what in ((FED, fed), (LOST, lost))
    )  # type: ignore[return-value]


def reacting_identity() -> Chain:
    """Return the identity with the noise weight's action on the data weights, for logarithms."""
    power = s.sigma_eps**2 / (4 * s.sigma_x**2)
    start = -INVARIANT.subs({s.w0: f0(0), s.w1: f1(0), s.u: fu(0)})
    return chain(
        sympy.log(fu(t) / fu(0)),
        power * (sympy.log(f_loss(t) / f_loss(0)) + 2 * s.sigma_eps**2 * FED)
        + s.sigma_eps**2 / 2 * (start * t - LOST),
    )


TAU_NOISE = 1 / (s.sigma_eps**2 * s.w1**2)
"""-u / du/dt at t = 0, in flow time."""
TAU_LOSS = 1 / (2 * s.sigma_x**2 * (s.w0**2 + s.w1**2))
"""-L / dL/dt at t = 0, in flow time."""
TAU_RATIO = 2 * s.sigma_x**2 / s.sigma_eps**2 * (1 + s.w0**2 / s.w1**2)
"""TAU_NOISE / TAU_LOSS."""


def slaved_misfit() -> Expr:
    """Return the misfit that the noise weight keeps up when it decays slower than the data learn.

    The solution of dD/dt = -a D - f that falls as its source f does, like u^2.
    """
    learning = s.sigma_x**2 * (s.w0**2 + s.w1**2)
    source = s.sigma_eps**2 * s.u**2 * s.w0 * s.w1
    return -source / (learning - 2 * s.sigma_eps**2 * s.w1**2)


LATE_RATE = sympy.Min(4 / TAU_NOISE, 1 / TAU_LOSS)
"""Rate at which the loss falls in the end, by the final weights; the first where it is slaved."""
FINAL_WEIGHTS = sympy.Matrix([
    sqrt((sqrt(INVARIANT**2 + 4 * s.M**2) + INVARIANT) / 2),
    sqrt((sqrt(INVARIANT**2 + 4 * s.M**2) - INVARIANT) / 2),
])  # fmt: skip
"""|w1| and |w0| where the flow ends with w1 w0 = M and u = 0, by the initial weights."""


def kicks() -> Matrix:
    """Return how (w1, u, w0) move with the three batch means, over eta: (3, 3)."""
    return (batch_step().jacobian(_MOMENTS) / s.eta).applyfunc(sympy.factor)


MOMENT_ERRORS = Matrix([sqrt(2) * s.sigma_x**2, s.sigma_x * s.sigma_eps, sqrt(2) * s.sigma_eps**2])
"""Standard deviations of x^2, x eps and eps^2 for Gaussian x and eps; they are uncorrelated."""


def langevin_noise() -> Matrix:
    """Return what multiplies dW in the Langevin equation of (w1, u, w0), (3, 3).

    In flow time the kicks of one step, of size eta, come 1/eta times per unit: sqrt(eta) is left.
    """
    return sqrt(s.eta / s.batch_size) * kicks() * sympy.diag(*MOMENT_ERRORS)
