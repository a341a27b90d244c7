"""The closed forms of `nin.theory.closed_borders` in numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from nin.runs.phases import MARGIN


@dataclass(frozen=True)
class LayerBorders:
    """The values of sigma_eps at which phases of one hidden ReLU layer end.

    Attributes:
        surge: Squared error: above it the noisy loss rises.
        catapult: Squared error: above it w_ni rises too.
        divergent: Squared error: above it the rise does not end.
        divergent_finite: The same for finite numbers of neurons and outputs, on average.
        counted_catapult: Squared error, finite: above it |w_ni| rises by `nin.runs.phases.MARGIN`,
            or the run diverges before it does.
        two_classes: Cross-entropy: rho = sqrt(2), where two classes diverge.
        many_classes: Cross-entropy: rho = 1, where many classes do.
        small_outputs: Cross-entropy: above it the noisy loss would rise, if outputs stayed small.
        first_rise: Cross-entropy: above it the first step raises |w_ni| by that margin, if the
            outputs are saturated, that is for small eta.
    """

    surge: float
    catapult: float
    divergent: float
    divergent_finite: float
    counted_catapult: float
    two_classes: float
    many_classes: float
    small_outputs: float
    first_rise: float


@lru_cache
def _functions() -> list[Callable[..., float]]:
    """Return the borders as functions of numbers; SymPy and the theory take a second to import."""
    import sympy  # noqa: PLC0415

    from nin.theory import closed_borders as theory  # noqa: PLC0415
    from nin.theory import symbols as s  # noqa: PLC0415

    squares = (
        theory.SURGE_SQ,
        theory.CATAPULT_SQ,
        theory.DIVERGENT_SQ,
        theory.DIVERGENT_FINITE_SQ,
        theory.counted_catapult(MARGIN**2),
        theory.DIVERGENT_CE**2,
        theory.TURN_CE**2,
        theory.SURGE_SQ.subs(theory.SMALL_OUTPUTS),
        theory.first_rise(MARGIN**2),
    )
    arguments = (s.width, s.d_in, s.d_out, s.eta, theory.niw_variance, theory.factor)
    return [sympy.lambdify(arguments, sympy.sqrt(square), "math") for square in squares]


def layer_borders(
    width: int,
    d_in: int,
    d_out: int,
    eta: float,
    niw_variance: float | None = None,
    factor: float | None = None,
) -> LayerBorders:
    """Return the borders of a layer with Gaussian noise; no weight is drawn and nothing fitted.

    Args:
        width: N_w.
        d_in: Pixels of an image.
        d_out: Outputs, one for each class.
        eta: Learning rate.
        niw_variance: Initial variance of w_ni; default 1/d_in.
        factor: Of the sum of squares in the squared error; default 1/d_out, the mean.

    Raises:
        ValueError: If a size is not positive, or there is one output only.

    >>> b = layer_borders(width=1024, d_in=784, d_out=10, eta=0.01)
    >>> [round(v, 1) for v in (b.catapult, b.divergent, b.two_classes, b.many_classes)]
    [55.5, 55.4, 373.7, 264.2]
    """
    if min(width, d_in, d_out - 1, eta) <= 0:
        raise ValueError(
            "expected width, d_in and eta > 0 and d_out >= 2, "
            f"not {width}, {d_in}, {eta} and {d_out}"
        )
    variance = 1 / d_in if niw_variance is None else niw_variance
    values = width, d_in, d_out, eta, variance, 1 / d_out if factor is None else factor
    return LayerBorders(*(f(*values) for f in _functions()))
