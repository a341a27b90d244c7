"""Numbers from Eq. (2): rates, drifts and the orders that it leaves out, as functions.

Each is made from the SymPy objects of `nin.theory.expansion` or derived here by SymPy.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import sympy
from sympy import Expr, Symbol, exp, factorial, oo, pi, sqrt

from nin.theory import symbols as s
from nin.theory.statement import Chain


def step_component(form: Chain) -> Expr:
    """Return one component of Eq. (2) or (8), in scalars.

    Every component of the vector equation reads the same: the products of vectors and matrices
    become the symbols ``w``, ``kick`` and ``hessian_w``, the component of <H> w_ni.

    Args:
        form: `EQ2.as_printed` or `EQ2.corrected`.

    Returns:
        The next value of the component.
    """
    scalar = form.rhs.subs(s.d, 1).as_explicit()[0, 0]
    w, h = s.w_ni.subs(s.d, 1)[0, 0], s.mean_hessian.subs(s.d, 1)[0, 0]
    scalar = scalar.subs(h, Symbol("hessian_w") / w)
    names = {w: "w", s.kick.subs(s.d, 1)[0, 0]: "kick", s.rms_gradient.subs(s.d, 1)[0, 0]: "rms"}
    return scalar.subs({old: Symbol(new) for old, new in names.items()})


def hessian_rate(form: Chain) -> Expr:
    """Return the factor of ``-<H> w_ni`` in Eq. (2): what a step takes off per unit of curvature.

    Example:
        >>> from nin.theory.expansion import EQ2
        >>> hessian_rate(EQ2.as_printed) / hessian_rate(EQ2.corrected)
        1/2
    """
    return -sympy.diff(step_component(form), Symbol("hessian_w"))


@cache
def _drift_function(form: Chain) -> Any:
    return sympy.lambdify(
        (s.eta, s.sigma_eps, Symbol("hessian_w")), -hessian_rate(form) * Symbol("hessian_w"), "math"
    )


def drift(form: Chain, eta: float, sigma_eps: float, hessian_w: Any) -> Any:
    """Return the mean change of w_ni in one step, to second order in the noise.

    Args:
        form: `EQ2.corrected`, or `EQ2.as_printed` to see the printed factor.
        eta: Learning rate, > 0.
        sigma_eps: Standard deviation of the noise, >= 0.
        hessian_w: <H> w_ni: a number, an array or a tensor of shape (features,).

    Returns:
        The change, with the shape of `hessian_w`.

    Example:
        >>> from nin.theory.expansion import EQ2
        >>> drift(EQ2.corrected, 0.1, 2.0, 1.0)
        -0.4
    """
    return _drift_function(form)(eta, sigma_eps, hessian_w)


def gaussian_density() -> Expr:
    """Return the density of Gaussian noise of standard deviation sigma_eps, in `eps`."""
    return exp(-(s.eps**2) / (2 * s.sigma_eps**2)) / (sqrt(2 * pi) * s.sigma_eps)


@cache
def mean_order(m: int) -> Expr:
    """Return the factor of order m in the mean gradient of the loss by w_ni.

    It multiplies ``(w_ni . grad)^(m - 1) grad L``: the derivative by w_ni of the term of order m
    of Eq. (1), averaged over Gaussian noise. Order 2 is the curvature term of Eq. (2); odd orders
    vanish.

    Args:
        m: Order in the noise, >= 1.

    Example:
        >>> mean_order(2), mean_order(3), mean_order(4)
        (sigma_eps**2, 0, sigma_eps**4/2)
    """
    scale = Symbol("scale", positive=True)  # of w_ni: the term of order m is homogeneous in it
    term = (s.eps * scale) ** m / factorial(m)
    by_w = sympy.diff(term, scale).subs(scale, 1)
    return sympy.simplify(sympy.integrate(by_w * gaussian_density(), (s.eps, -oo, oo)))


@cache
def kink_mean() -> Expr:
    """Return <eps step(z + eps w)> over Gaussian noise, for one unit with a kink at z = 0.

    What the Hessian of a ReLU network cannot see: units whose pre-activation z changes sign under
    the noise. The result is even in z and odd in w.

    Example:
        >>> kink_mean().subs({Symbol("z", real=True): 0, Symbol("w", real=True): 1})
        sqrt(2)*sigma_eps/(2*sqrt(pi))
    """
    z, size = Symbol("z", real=True), Symbol("size", positive=True)
    above = sympy.integrate(s.eps * gaussian_density(), (s.eps, -z / size, oo))
    w = Symbol("w", real=True)
    return sympy.simplify(above).subs(size, sympy.Abs(w)) * w / sympy.Abs(w)
