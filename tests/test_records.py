"""Run records: exact, self-describing, whole or named as damaged."""

from __future__ import annotations

import dataclasses
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nin.runs.history import History
from nin.studies import records
from nin.studies.experiments import FIG3, Experiment
from nin.studies.records import RecordError, provenance, read_record, write_record
from nin.studies.run import RunRecord, history_arrays, history_of, run_path

ROOT = Path(__file__).resolve().parents[1]
OTHER = dataclasses.replace(FIG3, seed=1)


def history(steps: int = 300, diverged_step: int | None = None) -> History:
    rng = np.random.default_rng(0)

    def values(n: int) -> np.ndarray:
        return rng.lognormal(size=n).astype(np.float32)

    return History(
        steps_per_epoch=42,
        step=np.arange(steps),
        loss=values(steps),
        accuracy=values(steps),
        norms={"w_ni": values(steps), "layers.0.weight": values(steps)},
        eval_step=np.array([0, 1, steps]),
        train_loss=values(3),
        train_accuracy=values(3),
        val_loss=np.array([2.0, 1.0, np.inf], np.float32),
        val_accuracy=values(3),
        diverged_step=diverged_step,
        last_finite_loss=float(np.float64(1) / 3),
    )


def a_record(experiment: Experiment = FIG3, **options: int) -> RunRecord:
    return RunRecord(experiment, history(**options), {"device": "a processor", "seconds": 1.5})


def assert_equal(a: RunRecord, b: RunRecord) -> None:
    assert (a.experiment, a.made) == (b.experiment, b.made)
    for name, value in vars(a.history).items():
        other = getattr(b.history, name)
        if isinstance(value, dict):
            assert set(value) == set(other)
            pairs = [(v, other[k]) for k, v in value.items()]
        else:
            pairs = [(value, other)]
        for x, y in pairs:
            np.testing.assert_array_equal(x, y, strict=isinstance(x, np.ndarray))


def save(record: RunRecord, folder: Path) -> Path:
    path = run_path(record.experiment, folder)
    write_record(path, record.experiment, record.made, history_arrays(record.history))
    return path


def load(experiment: Experiment, folder: Path) -> RunRecord:
    def parse(arrays: dict[str, Any]) -> RunRecord:
        return RunRecord(experiment, history_of(arrays), arrays["made"])

    return read_record(run_path(experiment, folder), experiment, parse)


# ---- whole


@pytest.mark.parametrize("diverged_step", [None, 300])
def test_a_record_comes_back_exactly(tmp_path: Path, diverged_step: int | None) -> None:
    record = RunRecord(FIG3, history(diverged_step=diverged_step), {"seconds": 0.1})
    assert save(record, tmp_path) == run_path(FIG3, tmp_path)
    assert_equal(load(FIG3, tmp_path), record)


def test_a_run_without_a_finite_loss_comes_back(tmp_path: Path) -> None:
    empty = dataclasses.replace(history(steps=0), diverged_step=0, last_finite_loss=float("nan"))
    save(RunRecord(FIG3, empty, {}), tmp_path)
    loaded = load(FIG3, tmp_path)
    assert len(loaded.history.loss) == 0 and np.isnan(loaded.history.last_finite_loss)


def test_a_new_record_replaces_the_old(tmp_path: Path) -> None:
    save(a_record(steps=10), tmp_path)
    save(a_record(steps=20), tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    assert len(load(FIG3, tmp_path).history.step) == 20


def test_numpy_and_json_alone_can_read_a_record(tmp_path: Path) -> None:
    path = save(a_record(), tmp_path)
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    meta = json.loads(str(arrays["meta"]))
    assert (meta["format"], meta["kind"]) == (1, "Experiment")
    assert meta["asked"] == dataclasses.asdict(FIG3)
    assert meta["made"] == {"device": "a processor", "seconds": 1.5}
    assert arrays["steps_per_epoch"] == 42 and arrays["last_finite_loss"] == 1 / 3
    np.testing.assert_array_equal(arrays["norm/w_ni"], history().w_ni)
    np.testing.assert_array_equal(arrays["loss"], history().loss)
    assert not any(a.dtype.hasobject for a in arrays.values())


def test_a_run_says_how_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made = provenance("cpu")
    names = {"device", "threads", "torch", "numpy", "python", "commit", "source", "utc"}
    assert set(made) == names
    assert all(made.values())
    assert provenance("cpu") | {"utc": ""} == made | {"utc": ""}
    monkeypatch.setenv("PATH", "")  # a machine without git
    records._commit.cache_clear()
    assert provenance("cpu")["commit"] == "unknown"
    records._commit.cache_clear()


# ---- damaged


def assert_named_as_damaged(path: Path) -> None:
    with pytest.raises(RecordError) as caught:
        load(FIG3, path.parent)
    assert f"the record {path} is damaged" in str(caught.value)
    assert "restore it, or delete it to make it anew" in str(caught.value)


@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999])
def test_a_truncated_record_is_named(tmp_path: Path, share: float) -> None:
    path = save(a_record(), tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert_named_as_damaged(path)


def test_one_flipped_bit_is_named_or_leaves_all_values_as_they_were(tmp_path: Path) -> None:
    path = save(a_record(), tmp_path)
    content = path.read_bytes()
    whole = load(FIG3, tmp_path)
    places = np.random.default_rng(0).integers(len(content) * 8, size=400)
    harmless = 0
    for byte, bit in (divmod(int(place), 8) for place in places):
        damaged = bytearray(content)
        damaged[byte] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            found = load(FIG3, tmp_path)
        except RecordError as error:
            assert str(path) in str(error)
        else:
            harmless += 1  # in the archive's own notes, such as a file's date
            assert_equal(found, whole)
    assert harmless < 120  # those notes are a fifth of this small file


@pytest.mark.parametrize(
    ("kind", "where"), [("compression", 10), ("encryption", 8), ("signature", 0)]
)
def test_a_flip_that_misleads_the_archive_reader_is_named(
    tmp_path: Path, kind: str, where: int
) -> None:
    path = save(a_record(), tmp_path)
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")  # the first of the archive's directory
    content[entry + where] ^= 1
    path.write_bytes(content)
    assert_named_as_damaged(path)


@pytest.mark.parametrize("name", ["loss", "step", "norm/w_ni", "meta"])
def test_an_edited_record_is_named(tmp_path: Path, name: str) -> None:
    path = save(a_record(), tmp_path)
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    if name == "meta":
        arrays[name] = np.array(str(arrays[name]).replace("0.01", "0.02"))
    else:
        arrays[name][7] = np.nextafter(np.float32(arrays[name][7]), np.float32(0))
    np.savez_compressed(path, **arrays)
    assert_named_as_damaged(path)


def test_an_added_or_missing_array_is_named(tmp_path: Path) -> None:
    path = save(a_record(), tmp_path)
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    np.savez_compressed(path, **arrays, extra=np.zeros(3))
    assert_named_as_damaged(path)
    del arrays["loss"]
    np.savez_compressed(path, **arrays)
    assert_named_as_damaged(path)


def test_a_file_that_is_no_record_is_named(tmp_path: Path) -> None:
    path = run_path(FIG3, tmp_path)
    for content in (b"<html>", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"\x80\x04N."):
        path.write_bytes(content)
        assert_named_as_damaged(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "no array")
    assert_named_as_damaged(path)


def test_a_record_under_another_runs_name_is_refused(tmp_path: Path) -> None:
    path = run_path(OTHER, tmp_path)
    shutil.move(save(a_record(FIG3), tmp_path), path)
    with pytest.raises(RecordError, match=f"{path} is the record of something else"):
        load(OTHER, tmp_path)


def test_a_record_that_cannot_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"cannot read the record .*No such file"):
        load(FIG3, tmp_path)


# ---- written whole or not at all

KILLED_WRITER = """
import os, pathlib, random, signal, sys, time
from nin.studies.records import write_whole
path, parent = pathlib.Path(sys.argv[1]), os.getpid()
content = path.read_bytes()
for round in range(12):
    before = path.stat().st_mtime_ns
    writer = os.fork()
    if writer == 0:
        while os.getppid() == parent:
            write_whole(path, content)
        os._exit(0)
    while path.stat().st_mtime_ns == before:  # until it has written once, and writes again
        time.sleep(0.001)
    time.sleep(random.Random(round).uniform(0, 0.04))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
"""


def test_killing_the_writer_at_any_moment_leaves_no_damaged_record(tmp_path: Path) -> None:
    path = save(a_record(steps=50_000), tmp_path)  # a megabyte: a write in place would show
    content = path.read_bytes()
    command = [sys.executable, "-c", KILLED_WRITER, str(path)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=600)  # seconds, for a hang: it takes ten
    assert path.read_bytes() == content
    assert [p.name for p in tmp_path.glob("*.npz")] == [path.name]


def test_a_full_disk_is_one_clear_error_and_leaves_the_old_record(tmp_path: Path) -> None:
    path = save(a_record(steps=10), tmp_path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # the new record needs 40 kB
    try:
        with pytest.raises(RecordError) as caught:
            save(a_record(steps=3000), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"cannot write the record {path}" in str(caught.value)
    assert "Make room and say the same again" in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_a_record_that_cannot_be_written_in_its_folder_is_kept_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked, rescue = tmp_path / "results", tmp_path / "temporary"
    blocked.touch()  # a file where the folder should be: not even root can write into it
    rescue.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(rescue))
    with pytest.raises(RecordError, match=r"cannot write the record .* It is kept as ") as caught:
        save(a_record(), blocked)
    [kept] = rescue.iterdir()
    assert str(kept) in str(caught.value)
    blocked.unlink()
    blocked.mkdir()
    shutil.move(kept, blocked)  # as the message says
    loaded = load(FIG3, blocked)
    assert_equal(loaded, a_record())


# ---- the key

CHANGES: dict[str, object] = {
    "sigma_eps": 1.0,
    "seed": 1,
    "loss": "mse",
    "eta": 0.02,
    "batch_size": 999,
    "epochs": 151,
    "depth": 2,
    "width": 1023,
    "activation": "tanh",
    "layer": "layers.1",
    "fixed": True,
    "noise": "uniform",
    "bias": False,
    "init": "truncated",
    "niw_fan_in": "node",
    "mse_norm": "sum",
    "scaling": "variance",
    "split_seed": 1,
    "precision": "bf16",
    "evaluations": 9,
    "d_in": 196,
    "d_out": 9,
}


def test_the_key_changes_with_every_field_and_only_with_them() -> None:
    assert set(CHANGES) == {f.name for f in dataclasses.fields(Experiment)}
    varied = [dataclasses.replace(FIG3, **{k: v}) for k, v in CHANGES.items()]  # type: ignore[arg-type]
    assert len({e.key for e in [FIG3, *varied]}) == len(CHANGES) + 1
    assert dataclasses.replace(FIG3).key == FIG3.key
    assert dataclasses.replace(FIG3, sigma_eps=1).key == varied[0].key  # 1 and 1.0 are one number


def test_the_key_is_the_one_that_committed_records_bear() -> None:
    assert run_path(FIG3).name == "ce-depth1-K0-seed0-3ea8537d007c5135.npz"
