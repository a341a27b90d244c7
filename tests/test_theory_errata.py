"""The errata as a whole: complete, consistent, and each row tied to a test that exists."""

import ast
from pathlib import Path

import nbformat
import pytest
import sympy as sp

from nin.theory import ENTRIES, EQUATIONS, Chain, Entry, Slip, errata, noise_map
from nin.theory import gradient_flow as flow
from nin.theory import symbols as s
from nin.theory import two_layer as linear
from nin.theory.printing import latex
from nin.theory.statement import chain
from nin.theory.wording import time_scale

TESTS = Path(__file__).parent
BOOK = TESTS.parent / "book"


def test_every_equation_of_the_paper_is_listed():
    assert list(EQUATIONS) == [str(number) for number in range(1, 28)]


def test_keys_are_unique():
    keys = [entry.key for entry in ENTRIES]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.test], ids=lambda e: e.key)
def test_named_test_exists(entry):
    file, _, name = entry.test.partition("::")
    functions = {
        node.name
        for node in ast.walk(ast.parse((TESTS / file).read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    assert name in functions


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.page], ids=lambda e: e.key)
def test_named_page_has_the_target(entry):
    page, _, target = entry.page.partition("#")
    cells = nbformat.read(BOOK / f"{page}.ipynb", 4).cells
    assert any(f"({target})=" in cell.source for cell in cells)


def test_optimum_of_the_linear_model():
    data, noise = s.sigma_x * (s.w1 * s.w0 - s.M), s.sigma_eps * s.w1 * s.u
    # A sum of squares: 0 where both are, which for M != 0 means w1 w0 = M and u = 0.
    assert sp.expand(noise_map.mean_loss() - (data**2 + noise**2) / 2) == 0


def test_decay_times_are_those_of_the_first_steps():
    # The first rate of fall per unit of flow time, from a mean step of SGD of vanishing eta.
    step = linear.batch_step().subs(noise_map.MEANS)
    clean = dict(zip(linear.WEIGHTS, step.subs(s.u, 0), strict=True))
    for entry, before, after in (
        (flow.EQ25, s.u, step[1]),
        (flow.EQ24, noise_map.CLEAN_LOSS, noise_map.CLEAN_LOSS.subs(clean, simultaneous=True)),
    ):
        rate = -after.diff(s.eta).subs(s.eta, 0) / before
        assert sp.simplify(rate * time_scale(entry.corrected) - 1) == 0


def test_every_numbered_equation_has_a_test():
    assert all(entry.test for entry in EQUATIONS.values())


def test_what_differs_says_why():
    for entry in errata.select(Slip.WRONG):
        assert entry.why


def test_verdict_must_fit_the_forms():
    form = chain(sp.Symbol("a"), 1)
    with pytest.raises(ValueError, match="contradicts the verdict"):
        Entry("x", "here", "", form, form, Slip.WRONG)
    with pytest.raises(ValueError, match="contradicts the verdict"):
        Entry("x", "here", "", form, chain(sp.Symbol("a"), 2), Slip.NONE)


def test_a_chain_states_something():
    with pytest.raises(ValueError, match="at least 2"):
        Chain((sp.Symbol("a"),))


def test_rows_keep_the_columns_of_the_table():
    lines = errata.table(ENTRIES).splitlines()
    assert {line.count("|") for line in lines} == {3}
    with pytest.raises(ValueError, match="at least one"):
        errata.table(())


def test_corrected_forms_are_marked_by_a_prime():
    two = EQUATIONS["2"]
    assert two.as_printed._repr_latex_().endswith(r"\tag{2}$$")
    assert two.corrected._repr_latex_().endswith(r"\tag{2'}$$")
    assert EQUATIONS["6"].corrected._repr_latex_().endswith(r"\tag{6}$$")


def test_latex_keeps_sums_of_sums_in_brackets():
    a, b = sp.symbols("a b")
    assert latex(sp.Mul(a + b, s.eps**2, evaluate=False)) == r"\left(a + b\right) \epsilon^{2}"
    assert latex(s.mean_hessian * s.w_ni - s.kick).endswith(r"- \boldsymbol{\xi}")
    difference = latex(sp.Symbol("v") - sp.Symbol("a"))
    assert difference == "v - a"


def test_long_chains_break_without_wrapping_their_number():
    body = EQUATIONS["13"].as_printed._repr_latex_()
    assert r"\cr" in body and r"\\" not in body
