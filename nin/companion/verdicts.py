"""The verdicts of the ledger that a page carries, as a table whose rows link to the ledger."""

from __future__ import annotations

import re

from IPython.display import Markdown

from nin.companion.claims.ledger import ledger
from nin.companion.digits import two_digits


def verdicts_of(*names: str) -> Markdown:
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
    lines = ["| Claim | The paper says | Verdict | We find |", "|:--|:--|:--|:--|"]
    for c in claims:
        if not {c.id, c.page} & set(names):
            continue
        f = c.finding
        number = f" *{f.quantity}:* {two_digits(f.value, f.err, f.n)}." if f.n else ""
        grid = f" *Grid:* {f.grid}" + (f"; worst: {f.worst}." if f.worst else ".") if f.grid else ""
        cells = [f"[{c.id}](../claims.ipynb)", f"{c.words} *({c.place})*", f"**{f.verdict}**"]
        lines.append(f"| {' | '.join(_cell(text) for text in [*cells, f.says + number + grid])} |")
    return Markdown("\n".join(lines))


def _cell(text: str) -> str:
    r"""Return the text of a cell: the norm as a formula, and no bar that would end it.

    >>> print(_cell("|w_ni| falls"))
    $\|w_{\rm NI}\|$ falls
    """
    return re.sub(r"\|w_ni\|", r"$|w_{\\rm NI}|$", text, flags=re.I).replace("|", r"\|")
