"""Sealed record files: what was asked, what came of it, how it was made, and that all is whole.

A record is one ``.npz`` file without pickle: arrays, and a JSON text ``meta`` that states the
format, what was asked and how it was made, sealed by a SHA-256 over all of it. Its name ends in the
hash of what was asked, by which it is found again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from nin.folders import PACKAGE

FORMAT = 1
"""Raise it when a change of the training loop makes old records wrong: all are made anew."""
Made = dict[str, str | int | float]
"""How a record was made: versions, commit, device, threads, seconds, UTC time."""
T = TypeVar("T")


class RecordError(RuntimeError):
    """A record is damaged or cannot be written; the message names it and says what to do."""


class MissingRecordError(RecordError):
    """A record, or a part of it, is not there and may not be made.

    Attributes:
        path: Where it lies, or would lie.
    """

    def __init__(self, says: str, path: Path) -> None:  # noqa: D107
        super().__init__(says)
        self.path = path

    def __reduce__(self) -> tuple[type, tuple[str, Path]]:
        """Let a process send it to another."""
        return type(self), (str(self), self.path)


def record_key(asked: object) -> str:
    """Return what identifies a question: 16 hexadecimal digits of its hash.

    The order of fields is of no account. A field of a dataclass at its default is not hashed,
    unless the class names it in ``ALWAYS_IN_KEY``, so a field added later leaves old keys alone.

    Args:
        asked: All that the record depends on: a dataclass, or what JSON has.

    >>> record_key({"a": 1, "b": 2.0}) == record_key({"b": 2.0, "a": 1})
    True
    """
    text = json.dumps([FORMAT, _hashed(asked)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_record(
    path: Path,
    asked: object,
    made: Made,
    arrays: Mapping[str, np.typing.ArrayLike],
    *,
    compress: bool = True,
) -> None:
    """Write a sealed record file, all of it or nothing.

    Args:
        path: The file; one of that name is replaced.
        asked: What the record is of, as for `record_key`.
        made: How it was made.
        arrays: By name; numbers become arrays of no axis.
        compress: Whether to take the time to make it small.

    Raises:
        RecordError: If it cannot be written there. The record is then kept in the system's folder
            for temporary files, if there is room, and the message says where.
    """
    meta = {"format": FORMAT, "kind": _kind(asked), "asked": _plain(asked), "made": made}
    sealed = {name: np.asarray(values) for name, values in arrays.items()}
    sealed["meta"] = np.array(json.dumps(meta, sort_keys=True))
    content = io.BytesIO()
    save = np.savez_compressed if compress else np.savez
    save(content, sha256=np.array(_seal(sealed)), **sealed)  # type: ignore[arg-type]
    try:
        write_whole(path, content.getvalue())
    except OSError as error:
        rescue = Path(tempfile.gettempdir()) / path.name
        try:
            write_whole(rescue, content.getvalue())
            kept = f"It is kept as {rescue}: make room, move it there, and say the same again."
        except OSError:
            kept = "Make room and say the same again: only this one is made anew."
        raise RecordError(f"cannot write the record {path}: {error}. {kept}") from error


def read_record(path: Path, asked: object, parse: Callable[[dict[str, Any]], T]) -> T:
    """Read a sealed record file and make of its arrays what `parse` does.

    Args:
        path: The file.
        asked: What the record must be of.
        parse: Takes the arrays by name, and ``"made"``; if it fails, the file is damaged.

    Raises:
        RecordError: If it cannot be read, is truncated or was edited, or answers another question.
    """
    try:
        content = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise RecordError(f"cannot read the record {path}: {error}") from error
    try:
        with np.load(content, allow_pickle=False) as file:
            arrays: dict[str, Any] = dict(file)
        seal = str(arrays.pop("sha256"))
        if seal != _seal(arrays):
            raise ValueError("its content does not match its checksum")
        meta = json.loads(str(arrays.pop("meta")))
        if meta.get("format") != FORMAT:
            raise ValueError(f"its format is {meta.get('format', 'not stated')}, not {FORMAT}")
        ours = meta["kind"] == _kind(asked) and _answers(asked, meta["asked"])
        found = parse(arrays | {"made": meta["made"]}) if ours else None
    except Exception as error:  # a damaged byte can mislead numpy, zip and JSON in any way
        raise RecordError(
            f"the record {path} is damaged ({error}): restore it, or delete it to make it anew"
        ) from error
    if not ours:
        raise RecordError(
            f"{path} is the record of something else ({meta['kind']}), under the name of what was "
            "asked: restore it, or delete it to make it anew"
        )
    return found  # type: ignore[return-value]


def provenance(device: str) -> Made:
    """Describe how what begins here and now on `device` is made."""
    import torch  # noqa: PLC0415  (seconds, and who reads a record may do without)

    return {
        "device": torch.cuda.get_device_name(device) if device != "cpu" else _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "commit": _commit(),
        "source": source_hash(),
        "utc": str(np.datetime64("now")),
    }


@lru_cache(maxsize=1)
def source_hash() -> str:
    """Return 16 hexadecimal digits of a hash of the package's source, whatever git knows of it."""
    digest = hashlib.sha256()
    files = PACKAGE.rglob("*")
    for source in sorted(f for f in files if f.suffix in (".py", ".mplstyle")):
        digest.update(source.relative_to(PACKAGE.parent).as_posix().encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _kind(asked: object) -> str:
    return type(asked).__name__


def _plain(asked: object) -> Any:
    """Return a question as JSON has it, dataclasses as dictionaries of all their fields."""
    if dataclasses.is_dataclass(asked) and not isinstance(asked, type):
        return {f.name: _plain(getattr(asked, f.name)) for f in dataclasses.fields(asked)}
    if isinstance(asked, Mapping):
        return {str(name): _plain(value) for name, value in asked.items()}
    if isinstance(asked, list | tuple):
        return [_plain(value) for value in asked]
    return asked.item() if isinstance(asked, np.generic) else asked


def _hashed(asked: object) -> Any:
    """Return the part of `_plain` that is hashed."""
    if dataclasses.is_dataclass(asked) and not isinstance(asked, type):
        always = getattr(asked, "ALWAYS_IN_KEY", ())
        values = {f: getattr(asked, f.name) for f in dataclasses.fields(asked)}
        return {f.name: _hashed(v) for f, v in values.items() if f.name in always or v != f.default}
    if isinstance(asked, Mapping):
        return {str(name): _hashed(value) for name, value in asked.items()}
    if isinstance(asked, list | tuple):
        return [_hashed(value) for value in asked]
    return _plain(asked)


def _answers(asked: object, stored: Any) -> bool:
    """Tell whether a record answers this; fields that it does not know are at their default."""
    if dataclasses.is_dataclass(asked) and not isinstance(asked, type):
        values = {f: getattr(asked, f.name) for f in dataclasses.fields(asked)}
        return set(stored) <= {f.name for f in values} and all(
            _answers(v, stored[f.name]) if f.name in stored else v == f.default
            for f, v in values.items()
        )
    return bool(_plain(asked) == stored)


def _seal(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 over names, types, shapes and bytes of all arrays."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        a = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {a.dtype.str} {a.shape} ".encode())
        digest.update(a.tobytes())
    return digest.hexdigest()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole: under another name first, on the disk before it is renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


@lru_cache(maxsize=1)
def _commit() -> str:
    """Return the commit of the package as it was first asked for, marked if it was changed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    root = PACKAGE.parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=root, env=clean, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root:
            return "unknown"  # an export that lies in another repository
        changed = "-dirty" if git("status", "--porcelain", "--", PACKAGE.name) else ""
        return git("rev-parse", "--short", "HEAD") + changed
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    """Return the processor's name."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf8")
        return text.split("model name", 1)[1].split(":", 1)[1].split("\n", 1)[0].strip()
    except (OSError, IndexError):
        return platform.processor() or platform.machine()
