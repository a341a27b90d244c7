"""Many runs: load those on record, train the others, spread over cores or a cluster."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from nin.data import Dataset
from nin.data import load as load_data
from nin.experiments import Experiment
from nin.records import RESULTS, RecordError, RunRecord, load, provenance, record_path, save
from nin.training import hide_bar, train

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


def train_together(
    experiments: Sequence[Experiment], *, device: str = "cpu", progress: bool | None = None
) -> list[RunRecord]:
    """Train experiments that differ in noise and seed only in lock-step, without any record.

    Args:
        experiments: Alike in all but `sigma_eps`, `seed`, `noise` and `fixed`.
        device: Where to train.
        progress: Whether to show a bar.

    Returns:
        A record for each; ``made["seconds"]`` is its share of the time.

    Raises:
        ValueError: If the experiments differ in anything else.
    """
    if len({_lockstep_group(e) for e in experiments}) != 1:
        raise ValueError("only runs that differ in noise and seed alone train in lock-step")
    e = experiments[0]
    data = _data(e.scaling, e.split_seed).to(device)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # with more, the summation order, and so the bits, depend on the cores
    try:
        made = provenance(device)
        start = time.perf_counter()
        histories = train(
            [x.network().to(device) for x in experiments],
            data,
            loss=e.criterion(),
            eta=e.eta,
            batch_size=e.batch_size,
            epochs=e.epochs,
            seeds=[x.seed for x in experiments],
            precision=e.precision,
            evaluations=e.evaluations,
            progress=progress,
        )
    finally:
        torch.set_num_threads(threads)
    made["seconds"] = round((time.perf_counter() - start) / len(experiments), 1)
    if len(experiments) > 1:
        made["lockstep"] = len(experiments)
    return [RunRecord(x, h, made) for x, h in zip(experiments, histories, strict=True)]


def _lockstep_group(e: Experiment) -> Experiment:
    """Return what runs must share to train in lock-step."""
    return dataclasses.replace(e, sigma_eps=0.0, seed=0, noise="gaussian", fixed=False)


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


@lru_cache(maxsize=1)
def _data(scaling: str, split_seed: int) -> Dataset:
    """Return Fashion-MNIST, read once per process."""
    return load_data(scaling, split_seed=split_seed)


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
