"""The errata of the paper: every entry of `nin.theory`, and those that are words, in its order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from nin.theory import expansion, theorem, wording
from nin.theory import gradient_flow as flow
from nin.theory import two_layer as linear
from nin.theory.statement import Chain, Entry, Form, Slip

PAGES = {
    "3": "linear_model#eq-3",
    "fn-4-gradient": "derivation#footnote-4",
    "fn-4-hessian": "derivation#footnote-4",
    "sigma-dec": "decoupled#sigma-dec",
    "sigma-cat": "phases#sigma-cat",
    "sigma-div": "phases#sigma-div",
}
"""Chapter and target of the proof, for entries that do not name them."""


def _on_its_page(entry: Entry[Form]) -> Entry[Form]:
    return replace(entry, page=PAGES.get(entry.key, entry.page))


EQUATIONS: dict[str, Entry[Chain]] = {
    entry.key: _on_its_page(entry)
    for entry in sorted(
        (
            *(expansion.EQ1, expansion.EQ2, expansion.EQ5),
            *(expansion.EQ6, expansion.EQ7, expansion.EQ8),
            *theorem.LINES,
            *linear.EQUATIONS,
            *flow.EQUATIONS,
        ),
        key=lambda entry: int(entry.key),
    )
}
"""Eqs. (1)-(27) by number."""

ENTRIES: tuple[Entry[Chain] | Entry[str], ...] = (
    *EQUATIONS.values(),
    *(theorem.THEOREM, theorem.THEOREM_ODD, theorem.THEOREM_EVEN),
    *(_on_its_page(entry) for entry in linear.OTHERS),
    *wording.ENTRIES,
)
"""Everything that the errata page lists."""


_TALL = r"\rule[-1.4em]{0pt}{3.2em}"  # keeps fractions of neighbouring lines apart
_WIDE = 50  # letters and signs; a longer line needs still smaller type to fit the column


def _form(form: Chain | str) -> str:
    """Return one form as a Markdown table cell."""
    if isinstance(form, str):
        text = form
    else:
        body = form.short_latex()
        letters = re.sub(r"\\[a-zA-Z]+|[{}^_\s]", "", body)
        size = r"\scriptsize" if len(letters) > _WIDE else r"\small"
        text = f"${size} \\displaystyle {_TALL if 'frac' in body else ''} {body}$"
    return text.replace("|", r"\vert ")  # a bar would end the cell


def _proof(entry: Entry[Chain] | Entry[str]) -> str:
    """Return where the proof is: the place in a chapter, and the test."""
    target = entry.page.partition("#")[2]
    name = f"Eq. ({entry.key})" if entry.key.isdigit() else entry.place
    link = f"[proof: {name}](#{target}), " if target else ""
    file, _, test = entry.test.partition("::")
    return link + (f"`{file}`<br>`{test}`" if test else "found by reading")


def row(entry: Entry[Chain] | Entry[str]) -> str:
    """Return an entry as one row of a Markdown table."""
    name = f"**Eq. ({entry.key})**, {entry.place}" if entry.key.isdigit() else f"**{entry.place}**"
    verdict = entry.slip.value if entry.slip is Slip.NONE else f"*{entry.slip.value}*"
    lines = [entry.says, _form(entry.as_printed)]
    if entry.slip is not Slip.NONE:
        lines += [f"→ {_form(entry.corrected)}", entry.why]
    body = "<br>".join(line for line in (*lines, _proof(entry)) if line)
    return f"| {name}<br>{verdict} | {body} |"


def table(entries: Sequence[Entry[Chain] | Entry[str]]) -> str:
    """Return entries as a Markdown table with rendered mathematics.

    Raises:
        ValueError: If there is nothing to list.
    """
    if not entries:
        raise ValueError("a table needs at least one entry")
    head = "| Place, verdict | What it says, as printed → as corrected, why, and the proof |"
    return "\n".join([head, "|:--|:--|", *(row(entry) for entry in entries)])


def select(slip: Slip | None = None, *, matters: bool | None = None) -> tuple:
    """Return the entries with a verdict, or those that do or do not move a result.

    Example:
        >>> sorted(entry.key for entry in select(matters=True))
        ['2', '8', 'catapult-window', 'fn-1', 'fn-2', 'sigma-dec', 'sigma-div', 'thm-1']
    """
    return tuple(
        entry
        for entry in ENTRIES
        if (slip is None or entry.slip is slip) and (matters is None or entry.matters == matters)
    )


def count() -> dict[str, int]:
    """Return how many entries have each verdict."""
    return {slip.value: len(select(slip)) for slip in Slip}
