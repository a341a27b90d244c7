"""Workers elsewhere: a Dask cluster as an executor, and records that come back from it.

A worker that sees the folder of the records, as on one machine or a shared disk, writes there. One
that does not is sent what is on record, works in a folder of its own, and sends the record back.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nin.studies.records import RecordError, source_hash, write_whole
from nin.studies.study import Shelf, in_turn

PATIENCE = 30
"""Seconds in which a scheduler must answer."""
_ALONE = threading.Lock()
_GLANCE = 1.0  # seconds between two looks at whether a client still waits


@lru_cache
def cluster(address: str) -> Executor:
    """Return the workers of a Dask scheduler as an executor, the same one for the same address.

    Args:
        address: Of the scheduler, such as ``"tcp://10.0.0.1:8786"``.

    Raises:
        OSError: If no scheduler answers there.
        ValueError: If it is no address.
    """
    from distributed import Client  # noqa: PLC0415

    try:
        if not address.strip():
            raise ValueError("it is empty")
        client = Client(address, timeout=PATIENCE)
    except ValueError as error:
        raise ValueError(
            f"expected the address of a Dask scheduler, such as tcp://10.0.0.1:8786, not "
            f"{address!r}: {error}"
        ) from error
    except OSError as error:
        raise OSError(
            f"no Dask scheduler answers at {address}: start one, or look there"
        ) from error
    return client.get_executor(pure=False)


@dataclass(frozen=True)
class Parcel:
    """What is asked of a worker, with the record as it is now.

    Attributes:
        item: What is asked.
        path: Where its record lies, or shall lie.
        content: The record; None if there is none.
    """

    item: Any
    path: Path
    content: bytes | None = field(init=False, repr=False)

    def __post_init__(self) -> None:  # noqa: D105
        content = self.path.read_bytes() if self.path.exists() else None
        object.__setattr__(self, "content", content)


@contextmanager
def seen_by_workers(folder: Path) -> Iterator[str]:
    """Yield the name of a file in the folder: a worker that finds it there sees the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / f".seen-{uuid.uuid4().hex}"
    mark.touch()
    try:
        yield mark.name
    finally:
        mark.unlink(missing_ok=True)


def make_there(
    one: Callable[[Any, Shelf], object], shelf: Shelf, mark: str, source: str, parcel: Parcel
) -> dict[str, bytes]:
    """Make a record on a worker.

    Args:
        one: Makes it; see `nin.studies.sweep.kept_all`.
        shelf: Of the client.
        mark: From `seen_by_workers`.
        source: Hash of the client's package.
        parcel: What is asked.

    Returns:
        Records by name, if this worker does not see the shelf's folder.

    Raises:
        RecordError: If the worker has another version of the package.
    """
    if source_hash() != source:
        raise RecordError(
            "a worker has another version of nin than this process, and might find other numbers: "
            "install the same on both"
        )
    # PyTorch's number of threads, and so the bits, is one for all of a process: one at a time.
    with _ALONE:
        if (shelf.folder / mark).exists():
            _while_wanted(one, parcel.item, shelf)
            return {}
        # In Dask's own scratch space, which it clears after a worker that was killed
        scratch = getattr(_dask_worker(), "local_directory", None)
        with TemporaryDirectory(prefix="nin-", dir=scratch) as folder:
            here = Path(folder) / parcel.path.name
            if parcel.content is not None:
                here.write_bytes(parcel.content)
                os.utime(here, (0, 0))  # older than any recomputation
            _while_wanted(one, parcel.item, replace(shelf, folder=Path(folder)))
            return {path.name: path.read_bytes() for path in Path(folder).glob("*.npz")}


class UnwantedError(BaseException):
    """Nobody waits any longer for what this thread makes; not for `except Exception` to catch."""


def _while_wanted(one: Callable[[Any, Shelf], object], item: Any, shelf: Shelf) -> None:
    """Make a record, and end that when the client that asked for it has gone or given up.

    Dask itself forgets such a task, but lets it run to its end, for hours if need be. It is made in
    a thread of its own, which may be told to end as often as that takes: Python drops an exception
    that arrives while an object is finalised.
    """
    worker = _dask_worker()
    if worker is None:
        one(item, shelf)
        return
    key, failures = worker.get_current_task(), []

    def make() -> None:
        try:
            one(item, shelf)
        except BaseException as error:  # for the thread that waits
            failures.append(error)

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_GLANCE)
        task = worker.state.tasks.get(key)
        unwanted = task is None or task.state != "executing"
        # Once it has ended, its number may be another thread's
        if unwanted and thread.is_alive() and not _imports(thread):
            ident, error = ctypes.c_ulong(thread.ident or 0), ctypes.py_object(UnwantedError)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, error)
    if failures:
        raise failures[0]


def _imports(thread: threading.Thread) -> bool:
    """Return whether a thread imports a module, which an exception would leave half made."""
    frame = sys._current_frames().get(thread.ident or 0)
    while frame and "importlib" not in frame.f_code.co_filename:
        frame = frame.f_back
    return frame is not None


def _dask_worker() -> Any:
    """Return the Dask worker that this thread works for; None if it is not Dask's."""
    dask = sys.modules.get("distributed")
    try:
        return dask.get_worker() if dask else None
    except ValueError:
        return None


def take_in(parcel: Parcel, records: dict[str, bytes]) -> None:
    """Put records that a worker sent back where they belong.

    One that another process has changed meanwhile stays as that left it.
    """
    folder = parcel.path.parent
    for name, content in records.items():
        path = folder / name
        with in_turn(folder):
            if path != parcel.path or parcel.content == Parcel(parcel.item, path).content:
                write_whole(path, content)
