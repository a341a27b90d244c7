"""The tables of speed: what `make bench` has printed, number by number."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nin.companion.benchmarks import read_benchmarks

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
PRINTED = """A processor, torch 2.0, commit 123abc, 2026-01-01T00:00 UTC

fig1: three layers; 6 measurements each
              samples/s/core         min - max     GB   / plain   MB   / plain
bound                  5,084    4,654 -  5,127   0.70     1.000   2.0    1.100
nin R=4                4,748    4,290 -4,953     1.05     0.934   2.1    1.155
memory is not a
bound.
second: another
              ms/step
plain           33.30
"""


def test_a_printed_table_is_read_with_its_title_its_notes_and_where_it_was_made() -> None:
    first, second = read_benchmarks(PRINTED)
    assert (first.title, second.title) == (
        "fig1: three layers; 6 measurements each", "second: another",
    )  # fmt: skip
    assert (first.notes, second.notes) == ("memory is not a bound.", "")
    assert first.made == second.made == PRINTED.splitlines()[0]
    heads = ["samples/s/core", "min - max", "GB", "/ plain", "MB", "MB / plain"]
    assert list(first.columns) == heads
    assert first.columns["min - max"] == {"bound": "4,654 – 5,127", "nin R=4": "4,290 – 4,953"}
    assert first.number("samples/s/core", "nin R=4") == 4748
    assert first.number("MB / plain", "nin R=4") == 1.155
    assert first.table("speed", "loop").columns["loop"] == ["bound", "nin R=4"]


def test_a_row_that_lacks_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a number under each of .* not 'nin   5'"):
        read_benchmarks("title\n   a  b\nnin   5\n\n")


@pytest.mark.parametrize(("name", "least"), [("measured.txt", 150), ("measured_gpu.txt", 60)])
def test_no_measured_number_is_lost_on_the_way_to_the_page(name: str, least: int) -> None:
    text = (BENCHMARKS / name).read_text(encoding="utf8")
    tables = [found.table("x", "of") for found in read_benchmarks(text)]
    shown = " ".join(f"{t.caption} {t!r}" for t in tables)
    numbers = re.compile(r"\d(?:[\d,.]*\d)?")
    assert len(numbers.findall(text)) > least
    assert not set(numbers.findall(text)) - set(numbers.findall(shown))
