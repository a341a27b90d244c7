"""Batch averages of q eps^n by Monte Carlo, to put Theorem 1 to the test.

q is the property of a sample that multiplies the noise; here it is normal with mean 1 and variance
1, so that both <q> and Q matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import sympy
from numpy.random import Generator
from sympy import stats

from nin.theory import symbols as s
from nin.theory.brackets import without_replacement_variance
from nin.theory.statement import Chain
from nin.theory.theorem import batch_variance
from nin.theory.two_layer import batch_step, mean_ee, mean_xe

Q_LAW = stats.Normal("q", 1, 1)
SIZES = (1, 3, 10, 30, 100, 300, 1000)
"""Batch sizes."""
_SAMPLES = 200_000  # per batch size, or 4000 batches if that is more
_LARGEST_ARRAY = 2_000_000


@dataclass(frozen=True)
class NoiseLaw:
    """A symmetric noise law, of unit variance where it has one.

    Attributes:
        draw: Draws an array of a shape.
        variable: The law as SymPy knows it, for exact moments; None if some do not exist.
    """

    draw: Callable[[Generator, tuple[int, ...]], np.ndarray]
    variable: sympy.Expr = None


_R3 = sympy.sqrt(3)
LAWS = {
    "gaussian": NoiseLaw(lambda g, n: g.standard_normal(n), stats.Normal("e", 0, 1)),
    "uniform": NoiseLaw(
        lambda g, n: g.uniform(-(3**0.5), 3**0.5, n), stats.Uniform("e", -_R3, _R3)
    ),
    "rademacher": NoiseLaw(lambda g, n: 2.0 * g.integers(0, 2, n) - 1, stats.Rademacher("e")),
    "laplace": NoiseLaw(
        lambda g, n: g.laplace(0, 0.5**0.5, n), stats.Laplace("e", 0, 1 / sympy.sqrt(2))
    ),
}
"""Laws with all moments, as Theorem 1 asks."""

HEAVY_TAILED = {
    "cauchy": NoiseLaw(lambda g, n: g.standard_cauchy(n)),
    "student t, 3 degrees": NoiseLaw(lambda g, n: g.standard_t(3, n)),
}
"""Symmetric laws without the moments that Theorem 1 asks for."""


@cache
def moment(law: str, order: int) -> sympy.Expr:
    """Return the exact moment <eps^order> of a noise law.

    Example:
        >>> moment("gaussian", 4), moment("uniform", 4), moment("laplace", 4)
        (3, 9/5, 6)
    """
    return sympy.simplify(stats.E(LAWS[law].variable ** order))


@cache
def q_moment(order: int) -> sympy.Expr:
    """Return the exact moment <q^order>."""
    return sympy.simplify(stats.E(Q_LAW**order))


def predicted_variance(form: Chain, law: str, n: int, batch_size: np.ndarray | int) -> np.ndarray:
    """Return the variance of the batch average of q eps^n as Theorem 1 gives it.

    Args:
        form: `nin.theory.theorem.THEOREM.corrected`, or its printed form.
        law: A key of `LAWS`.
        n: Power of the noise, >= 1.
        batch_size: |B|.
    """
    return np.asarray(
        batch_variance(
            form,
            q_mean=float(q_moment(1)),
            Q=float(sympy.sqrt(q_moment(2))),
            sigma_n=float(moment(law, n)) ** (1 / n),
            sigma_2n=float(moment(law, 2 * n)) ** (1 / (2 * n)),
            n=n,
            batch_size=np.asarray(batch_size, float),
        )
    )


def relative_error(law: str, n: int, batch_size: int, batches: int) -> float:
    """Return the standard error of a measured variance over the variance, exactly.

    It follows from the fourth central moment of one term: the excess kurtosis of a mean of |B|
    terms is that of one, divided by |B|.
    """
    raw = [q_moment(m) * moment(law, m * n) for m in range(5)]
    m1, m2, m3, m4 = (float(v) for v in raw[1:])
    variance = m2 - m1**2
    kurtosis = (m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4) / variance**2
    return float(np.sqrt(((kurtosis - 3) / batch_size + 2) / batches))


def batch_means(
    law: str, orders: Sequence[int], batch_size: int, batches: int, seed: int
) -> np.ndarray:
    """Return averages of q eps^n over independent batches, (orders, batches).

    Args:
        law: A key of `LAWS` or `HEAVY_TAILED`.
        orders: The powers n; all are taken of the same samples.
        batch_size: |B|, >= 1.
        batches: How many batches.
        seed: Of the samples.

    Raises:
        ValueError: If the law is unknown or a number out of range.
    """
    laws = LAWS | HEAVY_TAILED
    if law not in laws or min(orders) < 1 or batch_size < 1 or batches < 1:
        raise ValueError(
            f"expected a law among {sorted(laws)} and orders, batch_size, batches >= 1, not "
            f"{law!r}, {list(orders)}, {batch_size}, {batches}"
        )
    g = np.random.default_rng([seed, batch_size, *law.encode()])
    at_once = max(1, _LARGEST_ARRAY // batch_size)
    parts = []
    for start in range(0, batches, at_once):
        shape = (min(at_once, batches - start), batch_size)
        term, eps = g.normal(1, 1, shape), laws[law].draw(g, shape)
        found = {}
        for n in range(1, max(orders) + 1):
            term *= eps  # faster than a power
            found[n] = term.mean(1)
        parts.append(np.stack([found[n] for n in orders]))
    return np.concatenate(parts, axis=1)


def fixed_batch_means(values: np.ndarray, batch_size: int, batches: int, seed: int) -> np.ndarray:
    """Return averages over batches drawn without replacement from fixed values, (batches,).

    Args:
        values: q eps^n of every sample that exists, noise included, (samples,).
        batch_size: |B|, at most the number of samples.
        batches: How many batches, each drawn from all samples.
        seed: Of the batches.

    Raises:
        ValueError: If a batch would need more samples than there are.
    """
    if not 1 <= batch_size <= len(values):
        raise ValueError(f"batch_size must be from 1 to {len(values)}, not {batch_size}")
    g = np.random.default_rng([seed, batch_size])
    shuffled = g.permuted(np.broadcast_to(values, (batches, len(values))), axis=1)
    return shuffled[:, :batch_size].mean(1)


def fixed_variance(values: np.ndarray, batch_size: np.ndarray | int) -> np.ndarray:
    """Return the variance of those averages as theory gives it.

    Extends Eq. (16) of Levi et al. (2022) to batches without replacement.

    Args:
        values: q eps^n of every sample that exists, (samples,).
        batch_size: |B|.
    """
    return _fixed_function()(values.var(), len(values), np.asarray(batch_size, float))


@cache
def _fixed_function() -> Callable[..., np.ndarray]:
    own = sympy.Symbol("own")
    expr = without_replacement_variance(own)
    return sympy.lambdify((own, s.population_size, s.batch_size), expr)


def quartile_width(means: np.ndarray) -> float:
    """Return the distance between the quartiles: a width that needs no moment."""
    low, high = np.percentile(means, [25, 75])
    return float(high - low)


def measure_neglected(
    weights: Mapping[sympy.Symbol, float], sigma_eps: float, batch_size: int, batches: int
) -> float:
    """Return footnote 2's neglected fluctuation over the kept one, measured, for w_NI.

    Batches are drawn for the linear model; its exact step says what each batch mean does to w_NI.

    Args:
        weights: Values of w1, w0, u, M and sigma_x.
        sigma_eps: Standard deviation of the Gaussian noise.
        batch_size: |B|.
        batches: How many batches.
    """
    g = np.random.default_rng(0)
    x = g.normal(0, weights[s.sigma_x], (batches, batch_size))
    eps = g.normal(0, sigma_eps, (batches, batch_size))
    step = batch_step()[1]
    kept, neglected = (
        abs(float(sympy.diff(step, mean).subs({**weights, s.eta: 1})))
        for mean in (mean_xe, mean_ee)
    )
    return float(neglected * (eps**2).mean(1).std() / (kept * (x * eps).mean(1).std()))


@dataclass(frozen=True)
class Scaling:
    """How the variance of a batch average depends on the batch size.

    Attributes:
        sizes: Batch sizes, (sizes,).
        variance: Measured variances, (sizes,).
        err: Their standard errors, (sizes,), from the law's own moments.
        exponent: Of variance against size, from a weighted fit of the logarithms.
        exponent_err: Its standard error.
    """

    sizes: np.ndarray
    variance: np.ndarray
    err: np.ndarray
    exponent: float
    exponent_err: float


def measure_scaling(law: str, orders: Sequence[int], seed: int = 0) -> dict[int, Scaling]:
    """Measure the variance of batch averages of all `SIZES`.

    Args:
        law: A key of `LAWS`.
        orders: The powers n of the noise.
        seed: Of the samples.

    Returns:
        One `Scaling` for each order.
    """
    counts = {size: max(_SAMPLES // size, 4000) for size in SIZES}
    found = [batch_means(law, orders, n, m, seed).var(axis=1, ddof=1) for n, m in counts.items()]
    return {n: _fit(law, n, counts, np.array(found)[:, k]) for k, n in enumerate(orders)}


def _fit(law: str, n: int, counts: dict[int, int], variance: np.ndarray) -> Scaling:
    """Fit the exponent, with weights from the exact errors of the measured variances."""
    sizes = np.array(list(counts))
    relative = np.array([relative_error(law, n, size, m) for size, m in counts.items()])
    weight = relative**-2
    x = np.log(sizes) - np.average(np.log(sizes), weights=weight)
    # A measured variance is unbiased, its logarithm is low by half its squared relative error.
    y = np.log(variance) + relative**2 / 2
    curvature = (weight * x**2).sum()
    exponent = float((weight * x * y).sum() / curvature)
    return Scaling(sizes, variance, variance * relative, exponent, float(curvature**-0.5))
