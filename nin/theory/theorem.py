"""Theorem 1 and its proof, Eqs. (9)-(16): the mean and the variance of a batch average.

The chapter `batch_averages` proves each line with `nin.theory.brackets`; the tests evaluate both
forms of every line at batches of explicit size, where they must agree or differ.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import sympy
from sympy import Add, Expr, KroneckerDelta, Sum, expand, sqrt

from nin.theory import symbols as s
from nin.theory.brackets import BatchMean, Mean, PairMean, Var, of_sample
from nin.theory.statement import Chain, Entry, Slip, chain, equation

TERM = s.q * s.eps**s.n
"""q eps^n of one sample."""
_at_i, _at_j = of_sample(TERM, s.i), of_sample(TERM, s.j)
_in_batch = ((s.i, 1, s.batch_size), (s.j, 1, s.batch_size))
_in_population = ((s.i, 1, s.population_size), (s.j, 1, s.population_size))
_different = 1 - KroneckerDelta(s.i, s.j)
_B, _N = s.batch_size, s.population_size
_APP = "App. C"


def _line(number: str, says: str, printed: Chain, *corrected: Any, **rest: Any) -> Entry[Chain]:
    return equation(
        number,
        _APP,
        says,
        printed,
        *corrected,
        page=f"batch_averages#eq-{number}",
        test="test_theory_theorem.py::test_each_corrected_line_holds_and_each_wrong_line_fails",
        **rest,
    )


_m_q, _m_eps = Mean(s.q), Mean(s.eps**s.n)
EQ9 = _line(
    "9", "Noise and sample are independent, so means factor.", chain(Mean(TERM), _m_q * _m_eps)
)

_spread = Mean(TERM**2 - Mean(TERM) ** 2)
EQ10 = _line(
    "10",
    "The variance of one term.",
    chain(Var(TERM), _spread, s.Q**2 * s.sigma_n ** (2 * s.n) - _m_q * _m_eps),
    chain(Var(TERM), _spread, s.Q**2 * s.sigma_2n ** (2 * s.n) - _m_q**2 * _m_eps**2),
    Slip.TYPO,
    why=r"The square of $\epsilon^n$ has the moment of order $2n$, and the subtracted mean is "
    "squared. The theorem itself uses the right form.",
)

EQ11 = _line(
    "11",
    "The batch average has the mean of one term.",
    chain(
        Mean(BatchMean(TERM)),
        Mean(Sum(_at_i, _in_batch[0])) / _B,
        Sum(Mean(TERM), _in_batch[0]) / _B,
        _m_q * _m_eps,
    ),
)

_square = BatchMean(TERM) ** 2
EQ12 = _line(
    "12",
    "The variance of the batch average, by definition.",
    chain(Var(BatchMean(TERM)), Mean(Add(_square, -_square, evaluate=False))),
    chain(Var(BatchMean(TERM)), Mean(_square) - Mean(BatchMean(TERM)) ** 2),
    Slip.TYPO,
    why="As printed, a quantity is subtracted from itself; the outer average belongs inside the "
    "square of the second term. The lines that follow use the right form.",
)

_product = _at_j * _at_i
_others = Mean(Sum(_product * _different, *_in_batch)) / _B**2
EQ13 = _line(
    "13",
    "The square of a batch average splits into equal and different samples.",
    chain(
        Mean(_square),
        Mean(Sum(_product, *_in_batch)) / _B**2,
        Mean(s.q**2 * s.eps ** (2 * s.n)) / _B + _others,
    ),
)

EQ14 = _line(
    "14",
    "The different pairs all have the same mean.",
    chain(_others, (_B**2 - _B) / _B**2 * PairMean(_product)),
)

_pairs = Sum(_product * _different, *_in_population)
_all = Sum(_product, *_in_population) / _N**2
_same = Sum(_at_j**2, _in_population[1]) / _N**2
_to = (Mean(TERM) ** 2, r"\lvert\mathcal{A}\rvert\to\infty")
EQ15 = _line(
    "15",
    "Two different samples of a large population are uncorrelated.",
    Chain(
        (PairMean(_product), _pairs / _N, _all - _same, Mean(TERM) ** 2 - Mean(TERM) / _N),
        limit=_to,
    ),
    Chain(
        (
            PairMean(_product),
            _pairs / (_N * (_N - 1)),
            (_all - _same) * _N / (_N - 1),
            (_N * Mean(TERM) ** 2 - Mean(TERM**2)) / (_N - 1),
        ),
        limit=_to,
    ),
    Slip.TYPO,
    why="Of $N$ samples there are $N(N - 1)$ pairs, not $N$, and the last mean is one of squares. "
    "The limit is the printed one.",
)

EQ16 = _line(
    "16",
    "The variance of a batch average falls as one over the batch size.",
    chain(Var(BatchMean(TERM)), (Mean(s.q**2 * s.eps ** (2 * s.n)) - Mean(TERM) ** 2) / _B),
)

WITHOUT_REPLACEMENT = Chain(
    (
        Var(BatchMean(TERM)),
        (_N - _B) / (_N - 1) * (Mean(s.q**2 * s.eps ** (2 * s.n)) - Mean(TERM) ** 2) / _B,
    ),
    tag="16*",
)
"""Eq. (16) for batches without replacement from |A| samples with fixed noise; not in the paper."""

_numerator = s.sigma_2n ** (2 * s.n) * s.Q**2 - s.q_mean**2 * s.sigma_n ** (2 * s.n)
_batch_term = BatchMean(TERM)
THEOREM = Entry(
    "thm-1",
    "Theorem 1",
    r"The variance of the batch average of $q\,\epsilon^n$.",
    chain(Var(_batch_term), _numerator / sqrt(_B)),
    chain(Var(_batch_term), _numerator / _B),
    Slip.WRONG,
    why="The statement contradicts its own proof, Eq. (16), and its own line on odd n, which are "
    "right: the standard deviation falls with the root of the batch size, the variance with the "
    "batch size.",
    matters=True,
    page="batch_averages#theorem-1",
    test="test_theory_theorem.py::test_theorem_1_is_eq_16",
)

THEOREM_ODD = Entry(
    "thm-1-odd",
    "Theorem 1, odd n",
    "For odd n the mean is zero and the standard deviation is this.",
    chain(sqrt(Var(_batch_term)), s.Q * s.sigma_2n**s.n / sqrt(_B)),
    chain(sqrt(Var(_batch_term)), s.Q * s.sigma_2n**s.n / sqrt(_B)),
    Slip.NONE,
    page="batch_averages#theorem-1",
    test="test_theory_theorem.py::test_odd_line_is_the_theorem_without_mean",
)

THEOREM_EVEN = Entry(
    "thm-1-even",
    "below Theorem 1",
    "For even n and a large batch, the batch average is near its mean.",
    chain(_batch_term, s.sigma_n ** (2 * s.n) * s.q_mean),
    chain(_batch_term, s.sigma_n**s.n * s.q_mean),
    Slip.TYPO,
    why=r"The mean of $\epsilon^n$ is $\sigma_{n,\epsilon}^n$, by the theorem's own definition.",
    page="batch_averages#theorem-1",
    test="test_theory_theorem.py::test_even_estimate_is_the_mean_of_eq_11",
)

LINES = (EQ9, EQ10, EQ11, EQ12, EQ13, EQ14, EQ15, EQ16)
ARGUMENTS = (s.q_mean, s.Q, s.sigma_n, s.sigma_2n, s.n, s.batch_size)


def fluctuation_ratio(q_mean: Expr, Q: Expr, gradient_rms: Expr, kurtosis: Expr) -> Expr:
    """Return the size of the fluctuation of the eps^2 term over that of the eps term.

    Implements footnote 2 of Levi et al. (2022) as a formula: Theorem 1 at n = 2 with q = H w_ni,
    divided by Theorem 1 at n = 1 with q = g.

    Args:
        q_mean: The mean of (a component of) H w_ni over samples.
        Q: Its root mean square.
        gradient_rms: The root mean square of the same component of g.
        kurtosis: <eps^4> / sigma_eps^4 of the noise law; 3 for a Gaussian.

    Returns:
        The ratio of the two standard deviations; |B| drops out.

    Example:
        >>> h, g = sympy.symbols("h g", positive=True)
        >>> fluctuation_ratio(h, h, g, sympy.Integer(3))
        sqrt(2)*h*sigma_eps/g
    """
    variance = THEOREM.corrected.rhs
    second = (
        variance.subs(s.n, 2)
        .subs({s.q_mean: q_mean, s.Q: Q, s.sigma_n: s.sigma_eps})
        .subs(s.sigma_2n**4, kurtosis * s.sigma_eps**4)
    )
    first = variance.subs(s.n, 1).subs({s.q_mean: 0, s.Q: gradient_rms, s.sigma_2n: s.sigma_eps})
    return sympy.simplify(sqrt(sympy.factor(expand(second / first))))


@cache
def _variance_function(form: Chain) -> Any:
    return sympy.lambdify(ARGUMENTS, form.rhs, "numpy")


def batch_variance(form: Chain, **moments: Any) -> Any:
    """Return the variance of a batch average as Theorem 1 gives it.

    Args:
        form: `THEOREM.corrected`, or `THEOREM.as_printed` to see the difference.
        **moments: ``q_mean``, ``Q``, ``sigma_n``, ``sigma_2n``, ``n`` and ``batch_size``.

    Returns:
        The variance, an array where an argument is one.

    Raises:
        ValueError: If a moment is missing or unknown.

    Example:
        >>> batch_variance(
        ...     THEOREM.corrected, q_mean=0.0, Q=2.0, sigma_n=0.0, sigma_2n=1.0, n=1, batch_size=8
        ... )
        0.5
    """
    names = [str(a) for a in ARGUMENTS]
    if set(moments) != set(names):
        raise ValueError(f"expected exactly {names}, not {sorted(moments)}")
    return _variance_function(form)(*(moments[name] for name in names))
