"""Many at once: the one pool, and records of which those that are missing are made in it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import TypeVar

from tqdm.auto import tqdm

from nin.networks.training import hide_bar
from nin.studies.away import Parcel, make_there, seen_by_workers, take_in
from nin.studies.recomputation import recomputation
from nin.studies.records import MissingRecordError, record_key, source_hash
from nin.studies.study import Shelf, default_device

Item = TypeVar("Item")
T = TypeVar("T")
_ROUNDS = 2  # one more for what another process changed while a worker elsewhere was adding to it


def kept_all(one: Callable[[Item, Shelf], T], items: Sequence[Item], shelf: Shelf) -> list[T]:
    """Return what is on record of each item, making what is missing side by side.

    Each record is written as it is made, so a study that is stopped at any moment, even killed,
    loses at most what is in flight, and the same call goes on from there. A worker of the shelf's
    executor that sees the folder writes there; one that does not sends its records back.

    Args:
        one: Reads or makes one, by `kept`; at the top of a module, so that a process finds it.
        items: What is asked for, hashable: dataclasses, say, or tuples of them.
        shelf: Where the records lie, and how to make them.

    Raises:
        MissingRecordError: If one is missing and may not be made.
        RecordError: If one is damaged, or the folder cannot be written.
        KeyboardInterrupt: On Ctrl-C; what had ended is on record.
    """
    with recomputation(shelf, record_key([repr(item) for item in items])) as shelf:
        found: dict[Item, T] = {}
        look = replace(shelf, may_make=False)
        for _ in range(_ROUNDS):
            todo = _look(one, items, look, found, raises=not shelf.may_make)
            _make_all(one, todo, shelf)
            look = replace(look, recompute=False)  # a worker's clock may be slow
        _look(one, items, look, found, raises=True)
    return [found[item] for item in items]


def spread(
    call: Callable[[Item], T],
    items: Sequence[Item],
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    progress: bool | None = None,
    receive: Callable[[Item, T], object] | None = None,
) -> list[T]:
    """Call a function on each item, in processes or over any executor, in no set order.

    On a CPU a process of its own with one thread for each is the fastest way to use the cores, and
    makes its bits independent of how many there are. If one call fails, or on Ctrl-C, the others
    are ended at once.

    A script that calls this, rather than a notebook, does so under ``if __name__ == "__main__":``,
    since each process starts by importing the script.

    Args:
        call: What to call; at the top of a module, or a partial of such.
        items: Its arguments.
        executor: Any `concurrent.futures` executor, such as `nin.studies.away.cluster`; default:
            processes on this machine.
        workers: Processes at once; default: one per core.
        progress: Whether to show a bar; default: on a terminal or in a notebook, not in CI.
        receive: Called here with an item and its result as soon as that comes from an executor.

    Returns:
        What the calls return, in the order of `items`.
    """
    if not items:
        return []
    workers = min(workers or _cores(), len(items))
    if executor is None and workers <= 1:
        hide = True if len(items) == 1 else hide_bar(progress)  # one alone has a bar of its own
        return [call(item) for item in tqdm(items, unit="run", disable=hide)]
    own, others = executor is None, multiprocessing.active_children()
    if executor is None:
        fresh = multiprocessing.get_context("spawn")  # fork is not safe beside torch's threads
        executor = ProcessPoolExecutor(workers, mp_context=fresh, initializer=_start_worker)
    futures: dict[Future[T], Item] = {}
    try:
        with _ctrl_c_blocked():  # the workers inherit that, and so are deaf from the first moment
            for item in items:
                futures[executor.submit(call, item)] = item
        with tqdm(total=len(items), unit="run", disable=hide_bar(progress)) as bar:
            for future in as_completed(futures):
                result = future.result()
                if receive is not None:
                    receive(futures[future], result)
                bar.update()
        return [future.result() for future in futures]
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


def _look(
    one: Callable[[Item, Shelf], T],
    items: Sequence[Item],
    shelf: Shelf,
    found: dict[Item, T],
    raises: bool,
) -> dict[Item, Path]:
    """Add what is on record to what was found; return what is not, and where it would lie."""
    todo = {}
    for item in dict.fromkeys(items):
        try:
            if item not in found:
                found[item] = one(item, shelf)
        except MissingRecordError as error:
            if raises:
                raise
            todo[item] = error.path
    return todo


def _make_all(
    one: Callable[[Item, Shelf], object], todo: Mapping[Item, Path], shelf: Shelf
) -> None:
    """Make records side by side."""
    alone = replace(shelf, executor=None, progress=shelf.progress if len(todo) == 1 else False)
    if shelf.executor is None:
        make = partial(_make, one, alone)
        spread(make, list(todo), workers=shelf.workers, progress=shelf.progress)
    elif todo:
        with seen_by_workers(shelf.folder) as mark:
            spread(
                partial(make_there, one, alone, mark, source_hash()),
                [Parcel(item, path) for item, path in todo.items()],
                executor=shelf.executor,
                progress=shelf.progress,
                receive=take_in,
            )


def _make(one: Callable[[Item, Shelf], object], shelf: Shelf, item: Item) -> None:
    """Make one record, and send nothing back: it is read from its file."""
    one(item, shelf)


def device_of(executor: Executor | None) -> str:
    """Return where the workers of an executor train, by one of them; None: here."""
    return default_device() if executor is None else executor.submit(default_device).result()


def _cores() -> int:
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return here or 1


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):  # Windows: a worker that starts may hear it
        yield
        return
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
