"""Sweeps: what is on record is not trained again, and nothing that ended is lost."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from nin.studies.experiments import FIG3
from nin.studies.records import RecordError
from nin.studies.run import run_or_load, run_path, run_seeds
from nin.studies.study import Shelf, train_runs

ROOT = Path(__file__).resolve().parents[1]
TINY = dataclasses.replace(FIG3, width=8, epochs=1, evaluations=1)
RUNS = [dataclasses.replace(TINY, sigma_eps=s) for s in (1.0, 2.0, 3.0)]
HANG = 600  # seconds; imports alone take several, and minutes on a busy machine


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npz")}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the records of `RUNS`; read it only."""
    folder = tmp_path_factory.mktemp("done")
    run_or_load(RUNS, folder=folder, workers=1)
    return folder


@pytest.fixture
def copied(done: Path, tmp_path: Path) -> Path:
    for path in done.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


# ---- in one process


def test_records_come_in_the_order_asked_even_if_asked_twice(done: Path) -> None:
    asked = [RUNS[2], RUNS[0], RUNS[2]]
    records = run_or_load(asked, folder=done)
    assert [r.experiment for r in records] == asked
    assert len(list(done.iterdir())) == 3


def test_what_is_on_record_is_not_trained_again(copied: Path) -> None:
    before = times(copied)
    run_or_load(RUNS, folder=copied)
    assert times(copied) == before
    more = dataclasses.replace(TINY, sigma_eps=4.0)
    run_or_load([*RUNS, more], folder=copied)
    after = times(copied)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {run_path(more).name}


def test_recompute_trains_again_with_the_same_bits(copied: Path) -> None:
    before, [old] = times(copied), run_or_load(RUNS[:1], folder=copied)
    [new] = run_or_load(RUNS[:1], folder=copied, recompute=True)
    name = run_path(RUNS[0]).name
    assert {n for n, t in times(copied).items() if t != before[n]} == {name}
    np.testing.assert_array_equal(new.history.loss, old.history.loss)
    np.testing.assert_array_equal(new.history.w_ni, old.history.w_ni)


def test_an_executor_of_ones_own_gives_the_same_bits(done: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as executor:
        records = run_or_load(RUNS, folder=tmp_path, executor=executor)
        assert executor.submit(int).result() == 0  # it is not shut down: it belongs to the caller
    for record, expected in zip(records, run_or_load(RUNS, folder=done), strict=True):
        np.testing.assert_array_equal(record.history.loss, expected.history.loss)


def test_lock_step_gives_the_bits_of_a_run_alone(done: Path) -> None:
    _, histories = train_runs(RUNS, progress=False)
    for history, expected in zip(histories, run_or_load(RUNS, folder=done), strict=True):
        np.testing.assert_array_equal(history.loss, expected.history.loss)
        np.testing.assert_array_equal(history.val_loss, expected.history.val_loss)


def test_seeds_are_grouped_by_strength(copied: Path) -> None:
    runs = run_seeds(RUNS[:2], [0, 1], Shelf(copied, "", workers=1))
    assert list(runs) == RUNS[:2]
    for e, records in runs.items():
        assert [r.experiment for r in records] == [dataclasses.replace(e, seed=s) for s in (0, 1)]
    with pytest.raises(ValueError, match="at least one noise strength"):
        run_seeds([], [0], Shelf(copied, ""))
    for seeds in ([], [0, 0]):
        with pytest.raises(ValueError, match="seeds must be one or more, each named once"):
            run_seeds(RUNS, seeds, Shelf(copied, ""))


def test_a_damaged_record_stops_the_sweep_before_it_trains(copied: Path) -> None:
    path = run_path(RUNS[1], copied)
    path.write_bytes(path.read_bytes()[:-9])
    before = times(copied)
    with pytest.raises(RecordError, match=f"the record {path} is damaged"):
        run_or_load([dataclasses.replace(TINY, sigma_eps=5.0), *RUNS], folder=copied)
    assert times(copied) == before


def test_recompute_replaces_a_damaged_record(copied: Path) -> None:
    path = run_path(RUNS[1], copied)
    path.write_bytes(b"")
    run_or_load(RUNS[1:2], folder=copied, recompute=True)
    assert run_or_load(RUNS[1:2], folder=copied)[0].experiment == RUNS[1]


def test_a_folder_that_cannot_be_written_is_named_before_training(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.touch()  # a file where the folder should be: not even root can write into it
    with pytest.raises(RecordError, match=f"cannot write records to {folder}: .*Name another"):
        run_or_load(RUNS, folder=folder)


def test_the_sweep_shows_no_bar_where_there_is_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CI", raising=False)
    run_or_load(RUNS[:2], folder=tmp_path, workers=1)
    assert capsys.readouterr().err == ""


def test_runs_spread_where_signals_cannot_be_blocked(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, which has no masks of signals and no affinity of processes."""
    monkeypatch.delattr(signal, "pthread_sigmask")
    monkeypatch.delattr(os, "sched_getaffinity")
    records = run_or_load(RUNS[:2], folder=tmp_path, workers=2)
    for record, expected in zip(records, run_or_load(RUNS[:2], folder=done), strict=True):
        np.testing.assert_array_equal(record.history.loss, expected.history.loss)


# ---- killed and interrupted

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="the processes are found in /proc"
)


@contextmanager
def sweeping(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a sweep by two workers from the command line, in a process group of its own."""
    command = [sys.executable, "-m", "nin", "sweep", "--results", str(folder), "--workers", "2"]
    small = ["--width", "8", "--evaluations", "1", "--epochs", "5"]
    strengths = ["--sigma-eps", *"123456"]
    with subprocess.Popen(
        [*command, *small, *strengths],
        cwd=ROOT,
        env=os.environ | {"CI": "true", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(what: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    end = time.monotonic() + HANG
    while not what():
        assert time.monotonic() < end, "nothing happened for many minutes"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.05)


def children(parent: int) -> dict[int, str]:
    """The processes that a process started, with their command lines."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_text()
        except OSError:  # it ended meanwhile
            continue
        if int(stat[1]) == parent and stat[0] != "Z":
            found[int(folder.name)] = command
    return found


def workers(parent: int) -> list[int]:
    return [pid for pid, command in children(parent).items() if "spawn_main" in command]


def is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@needs_proc
def test_killing_a_sweep_ends_its_workers_and_the_same_call_finishes_it(tmp_path: Path) -> None:
    with sweeping(tmp_path) as process:
        wait_until(lambda: times(tmp_path), process)
        started = list(children(process.pid))
        assert len(workers(process.pid)) == 2
        process.kill()
        wait_until(lambda: not any(is_running(pid) for pid in started))
    finished = times(tmp_path)
    assert 1 <= len(finished) < 6
    asked = [dataclasses.replace(TINY, sigma_eps=s, epochs=5) for s in range(1, 7)]
    records = run_or_load(asked, folder=tmp_path, workers=1)
    assert [r.experiment.sigma_eps for r in records] == [1, 2, 3, 4, 5, 6]
    after = times(tmp_path)
    assert len(after) == 6
    assert {name: after[name] for name in finished} == finished


@needs_proc
@pytest.mark.parametrize("records", [0, 1], ids=["while workers start", "after the first record"])
def test_ctrl_c_ends_a_sweep_with_one_message_and_keeps_the_records(
    tmp_path: Path, records: int
) -> None:
    with sweeping(tmp_path) as process:
        wait_until(
            lambda: len(workers(process.pid)) == 2 and len(times(tmp_path)) >= records, process
        )
        started = list(children(process.pid))
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: parent and workers alike
        out, err = process.communicate(timeout=HANG)
    assert process.returncode == 130
    assert err == "\ninterrupted: finished runs are on record; say the same to go on\n"
    assert out == ""
    wait_until(lambda: not any(is_running(pid) for pid in started))
    assert records <= len(times(tmp_path)) < 6


@needs_proc
def test_a_killed_worker_ends_the_sweep_with_one_message(tmp_path: Path) -> None:
    with sweeping(tmp_path) as process:
        wait_until(lambda: len(workers(process.pid)) == 2, process)
        os.kill(workers(process.pid)[0], signal.SIGKILL)
        out, err = process.communicate(timeout=HANG)
    assert (process.returncode, out) == (2, "")
    assert err.startswith("error: a worker was killed") and err.count("\n") == 1
    assert not any(p.name.startswith(".partial") for p in tmp_path.iterdir())
