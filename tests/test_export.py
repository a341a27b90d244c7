"""What is exported reads back as what it came from, without Python's own formats."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from nin.__main__ import main
from nin.companion.claims.finding import Finding, Verdict
from nin.companion.claims.ledger import Claim
from nin.companion.export import export_records, export_verdicts
from nin.folders import RESULTS

NAN = float("nan")
FOUND = Finding(Verdict.REPRODUCED, "It is, says |B|.", 0.5, 0.1, 3, "share, of all")
FAILED = Finding(Verdict.NOT_COMPUTED, "No record.", NAN, NAN, 0, "")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_claim_has_its_finding_in_both_formats(tmp_path: Path) -> None:
    claims = [
        Claim("C1", 'The "first", of two', "Sec. 1", "phases", lambda: FOUND),
        Claim("C2", "The second", "Sec. 2", "phases", lambda: FAILED),
    ]
    export_verdicts(tmp_path / "new", claims)
    first, second = json.loads((tmp_path / "new" / "verdicts.json").read_text(encoding="utf8"))
    assert first["id"] == "C1" and first["verdict"] == "reproduced" and first["value"] == 0.5
    assert second["verdict"] == "not computed" and second["value"] == "nan"
    read = rows(tmp_path / "new" / "verdicts.csv")
    assert [row["words"] for row in read] == ['The "first", of two', "The second"]
    assert float(read[0]["err"]) == 0.1 and math.isnan(float(read[1]["value"]))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """One run that diverged, and one record of another kind in a folder of its own."""
    some = [next(RESULTS.glob("mse-depth1-K50-*.npz")), next((RESULTS / "walks").glob("*.npz"))]
    for path in some:
        copy = tmp_path / "results" / path.relative_to(RESULTS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return tmp_path / "results"


def test_every_array_of_a_record_reads_back_to_the_last_bit(results: Path, tmp_path: Path) -> None:
    assert export_records(tmp_path / "out", results) == 2
    for path in results.rglob("*.npz"):
        name = (tmp_path / "out" / "records" / path.relative_to(results)).with_suffix(".json")
        content = json.loads(name.read_text(encoding="utf8"))
        with np.load(path) as file:
            assert set(content["arrays"]) == set(file.files) - {"meta", "sha256"}
            for key, values in content["arrays"].items():
                if np.issubdtype(file[key].dtype, np.number):
                    read = np.array(values, dtype=float).astype(file[key].dtype)
                    np.testing.assert_array_equal(read, file[key])


def test_the_index_has_a_row_per_record_with_what_was_asked_and_how_it_was_made(
    results: Path, tmp_path: Path
) -> None:
    export_records(tmp_path / "out", results)
    table = rows(tmp_path / "out" / "records.csv")
    assert len(table) == 2 == len(json.loads((tmp_path / "out" / "records.json").read_text()))
    [run] = [row for row in table if row["kind"] == "Experiment"]
    assert run["asked.loss"] == "mse" and run["made.commit"]
    assert all((tmp_path / "out" / row["file"]).is_file() for row in table)


def test_where_there_is_no_record_one_line_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tmp_path / "out"), "--results", str(tmp_path)]) == 2
    assert "there are no records in" in capsys.readouterr().err
