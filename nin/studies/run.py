"""Runs on record: load those that are there, train the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from nin.folders import RESULTS
from nin.runs.history import History
from nin.studies.arrays import history_arrays, history_of
from nin.studies.experiments import Experiment
from nin.studies.records import Made, MissingRecordError, write_record
from nin.studies.resume import State
from nin.studies.study import (
    Shelf,
    alike,
    check_writable,
    independent,
    kept,
    measured,
    train_runs,
)
from nin.studies.sweep import device_of, kept_all

RUNS = Shelf(RESULTS, "", may_make=False)
LOCKSTEP_RUNS = 16
"""Runs in lock-step on a GPU: more fill it no better, and a kill loses them all."""


@dataclass(frozen=True)
class RunRecord:
    """A run: what was asked, what came, and how.

    Attributes:
        experiment: The configuration.
        history: The course of the run.
        made: How it was made.
    """

    experiment: Experiment
    history: History
    made: Made


def run_path(experiment: Experiment, folder: Path = RESULTS) -> Path:
    """Return where an experiment's record lies, or shall lie."""
    return folder / f"{_stem(experiment)}-{experiment.key}.npz"


def run_or_load(
    experiments: Sequence[Experiment],
    *,
    recompute: bool = False,
    folder: str | Path = RESULTS,
    executor: Executor | None = None,
    workers: int | None = None,
    progress: bool | None = None,
) -> list[RunRecord]:
    """Return the record of each experiment, training those that have none.

    On a CPU every run is a process of its own with one thread; on a GPU, runs that differ in noise
    and seed only train in lock-step.

    Args:
        experiments: What to run.
        recompute: Whether to train even what is on record, replacing it.
        folder: Where the records lie.
        executor: As for `nin.studies.sweep.spread`.
        workers: Processes at once; default: one per core, at most one per run.
        progress: Whether to show a bar; default: on a terminal or in a notebook, not in CI.

    Returns:
        The records, in the order of `experiments`.

    Raises:
        RecordError: If a record is damaged or the folder cannot be written.
        KeyboardInterrupt: On Ctrl-C; what had ended is on record.
    """
    shelf = Shelf(
        Path(folder), "", True, recompute, executor=executor, workers=workers, progress=progress
    )
    return run_records(experiments, shelf)


def run_records(experiments: Sequence[Experiment], shelf: Shelf) -> list[RunRecord]:
    """Return the record of each experiment; see `run_or_load`."""
    if shelf.may_make and device_of(shelf.executor) != "cpu":
        groups: dict[Experiment, list[Experiment]] = {}
        look = dataclasses.replace(shelf, may_make=False)
        for e in dict.fromkeys(experiments):
            try:  # a damaged one stops this before anything trains
                run_record(e, look)
            except MissingRecordError:
                groups.setdefault(alike(e), []).append(e)
        parts = [
            tuple(group[i : i + LOCKSTEP_RUNS])
            for group in groups.values()
            for i in range(0, len(group), LOCKSTEP_RUNS)
        ]
        kept_all(_in_lockstep, parts, dataclasses.replace(shelf, workers=1))
        shelf = dataclasses.replace(shelf, recompute=False, may_make=False)
    return kept_all(run_record, experiments, shelf)


def run_record(e: Experiment, shelf: Shelf) -> RunRecord:
    """Return an experiment's record, training it if there is none."""
    state = State(shelf.path(_stem(e), e), e)
    train = partial(_train, e, shelf.progress, state)
    return kept(_stem(e), e, train, partial(_record, e), shelf, state)


def recorded(experiments: Sequence[Experiment], page: str) -> list[History]:
    """Return the runs of a figure page that are on record.

    Args:
        experiments: The runs.
        page: The page that trains them, such as ``"figures/fig3_phases_ce"``.

    Raises:
        MissingRecordError: If a run is not on record.
    """
    shelf = Shelf(RESULTS, page.rpartition("/")[2], may_make=False)
    return [record.history for record in kept_all(run_record, experiments, shelf)]


def on_record(experiments: Sequence[Experiment], shelf: Shelf) -> list[History]:
    """Return the runs that are on record, and train none.

    Raises:
        RecordError: If a record is damaged.
    """
    paths = [run_path(e, shelf.folder) for e in experiments]
    there = [e for e, path in zip(experiments, paths, strict=True) if path.exists()]
    return [record.history for record in kept_all(run_record, there, shelf)]


def run_seeds(
    strengths: Sequence[Experiment], seeds: Sequence[int], shelf: Shelf
) -> dict[Experiment, list[RunRecord]]:
    """Run each experiment with each seed, all in one sweep.

    Args:
        strengths: Experiments that differ in sigma_eps, say; their own seeds are not used.
        seeds: Seeds of the runs.
        shelf: Where the records lie, and how to make them.

    Returns:
        The records over seeds, by experiment.

    Raises:
        ValueError: If there is no experiment or no seed, or a seed is named twice.
    """
    if not strengths:
        raise ValueError("nothing to run: give at least one noise strength")
    seeds = independent(seeds)
    grid = [dataclasses.replace(e, seed=s) for e in strengths for s in seeds]
    records = run_records(grid, shelf)
    n = len(seeds)
    return {e: records[i * n : (i + 1) * n] for i, e in enumerate(strengths)}


def _stem(e: Experiment) -> str:
    return f"{e.loss}-depth{e.depth}-K{e.K:.4g}-seed{e.seed}"


def _train(e: Experiment, progress: bool | None, state: State) -> dict[str, ArrayLike]:
    _, [history] = train_runs([e], progress=progress, state=state)
    return history_arrays(history)


def _in_lockstep(part: tuple[Experiment, ...], shelf: Shelf) -> list[RunRecord]:
    """Return some records, training those that are missing together; each has one of its own."""
    todo, found = [], {}
    for e in part:
        try:
            found[e] = run_record(e, dataclasses.replace(shelf, may_make=False))
        except MissingRecordError:
            if not shelf.may_make:
                raise
            todo.append(e)
    if todo:
        state = State(shelf.path("lockstep", todo), todo)
        check_writable(shelf.folder)
        with measured(state) as made:
            _, courses = train_runs(todo, progress=shelf.progress, state=state)
        made["lockstep"] = len(todo)
        made["seconds"] = round(float(made["seconds"]) / len(todo), 1)
        for e, history in zip(todo, courses, strict=True):
            write_record(run_path(e, shelf.folder), e, made, history_arrays(history))
            found[e] = RunRecord(e, history, made)
        state.drop()
    return [found[e] for e in part]


def _record(e: Experiment, arrays: dict[str, Any]) -> RunRecord:
    return RunRecord(e, history_of(arrays), arrays["made"])
