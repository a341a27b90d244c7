"""Many runs: load those on record, train the others, spread over cores or a cluster."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
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
    process of its own with one thread, which is the fastest way to use the cores.

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
    wanted = dict.fromkeys(experiments)
    todo = [e for e in wanted if recompute or load(e, folder) is None]
    if todo:
        _check_writable(folder)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        workers = min(workers or cores or 1, len(todo))
        if executor is None and workers == 1:
            for e in tqdm(todo, unit="run", disable=hide_bar(progress) or len(todo) == 1):
                save(run(e, progress=progress), folder)
        else:
            _distribute(todo, folder, executor, workers, progress)
    records = {e: load(e, folder) for e in wanted}
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


def run(experiment: Experiment, *, progress: bool | None = None, device: str = "cpu") -> RunRecord:
    """Train one experiment on Fashion-MNIST, without touching any record."""
    data = _data(experiment.scaling, experiment.split_seed).to(device)
    made = provenance(device)
    start = time.perf_counter()
    [history] = train(
        [experiment.network().to(device)],
        data,
        loss=experiment.criterion(),
        eta=experiment.eta,
        batch_size=experiment.batch_size,
        epochs=experiment.epochs,
        seeds=[experiment.seed],
        precision=experiment.precision,
        evaluations=experiment.evaluations,
        progress=progress,
    )
    made["seconds"] = round(time.perf_counter() - start, 1)
    return RunRecord(experiment, history, made)


def _distribute(
    todo: list[Experiment],
    folder: Path,
    executor: Executor | None,
    workers: int,
    progress: bool | None,
) -> None:
    """Run on an executor; end its processes at once if interrupted or if a run fails."""
    own = executor is None
    if executor is None:
        spawn = multiprocessing.get_context("spawn")  # fork is not safe beside torch's threads
        executor = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_start_worker)
    futures = [executor.submit(_run_and_save, e, str(folder)) for e in todo]
    try:
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
                process.terminate()
        raise
    finally:
        if own:
            executor.shutdown(cancel_futures=True)


def _run_and_save(experiment: Experiment, folder: str) -> str:
    torch.set_num_threads(1)
    return str(save(run(experiment, progress=False), Path(folder)))


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
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
