"""The verdicts of the ledger as tables: all of them, and those that a page carries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nin.companion.claims.ledger import Claim, ledger
from nin.companion.digits import two_digits

HEAD = ("Claim", "The paper says", "Verdict", "We find")
_SYMBOLS = {
    "|w_ni|": r"$|w_{\rm NI}|$", "w_ni": r"$w_{\rm NI}$", "w0": "$w^{(0)}$", "w1": "$w^{(1)}$",
    "sigma_eps": r"$\sigma_\epsilon$", "sigma_x": r"$\sigma_x$", "eta": r"$\eta$", "n_w": "$N_w$",
    "sigma_cat": r"$\sigma_{\epsilon,{\rm cat}}$", "|b|": r"$|\mathcal{B}|$",
}  # fmt: skip
"""Signs of the ledger, in small letters, and how a page writes them."""
_TYPED = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, _SYMBOLS))})(?!\w)", re.IGNORECASE)


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


def verdicts_of(*names: str, back: str = "../") -> Verdicts:
    """Return claims of the ledger, each with the paper's statement, our verdict and its number.

    Args:
        *names: Ids of claims, and pages whose claims are all wanted, without suffix, such as
            ``"figures/fig3_phases_ce"``.
        back: From the page that shows them to the folder of the ledger; empty for a chapter.

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
        link = f'<a href="{back}claims.html#{_anchor(c)}">{c.id}</a>'
        *said, finding = _said(c)
        rows.append([link, *said, finding + grid])
    return _table(HEAD, rows)


def all_verdicts() -> Verdicts:
    """Return the whole ledger: each claim with its place in the book, its grid and worst cell.

    The link to itself says what the page's filter asks for: verdict, sections and figures.
    """
    rows = []
    for c in ledger():
        f, anchor = c.finding, _anchor(c)
        figures = [x for x in c.places if x.startswith(("Fig", "Table", "Eq"))]
        sections = [x for x in c.places if x not in figures]
        asked: dict[str, list[str]] = {
            "verdict": [f.verdict],
            "section": sections,
            "figure": figures,
        }
        data = " ".join(f'data-{name}="{"; ".join(values)}"' for name, values in asked.items())
        link = f'<a id="{anchor}" href="#{anchor}" {data}>{c.id}</a>'
        worst = f"{f.grid}. *Worst:* {f.worst}" if f.worst else f.grid
        rows.append([f"{link}<br>{_evidence(c)}", *_said(c), worst])
    return _table((*HEAD, "Grid and worst cell"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Verdicts:
    lines = [f"| {' | '.join(head)} |", "|:--" * len(head) + "|"]
    return Verdicts("\n".join([*lines, *(f"| {' | '.join(map(_cell, row))} |" for row in rows)]))


def _anchor(c: Claim) -> str:
    return f"claim-{c.id}"


def _evidence(c: Claim) -> str:
    """Return a link to the figure or the section of the book that shows a claim."""
    label = c.shown.partition("#")[2]
    if label.startswith("fig-"):
        return f"{{numref}}`{label}`"
    return f"{{ref}}`{label}`" if label else f"{{doc}}`{c.page}`"


def _said(c: Claim) -> list[str]:
    """Return the cells of a claim after the first of `HEAD`."""
    f = c.finding
    number = f" *{f.quantity}:* {two_digits(f.value, f.err, f.n)}." if f.n else ""
    return [f"{c.words} *({c.place})*", f"**{f.verdict}**", f.says + number]


def _cell(text: str) -> str:
    r"""Return the text of a cell: symbols as formulas, and no bar that would end it.

    >>> print(_cell("|w_ni| falls with sigma_eps: 3 ± 1"))
    $\|w_{\rm NI}\|$ falls with $\sigma_\epsilon$: 3 ± 1
    """
    return _TYPED.sub(lambda sign: _SYMBOLS[sign[0].lower()], text).replace("|", r"\|")
