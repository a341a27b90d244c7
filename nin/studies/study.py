"""What every study shares: training an experiment, and keeping what came of it on record."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import ArrayLike
from torch import nn

from nin.folders import how_to_make
from nin.networks.data import CLASSES, SIDE, Dataset, load
from nin.networks.loop_stack import MakeOptimizer
from nin.networks.training import Observer, train
from nin.runs.history import History
from nin.studies.experiments import Experiment
from nin.studies.records import (
    Made,
    MissingRecordError,
    RecordError,
    provenance,
    read_record,
    record_key,
    write_record,
)
from nin.studies.resume import State, train_in_legs

T = TypeVar("T")
_DAY = 86_400.0  # seconds
_LEFT = {"partial": _DAY, "probe": _DAY, "seen": _DAY, "state": 30 * _DAY}  # and when it is stale


@dataclass(frozen=True)
class Shelf:
    """Where the records of a study lie, and what may be done to have them: the same for all.

    Attributes:
        folder: Where the records lie.
        page: The figure page that makes them, such as ``"fig1_decay"``.
        may_make: Whether to make what is not on record; else that is an error.
        recompute: Whether to make even what is on record. A recomputation that was stopped goes on
            where it was.
        executor: Any `concurrent.futures` executor; default: processes on this machine.
        workers: Processes at once; default: one per core.
        progress: Whether to show a bar; default: on a terminal or in a notebook, not in CI.
        since: When the recomputation began, in seconds of the clock; older records are stale.
    """

    folder: Path
    page: str
    may_make: bool = True
    recompute: bool = False
    executor: Executor | None = field(default=None, repr=False)
    workers: int | None = None
    progress: bool | None = None
    since: float | None = None

    def __post_init__(self) -> None:
        """Let the folder be the same one wherever a process stands.

        Raises:
            ValueError: If no process at all is to work.
        """
        if self.workers is not None and self.workers < 1:
            raise ValueError(
                f"workers must be >= 1, not {self.workers}: leave it out for one per core"
            )
        object.__setattr__(self, "folder", Path(self.folder).expanduser().absolute())

    def is_stale(self, when: float) -> bool:
        """Tell whether what was made at this time is to be made again."""
        return self.recompute and (self.since is None or when < self.since)

    def path(self, stem: str, asked: object) -> Path:
        """Return where a record lies; see `kept`."""
        return self.folder / f"{stem}-{record_key(asked)}.npz"

    def refuse(self, what: object, path: Path) -> MissingRecordError:
        """Return the error of a record that is not there and may not be made."""
        return MissingRecordError(f"{what}; {how_to_make(self.page)}", path)


def independent(seeds: Sequence[int]) -> list[int]:
    """Return the seeds of runs that are to count as independent.

    Raises:
        ValueError: If there is none, or one is named twice.
    """
    found = [int(seed) for seed in seeds]
    if not found or len(set(found)) < len(found):
        raise ValueError(f"seeds must be one or more, each named once, not {found}")
    return found


def train_runs(
    runs: Sequence[Experiment],
    data: Dataset | None = None,
    *,
    epochs: int | None = None,
    evaluations: int | None = None,
    observer: Observer | None = None,
    optimizer: MakeOptimizer | None = None,
    state: State | None = None,
    device: str | None = None,
    progress: bool | None = None,
    models: Sequence[nn.Module] | None = None,
) -> tuple[list[nn.Module], list[History]]:
    """Train experiments that differ in noise and seed only, in lock-step.

    Args:
        runs: Alike in all but `sigma_eps`, `seed`, `noise` and `fixed`.
        data: What to train on; default `images_of` the experiment.
        epochs: In place of the experiment's.
        evaluations: In place of the experiment's; 0 for none.
        observer: Sees the networks at the steps that it names.
        optimizer: In place of plain SGD at the experiment's eta, see `nin.train`; without a state,
            which has none of it.
        state: Where to keep what a run of minutes has come to, and to go on from; without an
            observer, which would have missed what was before.
        device: Where to train; default `default_device`.
        progress: Whether to show a bar.
        models: The networks, where they are more than the experiments say; they are trained.

    Returns:
        The trained networks, on the CPU, and their histories.

    Raises:
        ValueError: If the experiments differ in anything else, or an observer or
            an optimiser comes with a state.
    """
    if state is not None and observer is not None:
        raise ValueError("what an observer has seen is in no state: leave one of them out")
    if state is not None and optimizer is not None:
        raise ValueError("what an optimiser has come to is in no state: leave one of them out")
    if len({alike(e) for e in runs}) != 1:
        raise ValueError("only runs that differ in noise and seed alone train in lock-step")
    e, device = runs[0], device or default_device()
    data = images_of(e) if data is None else data
    models = [run.network() for run in runs] if models is None else models
    models = [model.to(device) for model in models]
    options: dict[str, Any] = {
        "loss": e.criterion(),
        "eta": e.eta if optimizer is None else None,
        "optimizer": optimizer,
        "batch_size": e.batch_size,
        "epochs": e.epochs if epochs is None else epochs,
        "seeds": [run.seed for run in runs],
        "precision": e.precision,
        "evaluations": e.evaluations if evaluations is None else evaluations,
        "progress": progress,
    }
    with one_thread():
        if state is None:
            histories = train(models, data.to(device), observer=observer, **options)
        else:
            histories = train_in_legs(models, data.to(device), state, **options)
    return [model.cpu() for model in models], histories


def kept(
    stem: str,
    asked: object,
    make: Callable[[], Mapping[str, ArrayLike]],
    parse: Callable[[dict[str, Any]], T],
    shelf: Shelf,
    state: State | None = None,
) -> T:
    """Return what a record holds; make it, on one thread, if there is none.

    Args:
        stem: How the record's name begins, for people; its hash follows.
        asked: All that it depends on: a dataclass, or what JSON has. A record that answers another
            question is never believed.
        make: Returns the arrays by name.
        parse: Takes them, and ``"made"``, how they were made.
        shelf: Where the record lies, and whether it may be made.
        state: What `make` keeps while it trains; see `train_runs`.

    Raises:
        MissingRecordError: If it is not there and may not be made.
        RecordError: If it is damaged, is of something else, or cannot be written.
    """
    path = shelf.path(stem, asked)
    if not path.exists() or shelf.is_stale(path.stat().st_mtime):
        if not shelf.may_make:
            raise shelf.refuse(f"{path} is missing", path)
        check_writable(shelf.folder)
        with measured(state) as made:
            arrays = make()
        write_record(path, asked, made, arrays)
        if state is not None:
            state.drop()
    return read_record(path, asked, parse)


def read_rows(stem: str, asked: object, shelf: Shelf) -> dict[str, Any]:
    """Return the columns of a record that grows by rows, and ``"made"``; nothing if there is none.

    Args:
        stem: As for `kept`.
        asked: As for `kept`.
        shelf: As for `kept`.

    Raises:
        RecordError: If it is damaged, or is of something else.
    """
    path = shelf.path(stem, asked)
    return read_record(path, asked, dict) if path.exists() else {}


def add_rows(
    stem: str, asked: object, by: str, rows: Mapping[str, ArrayLike], made: Made, shelf: Shelf
) -> dict[str, Any]:
    """Add rows to a record that grows, and return all of it.

    Several processes may do so at once: each in turn reads what is there, adds, and writes.

    Args:
        stem: As for `kept`.
        asked: As for `kept`.
        by: The column that names a row; a new row takes the place of an old one of that name.
        rows: Columns of new rows, of one length.
        made: How they were made; their ``"seconds"`` are added to those on record.
        shelf: As for `kept`.

    Raises:
        RecordError: As for `kept`.
    """
    path = shelf.path(stem, asked)
    with in_turn(shelf.folder):
        old = read_rows(stem, asked, shelf)
        columns = {name: np.atleast_1d(values) for name, values in rows.items()}
        if old:
            seconds = float(old["made"]["seconds"]) + float(made["seconds"])
            made = made | {"seconds": round(seconds, 1)}
            stays = ~np.isin(old[by], columns[by])
            columns = {n: np.concatenate([old[n][stays], new]) for n, new in columns.items()}
        write_record(path, asked, made, columns)
    return columns | {"made": made}


def together(made: Sequence[Made]) -> Made:
    """Return how several records were made: as the last of them, in the seconds of all."""
    return made[-1] | {"seconds": sum(float(m["seconds"]) for m in made)}


def alike(e: Experiment) -> Experiment:
    """Return what runs must share to train in lock-step."""
    return replace(e, sigma_eps=0.0, seed=0, noise="gaussian", fixed=False)


def bare(e: Experiment, **changes: Any) -> Experiment:
    """Return an experiment whose epochs and evaluations are of no account, as it is asked for."""
    return replace(e, **{"epochs": 1, "evaluations": 1} | changes)


def default_device() -> str:
    """Return where to train: on a GPU if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


@lru_cache(maxsize=2)
def images(
    scaling: str = "std", split_seed: int = 0, d_in: int = SIDE**2, d_out: int = CLASSES
) -> Dataset:
    """Return Fashion-MNIST, read and verified once per process; see `load`."""
    return load(scaling, None, split_seed, d_in, d_out)


def images_of(e: Experiment) -> Dataset:
    """Return the images of an experiment."""
    return images(e.scaling, e.split_seed, e.d_in, e.d_out)


@contextmanager
def measured(state: State | None = None) -> Iterator[Made]:
    """Note how something is made, on one thread, and once it is made, in how many seconds.

    Args:
        state: Of an earlier process that made a part of it, whose seconds count.
    """
    with one_thread():
        made, begun = provenance(default_device()), time.perf_counter()
        yield made
    before = state.seconds if state is not None else 0.0  # known once it has been loaded
    made["seconds"] = round(before + time.perf_counter() - begun, 1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch use one thread: with more, the order of sums, and so the bits, may differ."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def in_turn(folder: Path) -> FileLock:
    """Return the lock under which processes change a folder in turn; a kill frees it."""
    return FileLock(folder / ".lock")


def check_writable(folder: Path) -> None:
    """Fail before the training, not after it; take away what killed processes left long ago.

    Raises:
        RecordError: If no file can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = folder / f".probe-{os.getpid()}"
        trial.touch()
        now = trial.stat().st_mtime  # by the clock of the disk
        trial.unlink()
        for name, age in _LEFT.items():
            for left in folder.glob(f".{name}-*"):
                with suppress(FileNotFoundError):  # another process does the same
                    if left.stat().st_mtime < now - age:
                        left.unlink()
    except OSError as error:
        raise RecordError(
            f"cannot write records to {folder}: {error}. Name another folder or change its rights."
        ) from error
