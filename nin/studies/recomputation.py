"""Making again what is on record, so that a recomputation that was stopped goes on where it was."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from nin.studies.study import Shelf, check_writable, in_turn

_DONE: dict[Path, tuple[float, set[str]]] = {}  # by folder: since when, and what is done


@contextmanager
def recomputation(shelf: Shelf, what: str) -> Iterator[Shelf]:
    """Yield the shelf with the time at which its recomputation began: now, or before it was killed.

    What is under way is noted in the folder, and gone from there when it ends. The same call after
    a kill finds it, and makes nothing again that is younger than the beginning.

    Args:
        shelf: One that recomputes; any other is yielded as it is.
        what: Names what is recomputed.
    """
    if not shelf.recompute:
        yield shelf
        return
    check_writable(shelf.folder)
    folder = shelf.folder.resolve()
    begun, done = _DONE.get(folder, (0.0, set[str]()))
    with in_turn(folder):
        noted, under_way = _under_way(folder)
        if under_way and noted != begun:  # another process began it
            begun, done = noted, set()
        elif not under_way and (what in done or not begun):
            begun, done = time.time(), set()
        _note(folder, begun, under_way | {what})
    _DONE[folder] = begun, done
    yield replace(shelf, since=begun)
    done.add(what)
    with in_turn(folder):
        _note(folder, begun, _under_way(folder)[1] - {what})


def _under_way(folder: Path) -> tuple[float, set[str]]:
    """Return when a recomputation began, and what of it has not ended."""
    try:
        noted = json.loads((folder / ".recomputing").read_text(encoding="utf8"))
    except (OSError, ValueError):  # none, or killed while it was written
        return 0.0, set()
    return noted["begun"], set(noted["open"])


def _note(folder: Path, begun: float, under_way: set[str]) -> None:
    note = folder / ".recomputing"
    if under_way:
        text = json.dumps({"begun": begun, "open": sorted(under_way)})
        note.write_text(text, encoding="utf8")
    else:
        note.unlink(missing_ok=True)
