"""Many runs: load those on record, train the others, spread over cores or a cluster."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from nin.networks.training import hide_bar
from nin.studies.experiment import Experiment
from nin.studies.records import RESULTS, RecordError, RunRecord, load, record_path, save
from nin.studies.study import _lockstep_group, train_together

LOCKSTEP_RUNS = 16
"""Runs in lock-step on a GPU: more fill it no better, and a kill loses them all."""


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

    Each run writes its record as it ends, so a sweep that is stopped at any moment, even killed,
    loses the runs in flight at most, and the same call goes on from there. On a CPU every run is a
    process of its own with one thread, which is the fastest way to use the cores and makes its bits
    independent of how many runs there are; on a GPU, runs that differ in noise and seed only train
    in lock-step.

    A script that calls this, rather than a notebook, does so under ``if __name__ == "__main__":``,
    since each process starts by importing the script.

    Args:
        experiments: What to run.
        recompute: Whether to train even what is on record, replacing it.
        folder: Where the records lie.
        executor: Any `concurrent.futures` executor, such as Dask's
            ``Client(address).get_executor()``; default: processes on this machine.
        workers: Processes at once; default: one per core, at most one per run.
        progress: Whether to show a bar; default: on a terminal or in a notebook, not in CI.

    Returns:
        The records, in the order of `experiments`.

    Raises:
        RecordError: If a record is damaged or the folder cannot be written.
        KeyboardInterrupt: On Ctrl-C; what had ended is on record.
    """
    folder = Path(folder)
    records = {e: None if recompute else load(e, folder) for e in experiments}
    todo = [e for e, record in records.items() if record is None]
    if todo:
        _check_writable(folder)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        workers = min(workers or cores or 1, len(todo))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        if executor is None and (workers == 1 or device != "cpu"):
            _run_on_device(todo, folder, device, progress)
        else:
            _distribute(todo, folder, executor, workers, progress)
    records |= {e: load(e, folder) for e in todo}
    missing = [record_path(e, folder).name for e, r in records.items() if r is None]
    if missing:
        raise RecordError(f"records vanished from {folder} while the sweep ran: {missing}")
    return [records[e] for e in experiments]  # type: ignore[misc]


def run_seeds(
    strengths: Sequence[Experiment], seeds: Sequence[int], **options: Any
) -> dict[Experiment, list[RunRecord]]:
    """Run each experiment with each seed, all in one sweep.

    Args:
        strengths: Experiments that differ in sigma_eps, say; their own seeds are not used.
        seeds: Seeds of the runs.
        **options: Of `run_or_load`.

    Returns:
        The records over seeds, by experiment.

    Raises:
        ValueError: If there is no experiment or no seed.
    """
    if not strengths or not seeds:
        raise ValueError("nothing to run: give at least one noise strength and one seed")
    grid = [dataclasses.replace(e, seed=s) for e in strengths for s in seeds]
    records = run_or_load(grid, **options)
    n = len(seeds)
    return {e: records[i * n : (i + 1) * n] for i, e in enumerate(strengths)}


def _run_on_device(
    todo: list[Experiment], folder: Path, device: str, progress: bool | None
) -> None:
    """Train on one device, as many runs in lock-step as go together."""
    groups: dict[Experiment, list[Experiment]] = {}
    for e in todo:
        groups.setdefault(_lockstep_group(e), []).append(e)
    together = 1 if device == "cpu" else LOCKSTEP_RUNS
    parts = [g[i : i + together] for g in groups.values() for i in range(0, len(g), together)]
    hide = True if len(parts) == 1 else hide_bar(progress)  # a run alone has a bar of its own
    for part in tqdm(parts, unit="run", disable=hide):
        for record in train_together(part, device=device, progress=progress):
            save(record, folder)


def _distribute(
    todo: list[Experiment],
    folder: Path,
    executor: Executor | None,
    workers: int,
    progress: bool | None,
) -> None:
    """Run on an executor; end its processes at once if interrupted or if a run fails."""
    own = executor is None
    others = multiprocessing.active_children()
    if executor is None:
        spawn = multiprocessing.get_context("spawn")  # fork is not safe beside torch's threads
        executor = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_start_worker)
    futures = []
    try:
        with _ctrl_c_blocked():  # the workers inherit that, and so are deaf from the first moment
            futures += [executor.submit(_run_and_save, e, str(folder)) for e in todo]
        bar = tqdm(total=len(todo), unit="run", disable=hide_bar(progress))
        for future in as_completed(futures):
            future.result()
            bar.update()
        bar.close()
    except BaseException:
        for future in futures:
            future.cancel()
        if own:
            for process in multiprocessing.active_children():
                if process not in others:
                    process.terminate()
        raise
    finally:
        if own:
            executor.shutdown(cancel_futures=True)


def _run_and_save(experiment: Experiment, folder: str) -> str:
    [record] = train_together([experiment], progress=False)
    return str(save(record, Path(folder)))


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tqdm.set_lock(threading.RLock())  # its lock between processes would be reported as leaked
    parent = multiprocessing.parent_process()
    if parent is not None:

        def follow() -> None:
            wait([parent.sentinel])
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()


def _check_writable(folder: Path) -> None:
    """Fail before the training, not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise RecordError(
            f"cannot write records to {folder}: {error}. Name another folder or change its rights."
        ) from error
