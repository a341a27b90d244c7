"""What a place of the paper states: as printed, as corrected, and how it is proved.

An `Entry` is one row of the errata page and one equation of a chapter, from one object. Its two
forms are `Chain`s of SymPy expressions, or Markdown where the paper states something in words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Generic, TypeVar

import sympy

from nin.theory.printing import latex


class Slip(StrEnum):
    """How what is printed relates to what is true."""

    NONE = "as printed"
    SIGN = "sign convention"
    TYPO = "misprint"
    WRONG = "to be corrected"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, repr=False)
class Chain:
    """A chain of equalities, ``a = b = c``.

    Attributes:
        members: The SymPy expressions that the chain says are equal, at least two.
        tail: Whether higher orders follow the last member (printed as three dots).
        limit: What the last member tends to, and for what, if the paper takes a limit.
        tag: The equation's number on the page; a prime marks a corrected form.
    """

    members: tuple[Any, ...]
    tail: bool = False
    limit: tuple[Any, str] | None = None
    tag: str = ""

    def __post_init__(self) -> None:
        """Refuse a chain that states nothing.

        Raises:
            ValueError: If there are fewer than two members.
        """
        if len(self.members) < 2:
            raise ValueError(f"a chain equates at least 2 expressions, not {len(self.members)}")

    @property
    def lhs(self) -> Any:
        """The first member."""
        return self.members[0]

    @property
    def rhs(self) -> Any:
        """The last member."""
        return self.members[-1]

    def latex(self) -> str:
        """Return the chain as LaTeX, without delimiters or number."""
        first, *rest = (latex(member) for member in self.members)
        steps = [f"= {member}" for member in rest]
        if self.limit:
            steps.append(rf"\xrightarrow{{{self.limit[1]}}} {latex(self.limit[0])}")
        tail = r" + \dots" if self.tail else ""
        if len(steps) == 1:
            return f"{first} {steps[0]}{tail}"
        lines = r" \cr & ".join(steps)
        return rf"\begin{{aligned}} {first} & {lines}{tail} \end{{aligned}}"

    def short_latex(self) -> str:
        """Return the chain as LaTeX, without the steps between its ends."""
        ends = f"{latex(self.lhs)} = {latex(self.rhs)}"
        if self.limit:
            ends += rf" \xrightarrow{{{self.limit[1]}}} {latex(self.limit[0])}"
        return ends + (r" + \dots" if self.tail else "")

    def __repr__(self) -> str:
        """Return the chain in the code's names."""
        return " = ".join(map(str, self.members))

    def _repr_latex_(self) -> str:
        """Show the chain as a displayed, numbered equation in a notebook."""
        return f"$${self.latex()}" + (rf" \tag{{{self.tag}}}" if self.tag else "") + "$$"


def chain(*members: Any) -> Chain:
    """Make a `Chain` of `members`.

    Example:
        >>> chain(sympy.Symbol("a"), sympy.Symbol("b")).latex()
        'a = b'
    """
    return Chain(tuple(sympy.sympify(member) for member in members))


Form = TypeVar("Form", Chain, str)


@dataclass(frozen=True)
class Entry(Generic[Form]):
    """One equation, definition, footnote or caption of the paper.

    Attributes:
        key: The equation's number, or a short name such as ``"fn-2"``.
        place: Where the paper has it, such as ``"Sec. 2"``.
        says: What it states, in our words.
        as_printed: The paper's form: a chain, or Markdown.
        corrected: The form that our proof supports; the same object where the paper is right.
        slip: How the two differ.
        why: The reason, in a sentence or two; empty where nothing differs.
        matters: Whether a number, border or conclusion of the paper moves with it.
        page: The chapter and target that show the proof, such as ``"derivation#eq-2"``.
        test: The test that fails if we are wrong, such as ``"test_theory.py::test_..."``.
    """

    key: str
    place: str
    says: str
    as_printed: Form
    corrected: Form
    slip: Slip
    why: str = ""
    matters: bool = False
    page: str = ""
    test: str = ""

    def __post_init__(self) -> None:
        """Keep the verdict and the two forms consistent.

        Raises:
            ValueError: If a form differs and the slip says that none does, or the reverse.
        """
        if (self.as_printed == self.corrected) != (self.slip is Slip.NONE):
            raise ValueError(
                f"entry {self.key}: the printed and corrected forms are "
                f"{'equal' if self.as_printed == self.corrected else 'different'}, "
                f"which contradicts the verdict {self.slip.value!r}"
            )


def equation(
    number: str,
    place: str,
    says: str,
    as_printed: Chain,
    corrected: Chain | None = None,
    slip: Slip = Slip.NONE,
    **rest: Any,
) -> Entry[Chain]:
    """Make the entry of a numbered equation, its forms tagged ``(n)`` and ``(n')``.

    Args:
        number: The paper's number of the equation.
        place: Section or appendix.
        says: What it states, in our words.
        as_printed: The paper's form.
        corrected: Our form; omit it where the paper is right.
        slip: How the two differ.
        **rest: The remaining fields of `Entry`.
    """
    printed = replace(as_printed, tag=number)
    right = printed if corrected is None else replace(corrected, tag=f"{number}'")
    return Entry(number, place, says, printed, right, slip, **rest)
