"""What `make bench` has measured, as tables for the page on speed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from nin.companion.tables import Table

_MADE = re.compile(r".*, torch \S+, commit \S+, \S+ UTC")
_ROW = re.compile(r"(\S+(?: \S+)*) {2,}(\S.*)")
_VALUE = re.compile(r"[\d.,]+(?: *- *[\d.,]+)?")


@dataclass(frozen=True)
class Benchmark:
    """One of the tables that `make bench` has printed.

    Attributes:
        title: What was measured, and how often.
        made: On which processor, by which commit, when.
        columns: The printed numbers by the head of their column and the name of their row.
        notes: The sentences below the table.
    """

    title: str
    made: str
    columns: Mapping[str, Mapping[str, str]]
    notes: str

    def number(self, head: str, row: str) -> float:
        """Return a printed number; of a range, its start."""
        return float(self.columns[head][row].split()[0].replace(",", ""))

    def table(self, name: str, of: str) -> Table:
        """Return the table that a page shows.

        Args:
            name: Of its CSV file.
            of: What the rows are.
        """
        rows = list(next(iter(self.columns.values())))
        columns = {head: [by_row[row] for row in rows] for head, by_row in self.columns.items()}
        sentences = (self.title, self.notes, self.made)
        caption = ". ".join(s.rstrip(".") for s in sentences if s)
        return Table(name, f"{caption}.", {of: rows} | columns)


def read_benchmarks(text: str) -> list[Benchmark]:
    """Return the tables of ``benchmarks/measured.txt``, in their order.

    Each is a title, a line of heads that begins with a blank, rows whose cells two blanks part, and
    sentences up to the next empty line. A head that comes twice is told apart by the one before.

    Raises:
        ValueError: If a row has more or fewer numbers than the table has heads.
    """
    found: list[Benchmark] = []
    made, title = "", ""
    lines = [*text.splitlines(), ""]
    while lines:
        line = lines.pop(0)
        if _MADE.fullmatch(line):
            made = line
        elif line.startswith(" "):
            heads = re.split(r" {2,}", line.strip())
            heads = [f"{heads[i - 1]} {h}" if h in heads[:i] else h for i, h in enumerate(heads)]
            columns: dict[str, dict[str, str]] = {head: {} for head in heads}
            while row := _ROW.fullmatch(lines[0]):
                values = _VALUE.findall(row[2])
                if len(values) != len(heads):
                    raise ValueError(f"expected a number under each of {heads}, not {lines[0]!r}")
                for head, value in zip(heads, values, strict=True):
                    columns[head][row[1]] = re.sub(r" *- *", " – ", value)
                lines.pop(0)
            notes = []
            while lines[0] and not _MADE.fullmatch(lines[0]) and not lines[1].startswith(" "):
                notes.append(lines.pop(0))
            found.append(Benchmark(title, made, columns, " ".join(notes)))
        elif line:
            title = line
    return found
