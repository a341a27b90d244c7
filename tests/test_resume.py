"""Runs of minutes: kept while they train, and the same to the bit after any kill."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from test_sweep import HANG

from nin.runs.history import History
from nin.studies import resume
from nin.studies.arrays import history_arrays
from nin.studies.experiments import FIG1, Experiment
from nin.studies.records import source_hash
from nin.studies.resume import State
from nin.studies.run import run_record, run_records
from nin.studies.study import Shelf, check_writable, train_runs

TINY = dataclasses.replace(FIG1, width=8, depth=1, batch_size=1000, epochs=4, evaluations=2).at(0.1)
LOST = dataclasses.replace(TINY, sigma_eps=3e4)


@pytest.fixture(autouse=True)
def short_legs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each leg is the shortest there is: an epoch."""
    monkeypatch.setattr(resume, "LEG", 1e-9)


def assert_same(one: History, two: History) -> None:
    a, b = history_arrays(one), history_arrays(two)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize(
    "runs",
    [
        [TINY],
        [dataclasses.replace(TINY, precision="bf16")],
        [dataclasses.replace(TINY, evaluations=1, fixed=True), dataclasses.replace(TINY, seed=1)],
        [dataclasses.replace(TINY, epochs=1)],
    ],
    ids=["one", "bf16", "two in lock-step", "one epoch"],
)
def test_legs_give_the_bits_of_one_go(runs: list[Experiment], tmp_path: Path) -> None:
    runs = [dataclasses.replace(e, evaluations=runs[0].evaluations) for e in runs]
    state = State(tmp_path / "record.npz", runs)
    models, histories = train_runs(runs, state=state)
    expected_models, expected = train_runs(runs)
    for one, two in zip(histories, expected, strict=True):
        assert_same(one, two)
    for one, two in zip(models, expected_models, strict=True):
        for name, value in one.state_dict().items():
            np.testing.assert_array_equal(value, two.state_dict()[name])


def test_a_run_that_diverges_in_one_leg_is_left_out_of_the_next(tmp_path: Path) -> None:
    runs = [TINY, LOST, dataclasses.replace(LOST, seed=1)]
    _, expected = train_runs(runs)
    steps = [h.diverged_step for h in expected]
    assert steps[0] is None and None not in steps[1:], steps
    _, histories = train_runs(runs, state=State(tmp_path / "record.npz", runs))
    for one, two in zip(histories, expected, strict=True):
        assert_same(one, two)


def _run(folder: Path) -> None:
    run_record(TINY, Shelf(folder, ""))


def test_a_run_killed_again_and_again_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    fork, rng = multiprocessing.get_context("fork"), random.Random(0)
    state, done = State(tmp_path / f"{TINY.key}.npz", TINY), 0
    for _ in range(4):
        run = fork.Process(target=_run, args=(tmp_path,))
        run.start()
        begun = time.monotonic()
        while (now := epochs_kept(tmp_path)) <= done and run.is_alive():
            assert time.monotonic() - begun < HANG
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.02))
        os.kill(run.pid or 0, signal.SIGKILL)
        run.join()
        now = epochs_kept(tmp_path)
        assert now >= done, "what was kept is kept"
        done = now
    assert state.seconds == 0
    record = run_record(TINY, Shelf(tmp_path, ""))
    _, [expected] = train_runs([TINY])
    assert_same(record.history, expected)
    assert [path.suffix for path in tmp_path.iterdir() if "partial" not in path.name] == [".npz"]


def epochs_kept(folder: Path) -> int:
    """The epochs in the state that lies in a folder; all where the record is there already."""
    if list(folder.glob("*.npz")):
        return TINY.epochs
    for path in folder.glob(".state-*"):
        with np.load(path) as file:
            return int(file["epochs"])
    return 0


def interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Train two epochs, as if killed then; return the file of the state."""
    real, legs = resume.train, []

    def two_legs(*arguments: object, **options: object) -> list[History]:
        if len(legs) == 2:
            raise KeyboardInterrupt
        legs.append(1)
        return real(*arguments, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(resume, "train", two_legs)
        with pytest.raises(KeyboardInterrupt):
            run_record(TINY, Shelf(folder, ""))
    [path] = folder.glob(".state-*")
    return path


def test_a_state_is_gone_on_from_and_its_seconds_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = interrupted(tmp_path, monkeypatch)
    begun = []
    real = resume.train
    monkeypatch.setattr(
        resume, "train", lambda *a, **o: begun.append(o["first_epoch"]) or real(*a, **o)
    )
    state = State(tmp_path / f"{path.name.removeprefix('.state-')}.npz", TINY)
    state.load([TINY.network()], "cpu")
    record = run_record(TINY, Shelf(tmp_path, ""))
    assert begun == list(range(2, TINY.epochs))
    assert 0 < state.seconds <= float(record.made["seconds"]) + 0.05  # it is rounded
    assert not path.exists()


@pytest.mark.parametrize("damage", ["cut", "another package", "another question"])
def test_a_state_that_is_no_use_is_not_used(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = interrupted(tmp_path, monkeypatch)
    e = TINY
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif damage == "another package":
        monkeypatch.setattr("nin.studies.records.source_hash", lambda: "other")
        assert source_hash() != "other"
    else:
        e = dataclasses.replace(TINY, seed=5)
        path.rename(path.with_name(f".state-{Shelf(tmp_path, '').path(stem(e), e).stem}"))
    record = run_record(e, Shelf(tmp_path, ""))
    _, [expected] = train_runs([e])
    assert_same(record.history, expected)


def stem(e: Experiment) -> str:
    return f"{e.loss}-depth{e.depth}-K{e.K:.4g}-seed{e.seed}"


def test_what_killed_processes_left_long_ago_is_taken_away(tmp_path: Path) -> None:
    now = time.time()
    ages = {".partial-a": 2, ".probe-1": 2, ".seen-b": 2, ".state-c": 40, ".state-d": 2}
    for name, days in (ages | {".partial-e": 0.5}).items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (now - days * 86_400,) * 2)
    check_writable(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".partial-e", ".state-d"]


def test_an_observer_or_an_optimiser_cannot_be_resumed(tmp_path: Path) -> None:
    class Nothing:
        steps = ()

        def see(self, *_: object) -> None: ...

    with pytest.raises(ValueError, match="what an observer has seen is in no state"):
        train_runs([TINY], observer=Nothing(), state=State(tmp_path / "a.npz", TINY))
    with pytest.raises(ValueError, match="what an optimiser has come to is in no state"):
        train_runs([TINY], optimizer=torch.optim.Adam, state=State(tmp_path / "a.npz", TINY))


def test_runs_of_a_sweep_resume_each_for_itself(tmp_path: Path) -> None:
    asked = [TINY, dataclasses.replace(TINY, seed=1)]
    found = run_records(asked, Shelf(tmp_path, "", workers=1))
    _, expected = train_runs(asked)
    for record, history in zip(found, expected, strict=True):
        assert_same(record.history, history)
