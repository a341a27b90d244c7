"""The borders of the linear model's phases that follow from its equations, in numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import sympy
from scipy import integrate, optimize

from nin.linear.model import check_arguments
from nin.theory import noise_map
from nin.theory import symbols as s
from nin.theory import two_layer as theory

Array = np.ndarray
_ENTRIES = {"dec": theory.SIGMA_DEC, "cat": theory.SIGMA_CAT, "div": theory.SIGMA_DIV}
_SYMBOLS = (s.w1, s.u, s.w0, s.eta, s.batch_size, s.M, s.sigma_x)


@dataclass(frozen=True)
class LinearBorders:
    """The values of sigma_eps at which phases end, for given initial weights.

    Attributes:
        dec: Below it the first steps are decoupled.
        cat: Above it a weight grows in the first step of the noise-only map.
        div: Above it the noise-only map diverges.
    """

    dec: Array
    cat: Array
    div: Array


@lru_cache
def _border(name: str, form: str) -> Callable[..., Array]:
    entry = _ENTRIES[name]
    chain = entry.corrected if form == "corrected" else entry.as_printed
    squared = name != "dec"  # both forms of the other two are variances, whatever is printed left
    value = sympy.sqrt(chain.rhs) if squared else sympy.Abs(chain.rhs.subs(s.phi, 1))
    return sympy.lambdify(_SYMBOLS, value, "numpy")


def linear_borders(
    *,
    w1: Any,
    u: Any,
    w0: Any,
    eta: Any,
    batch_size: Any,
    M: Any = 1.0,
    sigma_x: Any = 1.0,
    form: str = "corrected",
) -> LinearBorders:
    """Return the three borders of Sec. 3; arguments as for `nin.linear.model.simulate`.

    Corrects the definitions of Levi et al. (2022), Sec. 3. The printed form is read with good
    will: the borders of catapult and divergence as variances, as in the sentence on the divergent
    phase, and the random number in that of decoupling as 1, its root mean square.

    Args:
        w1: Initial weight of the second layer, not 0.
        u: Initial noise weight, not 0.
        w0: Initial weight of the first layer.
        eta: Learning rate.
        batch_size: Samples per batch.
        M: Slope to learn.
        sigma_x: Standard deviation of the data.
        form: ``"corrected"`` or ``"printed"``.

    Raises:
        ValueError: If an argument is out of range, or a weight that divides is 0.

    >>> t = linear_borders(w1=1.0, u=0.1, w0=0.1, eta=0.01, batch_size=100)
    >>> [round(float(v), 2) for v in (t.dec, t.cat, t.div)]
    [0.9, 14.14, 19.9]
    """
    if form not in ("corrected", "printed"):
        raise ValueError(f'form must be "corrected" or "printed", not {form!r}')
    given = {"w1": w1, "u": u, "w0": w0, "eta": eta, "batch_size": batch_size, "M": M}
    arrays = check_arguments({**given, "sigma_x": sigma_x})
    for name in ("w1", "u"):
        if (arrays[name] == 0).any():
            raise ValueError(f"{name} must not be 0: the borders divide by it")
    values = [arrays[str(symbol)] for symbol in _SYMBOLS]
    return LinearBorders(*(np.asarray(_border(n, form)(*values), float) for n in _ENTRIES))


def mean_square_border(batch_size: Any) -> Array:
    """Return the largest eta sigma_eps^2 w1^2 at which the variance of w_NI falls, Gaussian noise.

    Args:
        batch_size: Samples per batch.

    >>> mean_square_border(2).item()
    1.0
    """
    formula = sympy.lambdify((s.batch_size, noise_map.kurtosis), noise_map.MEAN_SQUARE, "numpy")
    return np.asarray(formula(np.asarray(batch_size, float), 3))


def growth_exponent(curvature: float, batch_size: int) -> float:
    """Return the mean of ln|u'/u| of one step without data, at fixed w1, for Gaussian noise.

    Args:
        curvature: eta sigma_eps^2 w1^2.
        batch_size: Samples per batch.
    """
    from scipy import stats  # noqa: PLC0415  (half a second, and seldom needed)

    law = stats.gamma(batch_size / 2, scale=2 / batch_size)  # of the batch mean of (eps/sigma)^2
    ends = [law.ppf(1e-15), 1 / curvature, law.isf(1e-15)]  # the logarithm is singular in between

    def integrand(m: float) -> float:
        return float(np.log(abs(1 - curvature * m)) * law.pdf(m))

    parts = [integrate.quad(integrand, lo, hi, limit=400)[0] for lo, hi in pairwise(ends)]
    return float(sum(parts))


def almost_sure_border(batch_size: int) -> float:
    """Return the largest eta sigma_eps^2 w1^2 at which almost every w_NI falls, Gaussian noise."""
    return float(optimize.brentq(growth_exponent, 1.2, 4.0, args=(batch_size,), xtol=1e-6))
