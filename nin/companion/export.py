"""Verdicts and run records in formats that need no Python: JSON and CSV."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nin.companion.claims.ledger import Claim
from nin.folders import RESULTS


def export_verdicts(folder: Path, claims: Sequence[Claim]) -> None:
    """Write ``verdicts.json`` and ``verdicts.csv``: claims with their findings.

    Args:
        folder: Where to; it is made if need be.
        claims: Such as `nin.companion.claims.ledger.ledger`.
    """
    said = ("id", "words", "place", "page")
    rows = []
    for c in claims:
        over = {"grid": c.finding.grid, "worst": str(c.finding.worst or "")}
        rows.append({name: getattr(c, name) for name in said} | asdict(c.finding) | over)
    _write(folder / "verdicts", rows, but=("cells",))


def export_records(folder: Path, results: Path = RESULTS) -> int:
    """Write ``records.json`` and ``.csv``, a row per record, and its arrays below ``records/``.

    A row has what was asked, how the record was made, and the name of its file of arrays. Numbers
    that JSON does not know are written as words: ``"nan"``, ``"inf"``, ``"-inf"``.

    Args:
        folder: Where to; it is made if need be.
        results: Folder of the run records.

    Returns:
        How many records there are.

    Raises:
        ValueError: If there is no record.
    """
    paths = sorted(results.rglob("*.npz"))
    if not paths:
        raise ValueError(f"there are no records in {results}: python -m nin run makes one")
    rows = []
    for path in paths:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name not in ("meta", "sha256")}
            meta = json.loads(str(file["meta"]))
        name = path.relative_to(results).with_suffix(".json")
        rows.append({"file": f"records/{name.as_posix()}", **_flat(meta)})
        content = {key: values.tolist() for key, values in arrays.items()}
        _write_json(folder / "records" / name, meta | {"arrays": content})
    _write(folder / "records", rows)
    return len(rows)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a tree of mappings as one, its keys joined by dots; lists stay.

    >>> _flat({"asked": {"seed": 0}, "kind": "Experiment"})
    {'asked.seed': 0, 'kind': 'Experiment'}
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat


def _write(stem: Path, rows: Sequence[Mapping[str, Any]], but: Sequence[str] = ()) -> None:
    """Write rows as JSON and as CSV, whose columns are the keys in the order of their coming.

    Args:
        stem: Of the two files.
        rows: The rows.
        but: Keys that have no column.
    """
    _write_json(stem.with_suffix(".json"), rows)
    heads = [key for key in dict.fromkeys(k for row in rows for k in row) if key not in but]
    with stem.with_suffix(".csv").open("w", encoding="utf8", newline="") as file:
        writer = csv.DictWriter(file, heads, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_words(content), indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(f"{text}\n", encoding="utf8")


def _words(content: Any) -> Any:
    """Return content with the numbers that JSON lacks as words."""
    if isinstance(content, Mapping):
        return {key: _words(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_words(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return str(content)
    return content
