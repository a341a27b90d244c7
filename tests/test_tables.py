"""A table says the same as HTML, as CSV and in a terminal."""

from __future__ import annotations

import csv
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from nin.companion.tables import Cell, Table

TABLE = Table(
    "peaks",
    r"Two runs, $K < 2$ & more.",
    {
        "kind": ["fixed", "anew, noisy"],
        "seed": [0, 1],
        r"$|w_{\rm NI}|$": [(0.4501, 0.021), (5123.4, 33.0)],
        "loss": [3.678e16, float("nan")],
    },
    heads=2,
)


class Read(HTMLParser):
    """What cells say, of each kind, and where links lead."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.kinds: list[str] = []
        self.says: list[str] = []
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag in {"caption", "th", "td"}:
            self.kinds.append(found.get("scope") or tag)
            self.says.append("")
        self.links += [found["href"] or ""] if tag == "a" else []

    def handle_data(self, data: str) -> None:
        if self.says:
            self.says[-1] += data.strip("\n")

    def of(self, kind: str) -> list[str]:
        return [text for found, text in zip(self.kinds, self.says, strict=True) if found == kind]


def test_every_cell_reaches_the_page_and_heads_name_rows_and_columns() -> None:
    read = Read(TABLE._repr_html_())
    assert read.of("caption") == ["Two runs, K < 2 & more."]
    assert read.of("col") == ["kind", "seed", "|wNI|", "loss"]
    assert read.of("row") == ["fixed", "0", "anew, noisy", "1"]
    assert read.of("td")[:3] == ["0.450 ± 0.021", "3.68 × 10¹⁶", "5123 ± 33"]


def test_the_link_holds_the_csv_which_reads_back() -> None:
    [link] = Read(TABLE._repr_html_()).links
    head, data = link.split(",", 1)
    assert head == "data:text/csv;charset=utf-8" and unquote(data) == TABLE.csv()
    heads, first, second = csv.reader(TABLE.csv().splitlines())
    assert heads == ["kind", "seed", "|w_NI|", "|w_NI|, error", "loss"]
    assert first == ["fixed", "0", "0.4501", "0.021", "3.678e+16"]
    assert second == ["anew, noisy", "1", "5123.4", "33", "nan"]


def test_a_terminal_shows_the_cells_of_the_page_in_columns() -> None:
    lines = repr(TABLE).split("\n")
    assert len(lines) == 3
    words = ("|w_NI|", "0.450", "5123")
    assert len({line.index(word) for line, word in zip(lines, words, strict=True)}) == 1


@pytest.mark.parametrize("columns", [{"a": [1], "b": [1, 2]}, {"a": []}])
def test_a_ragged_or_empty_table_is_refused(columns: dict[str, list[int]]) -> None:
    with pytest.raises(ValueError, match="columns of one length"):
        Table("t", "No table.", columns)


@pytest.mark.parametrize("columns", [{"": [1, 2]}, {"strength": [0.5, ""], "gain": [1, 2]}])
def test_a_column_or_row_without_a_name_is_refused(columns: dict[str, list[Cell]]) -> None:
    with pytest.raises(ValueError, match="a name for each column and row"):
        Table("x", "X.", columns)


def test_a_command_that_tables_do_not_know_is_named() -> None:
    with pytest.raises(ValueError, match=r"a table knows no \\frac; it knows alpha"):
        Table("t", r"$\frac 1 2$", {"a": [1]})._repr_html_()
