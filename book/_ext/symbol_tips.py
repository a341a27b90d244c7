"""A symbol of the notation says on hover what it is, on every page."""

from __future__ import annotations

import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

NOTATION = "notation.md"
ROW = re.compile(r"^\| \$(.+?)\$ \| .*? \| (.*?) \|", re.MULTILINE)
SIGNS = {
    "delta": "δ", "ell": "ℓ", "epsilon": "ϵ", "eta": "η", "langle": "⟨", "lvert": "|", "Phi": "Φ",
    "pi": "π", "pm": "±", "rangle": "⟩", "rvert": "|", "sigma": "σ", "sqrt": "√", "tau": "τ",
    "theta": "θ",
}  # fmt: skip


def bare(tex: str) -> str:
    r"""Return TeX without what changes no symbol: ``w_{\rm NI}`` and ``w_\mathrm{NI}`` are one."""
    return re.sub(r"\\(?:mathrm|rm|mathbf|boldsymbol|mathcal|,|;)|[{}\s]", "", tex)


def plain(text: str) -> str:
    """Return MyST as a tooltip can show it."""
    text = re.sub(r"\{\w+\}`([^`<]*?)(?: <.*?>)?`|`(.*?)`", r"\1\2", text)
    text = re.sub(r"\\([a-zA-Z]+)", lambda sign: SIGNS.get(sign[1], sign[0]), text)
    return re.sub(r"\$(.+?)\$", lambda tex: bare(tex[1]), text).replace("*", "")


def meanings(notation: str) -> dict[str, str]:
    """Return what each symbol of the notation means; a letter alone is too short to be told."""
    told = {}
    for symbols, meaning in ROW.findall(notation):
        for symbol in re.split(r",\\ ", symbols):
            if len(bare(symbol)) > 1 or symbol == "K":
                told[bare(symbol)] = plain(meaning)
    return told


def explain(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Give each formula that is one symbol, or its norm, its meaning."""
    notation = Path(app.srcdir) / NOTATION
    if docname == notation.stem or not notation.exists():
        return
    told = meanings(notation.read_text(encoding="utf8"))
    for formula in list(doctree.findall(nodes.math)):
        symbol = bare(formula.astext())
        meaning = told.get(symbol) or told.get(symbol.strip("|"))
        if meaning and not isinstance(formula.parent, nodes.title):
            norm = "norm of: " if symbol not in told else ""
            tip = nodes.abbreviation("", "", explanation=norm + meaning)
            formula.replace_self(tip)
            tip += formula


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.connect("doctree-resolved", explain)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
