"""Averages over a batch: the objects of Theorem 1, and the rules that evaluate them.

`Mean` is an average over everything random, `BatchMean` one over a batch, `PairMean` one over
pairs of different samples. `evaluate` writes all of them out for a batch of explicit size and
uses nothing but what the theorem assumes: samples are independent of each other, and q of eps.
"""

from __future__ import annotations

from typing import Any

from sympy import (
    Add,
    Expr,
    Function,
    Indexed,
    Integer,
    Mul,
    Sum,
    Symbol,
    expand,
    factor,
    simplify,
    solve,
)

from nin.theory import symbols as s
from nin.theory.statement import Chain


class _Bracket(Function):
    """A linear average, printed in angle brackets."""

    nargs = 1
    subscript = ""

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        body = rf"\left\langle {printer._print(self.args[0])} \right\rangle{self.subscript}"
        return body if exp is None else rf"{body}^{{{exp}}}"


class Mean(_Bracket):
    """<f>, the average of f over data and noise."""


class BatchMean(_Bracket):
    """<f>_B, the average of f over the samples of one batch."""

    subscript = r"_{\mathcal{B}}"


class PairMean(_Bracket):
    """<f>_(i != j), the average over pairs of different samples."""

    subscript = r"_{i\neq j}"


class Var(_Bracket):
    """Var(f), the variance of f over data and noise."""

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        return rf"\mathrm{{Var}}\left({printer._print(self.args[0])}\right)"


MOMENTS = {
    (s.q, Integer(1)): s.q_mean,
    (s.q, Integer(2)): s.Q**2,
    (s.eps, s.n): s.sigma_n**s.n,
    (s.eps, 2 * s.n): s.sigma_2n ** (2 * s.n),
}
"""What Theorem 1 calls the moments of q and eps."""
SIZES = (2, 3, 4)
"""Explicit sizes at which a chain is evaluated."""


def expectation(expr: Expr) -> Expr:
    """Return the mean of a polynomial in independent samples, in the moments of Theorem 1.

    Args:
        expr: A polynomial in ``q``, ``eps**n`` and in the samples ``q_i[1]``, ``eps_i[1]**n``, ...

    Returns:
        The mean, in `q_mean`, `Q`, `sigma_n` and `sigma_2n`.

    Raises:
        ValueError: If it needs a moment that the theorem does not name.

    Example:
        >>> expectation(s.q * s.eps**s.n)
        q_mean*sigma_n**n
    """
    total = []
    for term in Add.make_args(expand(expr)):
        factors = []
        for base, power in term.as_powers_dict().items():
            name = {s.q_i: s.q, s.eps_i: s.eps}[base.base] if isinstance(base, Indexed) else base
            if name in (s.q, s.eps) and (name, power) not in MOMENTS:
                raise ValueError(f"Theorem 1 names no moment <{name}^{power}>: {expr}")
            factors.append(MOMENTS.get((name, power), base**power))
        total.append(Mul(*factors))
    return Add(*total)


def of_sample(expr: Expr, index: Any) -> Expr:
    """Return `expr`, a function of q and eps, for the sample `index` of a batch."""
    return expr.subs({s.q: s.q_i[index], s.eps: s.eps_i[index]})


def _written_out(expr: Expr, batch: int) -> Expr:
    """Replace every batch mean, pair mean and variance by its definition."""
    over = (s.i, 1, s.batch_size)
    expr = expr.replace(Var, lambda a: Mean(a**2) - Mean(a) ** 2)
    expr = expr.replace(BatchMean, lambda a: Sum(of_sample(a, s.i), over) / s.batch_size)
    expr = expr.replace(PairMean, lambda a: Mean(a.subs({s.i: 1, s.j: 2})))
    return expr.subs(s.batch_size, batch).doit()


def evaluate(expr: Expr, batch: int) -> Expr:
    """Return the value of `expr` for independent samples in a batch of explicit size.

    Args:
        expr: An expression in `Mean`, `BatchMean`, `PairMean`, `Var` and sums over the batch.
        batch: The size |B| of the batch, >= 1.

    Returns:
        The value, in the moments of Theorem 1.

    Example:
        >>> evaluate(Mean(BatchMean(s.q * s.eps**s.n)), batch=3)
        q_mean*sigma_n**n
    """
    return expand(_written_out(expr, batch).replace(Mean, expectation))


def evaluate_population(expr: Expr, size: int) -> Expr:
    """Return the value of `expr` where averages run over `size` given samples, without limit.

    Args:
        expr: An expression in `Mean`, `PairMean` and sums over the population, as in Eq. (15).
        size: The number |A| of samples that exist, >= 2.

    Returns:
        The value, in the samples ``q_i[1]``, ``eps_i[1]``, ...

    Example:
        >>> evaluate_population(Mean(s.q), size=2)
        q[1]/2 + q[2]/2
    """
    every = [(a, b) for a in range(1, size + 1) for b in range(1, size + 1) if a != b]
    expr = expr.replace(
        PairMean, lambda f: Add(*(f.subs({s.i: a, s.j: b}) for a, b in every)) / len(every)
    )
    expr = expr.replace(Mean, lambda f: Add(*(of_sample(f, a) for a in range(1, size + 1))) / size)
    return expand(expr.subs(s.population_size, size).doit())


def variance_of_batch_mean(own: Expr, cross: Expr) -> Expr:
    """Return Var of a mean of |B| terms, from one term's variance and a pair's covariance.

    Args:
        own: The variance of one term.
        cross: The covariance of two different terms.

    Returns:
        The variance of their mean, for a symbolic |B|: |B| terms meet themselves, and
        |B|^2 - |B| pairs meet another.

    Example:
        >>> variance_of_batch_mean(s.Q**2, 0)
        Q**2/batch_size
    """
    over_i, over_j = (s.i, 1, s.batch_size), (s.j, 1, s.batch_size)
    pairs = Sum(own, over_i) + Sum(cross, over_i, over_j) - Sum(cross, over_i)
    return expand(pairs.doit() / s.batch_size**2)


def without_replacement_variance(own: Expr) -> Expr:
    """Return Var of a mean of |B| different samples out of |A| fixed ones.

    The mean over all |A| samples never varies, which fixes the covariance of two of them.

    Args:
        own: The variance of one sample.

    Example:
        >>> without_replacement_variance(s.Q**2)
        -Q**2*(batch_size - population_size)/(batch_size*(population_size - 1))
    """
    cross = Symbol("cross")
    of_all = variance_of_batch_mean(own, cross).subs(s.batch_size, s.population_size)
    (covariance,) = solve(of_all, cross)
    return factor(variance_of_batch_mean(own, covariance))


def holds(form: Chain) -> bool:
    """Tell whether all members of a chain are equal, at `SIZES` of the batch.

    Args:
        form: A chain in the averages of this file; of sums over the population, its size is meant.
    """
    finite = any(member.has(s.population_size) for member in form.members)
    value = evaluate_population if finite else evaluate
    return all(
        simplify(value(member, size) - value(form.lhs, size)) == 0
        for size in SIZES
        for member in form.members[1:]
    )
