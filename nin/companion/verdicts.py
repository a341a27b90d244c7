"""The verdicts of the ledger as tables: all of them, and those that a page carries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nin.companion.claims.ledger import Claim, ledger
from nin.companion.digits import two_digits

HEAD = ("Claim", "The paper says", "Verdict", "We find")


@dataclass(frozen=True, repr=False)
class Verdicts:
    """A table of verdicts, which a page shows.

    Attributes:
        data: Its Markdown.
    """

    data: str

    def __repr__(self) -> str:
        """Return the table as text."""
        return self.data

    def _repr_markdown_(self) -> str:
        return self.data


def verdicts_of(*names: str) -> Verdicts:
    """Return claims of the ledger, each with the paper's statement, our verdict and its number.

    Args:
        *names: Ids of claims, and pages whose claims are all wanted, without suffix, such as
            ``"figures/fig3_phases_ce"``.

    Raises:
        ValueError: If the ledger has none of a name.
    """
    claims = ledger()
    if unknown := set(names) - {known for c in claims for known in (c.id, c.page)}:
        raise ValueError(f"no claim has the id or the page {', '.join(sorted(unknown))}")
    rows = []
    for c in (c for c in claims if {c.id, c.page} & set(names)):
        f = c.finding
        grid = f" *Grid:* {f.grid}" + (f"; worst: {f.worst}." if f.worst else ".") if f.grid else ""
        link = f'<a href="../claims.html#{_anchor(c)}">{c.id}</a>'
        *said, finding = _said(c)
        rows.append([link, *said, finding + grid])
    return _table(HEAD, rows)


def all_verdicts() -> Verdicts:
    """Return the whole ledger: each claim with an anchor, its grid, its worst cell and its page."""
    rows = []
    for c in ledger():
        f, anchor = c.finding, _anchor(c)
        link = f'<a id="{anchor}" href="#{anchor}">{c.id}</a>'
        rows.append([link, *_said(c), f.grid, str(f.worst or ""), f"[]({c.page}.ipynb)"])
    return _table((*HEAD, "Grid", "Worst cell", "Evidence"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Verdicts:
    lines = [f"| {' | '.join(head)} |", "|:--" * len(head) + "|"]
    return Verdicts("\n".join([*lines, *(f"| {' | '.join(map(_cell, row))} |" for row in rows)]))


def _anchor(c: Claim) -> str:
    return f"claim-{c.id}"


def _said(c: Claim) -> list[str]:
    """Return the cells of a claim after the first of `HEAD`."""
    f = c.finding
    number = f" *{f.quantity}:* {two_digits(f.value, f.err, f.n)}." if f.n else ""
    return [f"{c.words} *({c.place})*", f"**{f.verdict}**", f.says + number]


def _cell(text: str) -> str:
    r"""Return the text of a cell: the norm as a formula, and no bar that would end it.

    >>> print(_cell("|w_ni| falls"))
    $\|w_{\rm NI}\|$ falls
    """
    return re.sub(r"\|w_ni\|", r"$|w_{\\rm NI}|$", text, flags=re.I).replace("|", r"\|")
