"""Many at once: the one pool, and records of which those that are missing are made in it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing.connection import wait
from typing import TypeVar

from tqdm.auto import tqdm

from nin.networks.training import hide_bar
from nin.studies.recomputation import recomputation
from nin.studies.records import MissingRecordError, record_key
from nin.studies.study import Shelf

Item = TypeVar("Item")
T = TypeVar("T")


def kept_all(one: Callable[[Item, Shelf], T], items: Sequence[Item], shelf: Shelf) -> list[T]:
    """Return what is on record of each item, making what is missing side by side.

    Each record is written as it is made, so a study that is stopped at any moment, even killed,
    loses at most what is in flight, and the same call goes on from there.

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
        on_record = replace(shelf, may_make=False)
        found: dict[Item, T] = {}
        for item in dict.fromkeys(items):
            try:
                found[item] = one(item, on_record)
            except MissingRecordError:
                if not shelf.may_make:
                    raise
        todo = [item for item in dict.fromkeys(items) if item not in found]
        alone = replace(shelf, executor=None, progress=shelf.progress if len(todo) == 1 else False)
        spread(
            partial(_make, one, alone),
            todo,
            executor=shelf.executor,
            workers=shelf.workers,
            progress=shelf.progress,
        )
        found |= {item: one(item, on_record) for item in todo}
    return [found[item] for item in items]


def spread(
    call: Callable[[Item], T],
    items: Sequence[Item],
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    progress: bool | None = None,
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
        executor: Any `concurrent.futures` executor, such as Dask's
            ``Client(address).get_executor()``; default: processes on this machine.
        workers: Processes at once; default: one per core.
        progress: Whether to show a bar; default: on a terminal or in a notebook, not in CI.

    Returns:
        What the calls return, in the order of `items`.
    """
    workers = min(workers or _cores(), len(items))
    if executor is None and workers <= 1:
        hide = True if len(items) == 1 else hide_bar(progress)  # one alone has a bar of its own
        return [call(item) for item in tqdm(items, unit="run", disable=hide)]
    own, others = executor is None, multiprocessing.active_children()
    if executor is None:
        fresh = multiprocessing.get_context("spawn")  # fork is not safe beside torch's threads
        executor = ProcessPoolExecutor(workers, mp_context=fresh, initializer=_start_worker)
    futures = []
    try:
        with _ctrl_c_blocked():  # the workers inherit that, and so are deaf from the first moment
            futures += [executor.submit(call, item) for item in items]
        with tqdm(total=len(items), unit="run", disable=hide_bar(progress)) as bar:
            for future in as_completed(futures):
                future.result()
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


def _make(one: Callable[[Item, Shelf], object], shelf: Shelf, item: Item) -> None:
    """Make one record, and send nothing back: it is read from its file."""
    one(item, shelf)


def _cores() -> int:
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return here or 1


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
