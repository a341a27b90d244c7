"""Tables of numbers for the pages: with errors, read by ear, scrolling in their own box, as CSV.

Plain HTML, which the theme of the book and Jupyter style, light and dark. Libraries for tables
bring their own colours, and a library for data frames: 130 MB for a few dozen numbers.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from io import StringIO
from math import isfinite
from urllib.parse import quote

from nin.companion.digits import number_text, with_error

Cell = str | int | float | tuple[float, float]
"""A word, a number, or a number with its standard error."""

SIGNS = {
    "alpha": "α", "epsilon": "ϵ", "eta": "η", "lambda": "λ", "mu": "μ", "rho": "ρ", "sigma": "σ",
    "tau": "τ", "theta": "θ", "langle": "⟨", "rangle": "⟩", "infty": "∞", "times": "×",
}  # fmt: skip
"""TeX that formulas in tables may have, besides letters, indices, powers and ``\\rm``."""
_TOKEN = re.compile(r"([_^])(?:\{([^{}]*)\}|(\\[a-z]+|.))|\\rm (\w+)|\\([a-zA-Z]+)|([a-zA-Z])|(.)")


@dataclass(frozen=True, repr=False)
class Table:
    r"""Columns of words and numbers, shown by a page as a table with a link to its CSV.

    Attributes:
        name: Of the CSV file, without suffix, such as ``"fig2_peaks"``.
        caption: What the rows are, n, and what an error is; TeX between dollars.
        columns: Cells by the head of the column, its unit in it; TeX between dollars.
        heads: How many of the first columns name a row.

    Raises:
        ValueError: If there is no row, a column is longer than another, or a head says nothing.

    >>> t = Table("decays", "Runs.", {"seed": [0, 1], r"$\tau$, epochs": [(4.324, 0.07), 5]})
    >>> t
    seed  tau, epochs
    0     4.324 ± 0.070
    1     5
    >>> print(t.csv())
    seed,"tau, epochs","tau, epochs, error"
    0,4.324,0.07
    1,5,
    <BLANKLINE>
    """

    name: str
    caption: str
    columns: Mapping[str, Sequence[Cell]]
    heads: int = 1

    @classmethod
    def of_rows(
        cls,
        name: str,
        caption: str,
        heads: Sequence[str],
        rows: Iterable[Sequence[Cell]],
        n: int = 1,
    ) -> Table:
        """Make a table of its rows; `n` is how many of the first columns name them."""
        columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in heads]
        return cls(name, caption, dict(zip(heads, columns, strict=True)), n)

    def __post_init__(self) -> None:
        """Refuse a ragged table, and one whose heads cannot be read aloud."""
        lengths = {head: len(cells) for head, cells in self.columns.items()}
        if len(set(lengths.values())) != 1 or not max(lengths.values()):
            raise ValueError(
                f"expected columns of one length, not {lengths}: fill the gaps with ''"
            )
        naming = list(self.columns.values())[: self.heads]
        if "" in [*self.columns, *(cell for cells in naming for cell in cells)]:
            raise ValueError(
                f"expected a name for each column and row of {self.name}, not '': a reader by ear "
                "hears nothing there"
            )

    def rows(self) -> list[tuple[Cell, ...]]:
        """Return the cells row by row."""
        return list(zip(*self.columns.values(), strict=True))

    def csv(self) -> str:
        """Return comma-separated values to six digits; errors have a column of their own."""
        columns: dict[str, list[str]] = {}
        for head, cells in self.columns.items():
            columns[_plain(head)] = [
                _six_digits(c[0] if isinstance(c, tuple) else c) for c in cells
            ]
            if any(isinstance(c, tuple) for c in cells):
                errors = [_six_digits(c[1]) if isinstance(c, tuple) else "" for c in cells]
                columns[f"{_plain(head)}, error"] = errors
        out = StringIO()
        rows = zip(*columns.values(), strict=True)
        csv.writer(out, lineterminator="\n").writerows([columns, *rows])
        return out.getvalue()

    def __repr__(self) -> str:
        """Return the table as a terminal shows it."""
        lines = [[_plain(c) for c in line] for line in ([*self.columns], *self._texts())]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )

    def _repr_html_(self) -> str:
        """Return the table as Jupyter and the book show it."""
        heads = "".join(
            f'<th scope="col"{_side(c[0])}>{_html(h)}</th>' for h, c in self.columns.items()
        )
        body = "\n".join(
            "<tr>"
            + "".join(
                f'<th scope="row">{_html(text)}</th>'
                if i < self.heads
                else f"<td{_side(cell)}>{_html(text)}</td>"
                for i, (cell, text) in enumerate(zip(row, texts, strict=True))
            )
            + "</tr>"
            for row, texts in zip(self.rows(), self._texts(), strict=True)
        )
        data = f"data:text/csv;charset=utf-8,{quote(self.csv())}"
        return (
            '<div class="pst-scrollable-table-container numbers" style="overflow-x: auto">\n'
            f'<table class="table">\n<caption><span>{_html(self.caption)}</span></caption>\n'
            f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>\n"
            f'<p class="csv"><a download="{self.name}.csv" href="{data}">{self.name}.csv</a></p>'
        )

    def _texts(self) -> list[tuple[str, ...]]:
        """Return what each cell says, row by row."""
        return list(zip(*map(_column_texts, self.columns.values()), strict=True))


def _column_texts(cells: Sequence[Cell]) -> list[str]:
    """Return what the cells of a column say; numbers of one size to the same place.

    >>> _column_texts([0.899, 0.9, 1.0]), _column_texts([1e-4, 2e-4])
    (['0.899', '0.900', '1.000'], ['10⁻⁴', '2 × 10⁻⁴'])
    >>> _column_texts([0.554, 0.491, float("nan")])
    ['0.554', '0.491', '–']
    """
    texts = [_text(cell) for cell in cells]
    sizes = [abs(cell) for cell in cells if not isinstance(cell, str | tuple)]
    numbers = len(sizes) == len(cells) and all(map(isfinite, sizes))
    alike = numbers and 1e-3 <= min(sizes) <= max(sizes) < 10 * min(sizes)
    if alike and max(sizes) < 1000:
        decimals = max(len(text.partition(".")[2]) for text in texts)
        return [f"{cell:.{decimals}f}".replace("-", "−") for cell in cells]
    return texts


def _text(cell: Cell) -> str:
    if isinstance(cell, tuple):
        return with_error(*cell)
    return cell if isinstance(cell, str) else number_text(cell)


def _six_digits(cell: str | float) -> str:
    return _plain(cell) if isinstance(cell, str) else f"{cell:.6g}"


def _side(cell: Cell) -> str:
    return "" if isinstance(cell, str) else ' class="text-right"'


def _html(text: str) -> str:
    """Return text with its TeX as HTML, which needs no script and is text to a screen reader."""
    parts = text.split("$")
    return "".join(_formula(part) if i % 2 else escape(part) for i, part in enumerate(parts))


def _formula(tex: str) -> str:
    r"""Return the HTML of a formula of letters, signs, indices and powers.

    Raises:
        ValueError: If it has a command that is not among `SIGNS`.

    >>> _formula(r"d_{\rm in}/N_w\eta^2")
    '<i>d</i><sub>in</sub>/<i>N</i><sub><i>w</i></sub><i>η</i><sup>2</sup>'
    """

    def html(found: re.Match[str]) -> str:
        script, braced, single, upright, command, letter, other = found.groups()
        if script:
            tag = {"_": "sub", "^": "sup"}[script]
            return f"<{tag}>{_formula(braced or single)}</{tag}>"
        if command and command not in SIGNS:
            raise ValueError(f"a table knows no \\{command}; it knows {', '.join(SIGNS)}")
        italic = SIGNS[command] if command else letter
        return f"<i>{italic}</i>" if italic else upright or escape(other)

    return _TOKEN.sub(html, tex)


def _plain(text: str) -> str:
    r"""Return text whose TeX a terminal can show.

    >>> _plain(r"$|w_{\rm NI}|$ over $\sigma_\epsilon$")
    '|w_NI| over sigma_eps'
    """

    def plain(tex: re.Match[str]) -> str:
        return re.sub(r"\\rm |[\\{}]", "", tex[1].replace(r"\epsilon", "eps"))

    return re.sub(r"\$(.+?)\$", plain, text)
