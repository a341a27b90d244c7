"""Where one phase ends and the next begins: thresholds in numbers, and a search for borders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import sympy
from scipy import integrate, optimize, stats

from nin.linear import check_arguments
from nin.theory import linear as theory
from nin.theory import noise_map
from nin.theory import symbols as s

Array = np.ndarray
_ENTRIES = {"dec": theory.SIGMA_DEC, "cat": theory.SIGMA_CAT, "div": theory.SIGMA_DIV}
_SYMBOLS = (s.w1, s.u, s.w0, s.eta, s.batch_size, s.M, s.sigma_x)


@dataclass(frozen=True)
class Thresholds:
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
def _threshold(name: str, form: str) -> Callable[..., Array]:
    entry = _ENTRIES[name]
    chain = entry.corrected if form == "corrected" else entry.as_printed
    squared = name != "dec"  # both forms of the other two are variances, whatever is printed left
    value = sympy.sqrt(chain.rhs) if squared else sympy.Abs(chain.rhs.subs(s.phi, 1))
    return sympy.lambdify(_SYMBOLS, value, "numpy")


def thresholds(
    *,
    w1: Any,
    u: Any,
    w0: Any,
    eta: Any,
    batch_size: Any,
    M: Any = 1.0,
    sigma_x: Any = 1.0,
    form: str = "corrected",
) -> Thresholds:
    """Return the three thresholds of Sec. 3; arguments as for `nin.linear.simulate`.

    Corrects the definitions of Levi et al. (2022), Sec. 3. The printed form is read with good
    will: the catapult and divergence thresholds as variances, as in the sentence on the divergent
    phase, and the random number in the decoupling threshold as 1, its root mean square.

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

    >>> t = thresholds(w1=1.0, u=0.1, w0=0.1, eta=0.01, batch_size=100)
    >>> [round(float(v), 2) for v in (t.dec, t.cat, t.div)]
    [0.9, 14.14, 19.9]
    """
    if form not in ("corrected", "printed"):
        raise ValueError(f'form must be "corrected" or "printed", not {form!r}')
    given = {"w1": w1, "u": u, "w0": w0, "eta": eta, "batch_size": batch_size, "M": M}
    arrays = check_arguments({**given, "sigma_x": sigma_x})
    for name in ("w1", "u"):
        if (arrays[name] == 0).any():
            raise ValueError(f"{name} must not be 0: the thresholds divide by it")
    values = [arrays[str(symbol)] for symbol in _SYMBOLS]
    return Thresholds(*(np.asarray(_threshold(n, form)(*values), float) for n in _ENTRIES))


def mean_square_threshold(batch_size: Any, kurtosis: float = 3.0) -> Array:
    """Return the largest eta sigma_eps^2 w1^2 at which the variance of w_NI falls.

    Args:
        batch_size: Samples per batch.
        kurtosis: <eps^4> / sigma_eps^4 of the noise; 3 for Gaussian.

    >>> mean_square_threshold(2).item()
    1.0
    """
    formula = sympy.lambdify((s.batch_size, noise_map.kurtosis), noise_map.MEAN_SQUARE, "numpy")
    return np.asarray(formula(np.asarray(batch_size, float), kurtosis))


def growth_exponent(curvature: float, batch_size: int) -> float:
    """Return the mean of ln|u'/u| of one step without data, at fixed w1, for Gaussian noise.

    Args:
        curvature: eta sigma_eps^2 w1^2.
        batch_size: Samples per batch.
    """
    law = stats.gamma(
        batch_size / 2, scale=2 / batch_size
    )  # of the batch mean of (eps/sigma_eps)^2
    ends = [law.ppf(1e-15), 1 / curvature, law.isf(1e-15)]  # the logarithm is singular in between

    def integrand(m: float) -> float:
        return float(np.log(abs(1 - curvature * m)) * law.pdf(m))

    parts = [integrate.quad(integrand, lo, hi, limit=400)[0] for lo, hi in pairwise(ends)]
    return float(sum(parts))


def almost_sure_threshold(batch_size: int) -> float:
    """Return the largest eta sigma_eps^2 w1^2 at which almost every w_NI falls, Gaussian noise."""
    return float(optimize.brentq(growth_exponent, 1.2, 4.0, args=(batch_size,), xtol=1e-6))


@dataclass(frozen=True)
class Boundary:
    """A border found by bisection, once for each seed.

    Attributes:
        value: Geometric mean of the border over seeds, or NaN where nothing was found.
        err: One standard error of `value`: seeds and the width of the last brackets.
        values: The border of each seed that has one in the range.
        below: Number of seeds that are past the border already at the low end.
        above: Number of seeds that are not past it at the high end.
    """

    value: float
    err: float
    values: Array = field(repr=False)
    below: int
    above: int

    @property
    def found(self) -> bool:
        """Whether any seed has a border in the range."""
        return bool(len(self.values))


def find_boundary(
    past: Callable[[Array], Array], low: float, high: float, seeds: int, tolerance: float = 1e-3
) -> Boundary:
    """Bracket the noise strength at which something begins, by bisection in its logarithm.

    Args:
        past: Says of sigma_eps, one for each seed, (seeds,), whether each run is past the border.
        low: Smallest sigma_eps to look at, > 0.
        high: Largest, > `low`.
        seeds: Number of independent runs.
        tolerance: Relative width of the last brackets.

    Raises:
        ValueError: If the range or the number of seeds is empty.

    >>> border = find_boundary(lambda sigma: sigma > 2.0, 1.0, 10.0, seeds=3)
    >>> round(border.value, 2), border.found
    (2.0, True)
    """
    if not (0 < low < high and seeds >= 1 and tolerance > 0):
        raise ValueError(
            f"expected 0 < low < high, seeds >= 1 and tolerance > 0, "
            f"not {low}, {high}, {seeds}, {tolerance}"
        )
    lo, hi = np.full(seeds, np.log(low)), np.full(seeds, np.log(high))
    at_low, at_high = (np.asarray(past(np.exp(ends)), bool) for ends in (lo, hi))
    while (hi - lo).max() > tolerance:
        middle = (lo + hi) / 2
        beyond = np.asarray(past(np.exp(middle)), bool)
        hi, lo = np.where(beyond, middle, hi), np.where(beyond, lo, middle)
    middle = ((lo + hi) / 2)[~at_low & at_high]
    n, width = len(middle), float((hi - lo).max())
    value = float(np.exp(middle.mean())) if n else float("nan")
    spread = float(middle.var(ddof=1)) / n if n > 1 else 0.0
    err = value * np.sqrt(spread + width**2 / 12)  # a bracket's own error does not average out
    return Boundary(value, float(err), np.exp(middle), int(at_low.sum()), int((~at_high).sum()))
