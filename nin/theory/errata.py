"""The errata of the paper: every entry of `nin.theory`, and those that are words, in its order."""

from __future__ import annotations

from nin.theory import expansion, flow, linear, theorem, wording
from nin.theory.statement import Chain, Entry, Slip

EQUATIONS: dict[str, Entry[Chain]] = {
    entry.key: entry
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
    *linear.OTHERS,
    *wording.ENTRIES,
)
"""Everything that the errata page lists."""


def _form(form: Chain | str) -> str:
    """Return one form as a Markdown table cell."""
    text = form if isinstance(form, str) else f"${form.short_latex()}$"
    return text.replace("|", r"\vert ")  # a bar would end the cell


def _proof(entry: Entry[Chain] | Entry[str]) -> str:
    page, _, target = entry.page.partition("#")
    link = f"[proof]({page}.ipynb#{target}) " if page else ""
    return link + (f"`{entry.test}`" if entry.test else "by reading")


def row(entry: Entry[Chain] | Entry[str]) -> str:
    """Return an entry as one row of a Markdown table."""
    name = f"**Eq. ({entry.key})**, {entry.place}" if entry.key.isdigit() else f"**{entry.place}**"
    verdict = entry.slip.value if entry.slip is Slip.NONE else f"*{entry.slip.value}*"
    forms = _form(entry.as_printed)
    if entry.slip is not Slip.NONE:
        forms += f"<br>→ {_form(entry.corrected)}"
    words = " ".join(part for part in (entry.says, entry.why) if part)
    return f"| {name}<br>{verdict} | {forms} | {words} <br>{_proof(entry)} |"


def table(entries: tuple[Entry[Chain] | Entry[str], ...]) -> str:
    """Return entries as a Markdown table with rendered mathematics.

    Raises:
        ValueError: If there is nothing to list.
    """
    if not entries:
        raise ValueError("a table needs at least one entry")
    head = "| Place, verdict | As printed → corrected | What it says; why it differs; proof |"
    return "\n".join([head, "|:--|:--|:--|", *(row(entry) for entry in entries)])


def select(slip: Slip | None = None, *, matters: bool | None = None) -> tuple:
    """Return the entries with a verdict, or those that do or do not move a result.

    Example:
        >>> sorted(entry.key for entry in select(matters=True))
        ['2', '8', 'fn-1', 'fn-2', 'sigma-dec', 'sigma-div', 'thm-1']
    """
    return tuple(
        entry
        for entry in ENTRIES
        if (slip is None or entry.slip is slip) and (matters is None or entry.matters == matters)
    )


def count() -> dict[str, int]:
    """Return how many entries have each verdict."""
    return {slip.value: len(select(slip)) for slip in Slip}
