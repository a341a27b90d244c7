"""Theorem 1 and Eqs. (9)-(16), by symbols and by counting every possible batch."""

import itertools
import math
from fractions import Fraction

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from nin.theory import brackets as averages
from nin.theory import symbols as s
from nin.theory import theorem

FRACTIONS = st.fractions(min_value=-3, max_value=3, max_denominator=6)
EXACT = settings(derandomize=True, max_examples=25, deadline=None)


@pytest.mark.parametrize("entry", theorem.LINES, ids=lambda e: f"eq-{e.key}")
def test_each_corrected_line_holds_and_each_wrong_line_fails(entry):
    assert averages.holds(entry.corrected)
    assert averages.holds(entry.as_printed) is (entry.as_printed is entry.corrected)


def test_theorem_1_is_eq_16():
    for batch in (1, 2, 5):
        eq16 = averages.evaluate(theorem.EQ16.corrected.rhs, batch)
        for form, agrees in (
            (theorem.THEOREM.corrected, True),
            (theorem.THEOREM.as_printed, batch == 1),
        ):
            stated = form.rhs.subs(s.batch_size, batch)
            assert (sp.simplify(stated - eq16) == 0) is agrees


def test_odd_line_is_the_theorem_without_mean():
    variance = theorem.THEOREM.corrected.rhs.subs(s.sigma_n, 0).subs(s.n, 3)
    odd = theorem.THEOREM_ODD.corrected.rhs.subs(s.n, 3)
    assert sp.simplify(odd**2 - variance) == 0


def test_even_estimate_is_the_mean_of_eq_11():
    mean = averages.evaluate(theorem.EQ11.corrected.lhs, batch=4)
    assert theorem.THEOREM_EVEN.corrected.rhs == mean
    assert theorem.THEOREM_EVEN.as_printed.rhs != mean


def test_first_normalisation_of_eq_15_diverges_as_printed():
    # Of a constant sample, the sum over pairs is their number.
    pairs = s.population_size * (s.population_size - 1)
    ones = {s.q_i: 1, s.eps_i: 1}
    for form, limit in ((theorem.EQ15.as_printed, sp.oo), (theorem.EQ15.corrected, 1)):
        normalisation = form.members[1].replace(sp.Sum, lambda *_: pairs).subs(ones)
        assert sp.limit(normalisation, s.population_size, sp.oo) == limit


def test_eq_12_as_printed_is_zero():
    assert averages.evaluate(theorem.EQ12.as_printed.rhs, batch=3) == 0


def test_pairs_are_counted_for_a_symbolic_batch():
    own, cross = sp.symbols("own cross")
    for size in (1, 2, 3, 7):
        matrix = cross * sp.ones(size) + (own - cross) * sp.eye(size)
        counted = sum(matrix) / size**2
        general = averages.variance_of_batch_mean(own, cross).subs(s.batch_size, size)
        assert sp.expand(general - counted) == 0


def test_without_replacement_is_the_stated_factor():
    own = sp.Symbol("own")
    stated = theorem.WITHOUT_REPLACEMENT.rhs / theorem.EQ16.corrected.rhs
    derived = averages.without_replacement_variance(own) / (own / s.batch_size)
    assert sp.simplify(stated - derived) == 0


def mean_and_variance(outcomes):
    """Mean and variance of equally likely outcomes, exactly."""
    outcomes = list(outcomes)
    mean = sum(outcomes, Fraction(0)) / len(outcomes)
    return mean, sum(((o - mean) ** 2 for o in outcomes), Fraction(0)) / len(outcomes)


@EXACT
@given(
    q=st.lists(FRACTIONS, min_size=1, max_size=3),
    half=st.lists(FRACTIONS, min_size=1, max_size=2),
    n=st.integers(1, 4),
    batch=st.integers(1, 3),
)
def test_theorem_1_counts_every_possible_batch(q, half, n, batch):
    noise = [*half, *(-e for e in half)]  # symmetric
    terms = [a * e**n for a in q for e in noise]
    batches = itertools.product(terms, repeat=batch)
    mean, variance = mean_and_variance(sum(b, Fraction(0)) / batch for b in batches)

    def moment(values, power):
        return sp.Rational(sum((v**power for v in values), Fraction(0)) / len(values))

    form = theorem.THEOREM.corrected.rhs.subs({s.batch_size: batch, s.n: n})
    # The moments enter as powers of sigma_n and sigma_2n: name them by what the theorem means.
    stated = form.subs(
        {s.sigma_n ** (2 * n): moment(noise, n) ** 2, s.sigma_2n ** (2 * n): moment(noise, 2 * n)}
    ).subs({s.q_mean: moment(q, 1), s.Q: sp.sqrt(moment(q, 2))})
    assert sp.Rational(variance) == stated
    assert sp.Rational(mean) == moment(q, 1) * moment(noise, n)


@EXACT
@given(values=st.lists(FRACTIONS, min_size=2, max_size=6), data=st.data())
def test_fixed_noise_counts_every_batch_without_replacement(values, data):
    batch = data.draw(st.integers(1, len(values)))
    subsets = (sum(c, Fraction(0)) / batch for c in itertools.combinations(values, batch))
    mean, variance = mean_and_variance(subsets)
    all_mean, own = mean_and_variance(values)
    at = {s.batch_size: batch, s.population_size: len(values)}
    stated = averages.without_replacement_variance(sp.Rational(own)).subs(at)
    assert (mean, sp.Rational(variance)) == (all_mean, stated)


@EXACT
@given(kurtosis=st.fractions(min_value=1, max_value=9), h=FRACTIONS, g=FRACTIONS)
def test_fluctuation_ratio_does_not_know_the_batch(kurtosis, h, g):
    h, g, kurtosis = sp.Rational(abs(h) + 1), sp.Rational(abs(g) + 1), sp.Rational(kurtosis)
    ratio = theorem.fluctuation_ratio(h, h, g, kurtosis)
    assert s.batch_size not in ratio.free_symbols
    assert sp.simplify(ratio**2 - (kurtosis - 1) * h**2 * s.sigma_eps**2 / g**2) == 0


def test_numeric_variance_is_the_symbolic_one():
    moments = {"q_mean": 1.5, "Q": 2.0, "sigma_n": 1.0, "sigma_2n": 3**0.25, "n": 2}
    for batch in (1, 8, 1000):
        found = theorem.batch_variance(theorem.THEOREM.corrected, **moments, batch_size=batch)
        assert math.isclose(found, (3 * 4 - 1.5**2) / batch, rel_tol=1e-12)  # rounding only


def test_missing_moment_is_named():
    with pytest.raises(ValueError, match="expected exactly"):
        theorem.batch_variance(theorem.THEOREM.corrected, n=1)
    with pytest.raises(ValueError, match="names no moment"):
        averages.expectation(s.q**3)
