"""The floor of |w_ni|: where the walk of the kicks balances the pull of Eq. (2).

A batch moves w_ni along its local gradients g_i by ``-eta/|B| sum eps_i g_i``, a kick whose mean is
0 since labels know nothing of eps, and pulls it back by the curvature h along w_ni. The kick grows
with the noise, the pull with its square, and so does the square of the kick: the noise cancels.
"""

from __future__ import annotations

import sympy
from sympy import Expr, Symbol

from nin.theory import symbols as s

curvature = Symbol("h_NI", positive=True)
"""Of the local loss along w_ni, mean over samples."""
gradient_sq = Symbol("G", positive=True)
"""<|g|^2> of the local gradients, mean over samples."""
size_sq = Symbol("q", positive=True)
"""Mean of |w_ni|^2."""


def mean_square_step() -> Expr:
    """Return the mean of |w_ni|^2 after a step: what the pull leaves, and the square of the kick.

    >>> mean_square_step().coeff(gradient_sq)
    eta**2*sigma_eps**2/batch_size
    """
    pull = s.eta * s.sigma_eps**2 * curvature
    kick_sq = s.eta**2 * s.sigma_eps**2 * gradient_sq / s.batch_size
    return size_sq * (1 - pull) ** 2 + kick_sq


def floor_sq(exact: bool = False) -> Expr:
    """Return the mean of |w_ni|^2 that a step leaves as it is.

    Args:
        exact: Whether to keep the square of the pull of one step, through which strong noise
            counts; else that of small steps.

    >>> floor_sq()
    G*eta/(2*batch_size*h_NI)
    """
    (found,) = sympy.solve(sympy.expand(mean_square_step() - size_sq), size_sq)
    return sympy.simplify(found) if exact else sympy.simplify(sympy.limit(found, s.sigma_eps, 0))
