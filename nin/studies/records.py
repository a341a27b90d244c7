"""Run records: what a run was, what it gave, and the proof that the file is whole.

A record is one ``.npz`` file without pickle: the arrays of a `History` and a JSON text ``meta``
with configuration, versions, commit, device and wall time, sealed by a SHA-256 over all of it. Its
name ends in the hash of the configuration, by which it is found again.
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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from nin.runs.history import History
from nin.studies.experiment import RECORD_FORMAT, Experiment

PROJECT = Path(__file__).resolve().parents[2]
RESULTS = PROJECT / "results"
T = TypeVar("T")


class RecordError(RuntimeError):
    """A record is damaged or cannot be written; the message names it and says what to do."""


@dataclass(frozen=True)
class RunRecord:
    """A run: what was asked, what came, and how.

    Attributes:
        experiment: The configuration.
        history: The course of the run.
        made: How it was made: versions, commit, device, threads, seconds, UTC time.
    """

    experiment: Experiment
    history: History
    made: dict[str, str | int | float]


def record_path(experiment: Experiment, folder: Path = RESULTS) -> Path:
    """Return where an experiment's record lies, or shall lie."""
    e = experiment
    return folder / f"{e.loss}-depth{e.depth}-K{e.K:.4g}-seed{e.seed}-{e.key}.npz"


def provenance(device: str) -> dict[str, str | int | float]:
    """Describe how a run that begins here and now on `device` is made."""
    return {
        "device": torch.cuda.get_device_name(device) if device != "cpu" else _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "commit": _commit(),
        "utc": str(np.datetime64("now")),
    }


def save(record: RunRecord, folder: Path = RESULTS) -> Path:
    """Write a record, all of it or nothing, replacing one of the same configuration.

    Returns:
        Its path.

    Raises:
        RecordError: If it cannot be written there. The record is then kept in the system's folder
            for temporary files, if there is room, and the message says where.
    """
    path = record_path(record.experiment, folder)
    write_arrays(path, _arrays(record))
    return path


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays as a sealed record file, all of it or nothing.

    Args:
        path: The file; one of that name is replaced.
        arrays: By name, ``meta`` among them.

    Raises:
        RecordError: As for `save`.
    """
    content = io.BytesIO()
    np.savez_compressed(content, sha256=np.array(_seal(arrays)), **arrays)  # type: ignore[arg-type]
    try:
        _write(path, content.getvalue())
    except OSError as error:
        rescue = Path(tempfile.gettempdir()) / path.name
        try:
            _write(rescue, content.getvalue())
            kept = f"It is kept as {rescue}: make room, move it there, and say the same again."
        except OSError:
            kept = "Make room and say the same again: only this run is trained anew."
        raise RecordError(f"cannot write the record {path}: {error}. {kept}") from error


def load(experiment: Experiment, folder: Path = RESULTS) -> RunRecord | None:
    """Read an experiment's record.

    Returns:
        The record, or None if there is none.

    Raises:
        RecordError: If the file is truncated, was edited, or is another experiment's.
    """
    path = record_path(experiment, folder)
    if not path.exists():
        return None
    record = read(path)
    if record.experiment != experiment:
        raise RecordError(f"{path} is the record of another run: delete it to train this one anew")
    return record


def read(path: Path) -> RunRecord:
    """Read any record file.

    Raises:
        RecordError: If it cannot be read, is truncated or was edited.
    """
    return read_arrays(path, _record)


def read_arrays(path: Path, parse: Callable[[dict[str, np.ndarray]], T]) -> T:
    """Read a sealed record file and make of its arrays what `parse` does.

    Args:
        path: The file.
        parse: Takes the arrays by name; if it fails, the file is damaged.

    Raises:
        RecordError: If it cannot be read, is truncated or was edited.
    """
    try:
        content = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise RecordError(f"cannot read the record {path}: {error}") from error
    try:
        with np.load(content, allow_pickle=False) as file:
            arrays = dict(file)
        seal = str(arrays.pop("sha256"))
        if seal != _seal(arrays):
            raise ValueError("its content does not match its checksum")
        return parse(arrays)
    except Exception as error:  # a damaged byte can mislead numpy, zip and JSON in any way
        raise RecordError(
            f"the record {path} is damaged ({error}): restore it, or delete it to train it anew"
        ) from error


def record_key(*what: object) -> str:
    """Return what identifies a configuration: 16 hexadecimal digits of its hash.

    Args:
        *what: All that the record depends on, as JSON has it.
    """
    return hashlib.sha256(json.dumps([RECORD_FORMAT, *what]).encode()).hexdigest()[:16]


def read_or_make(
    path: Path,
    make: Callable[[], dict[str, np.ndarray]],
    parse: Callable[[dict[str, np.ndarray]], T],
    page: str,
    *,
    may_make: bool = True,
    recompute: bool = False,
) -> T:
    """Return what a sealed record file holds, making the file if there is none.

    Args:
        path: The file.
        make: Returns its arrays.
        parse: Takes the arrays by name; if it fails, the file is damaged.
        page: Name of the figure page that makes it.
        may_make: Whether to make what is not on record; else that is an error.
        recompute: Whether to make even what is on record.

    Raises:
        RecordError: If it is damaged, cannot be written, or is missing and may not be made.
    """
    if not (path.exists() or may_make):
        raise RecordError(f"{path} is missing; `python -m nin figures {page}` makes it")
    if recompute or not path.exists():
        write_arrays(path, make())
    return read_arrays(path, parse)


def _arrays(record: RunRecord) -> dict[str, np.ndarray]:
    """Return a record as named arrays."""
    h = record.history
    arrays = {k: v for k, v in vars(h).items() if isinstance(v, np.ndarray)}
    arrays |= {f"norm/{name}": values for name, values in h.norms.items()}
    meta = {
        "experiment": dataclasses.asdict(record.experiment),
        "made": record.made,
        "steps_per_epoch": h.steps_per_epoch,
        "diverged_step": h.diverged_step,
        "last_finite_loss": h.last_finite_loss,
        "about": "arrays: see History; norm/NAME: Euclidean norm at each of `step`",
    }
    arrays["meta"] = np.array(json.dumps(meta, sort_keys=True))
    return arrays


def _record(arrays: dict[str, np.ndarray]) -> RunRecord:
    """Invert `_arrays`."""
    meta = json.loads(str(arrays.pop("meta")))
    norms = {k[5:]: arrays.pop(k) for k in list(arrays) if k.startswith("norm/")}
    scalars = {k: meta[k] for k in ("steps_per_epoch", "diverged_step", "last_finite_loss")}
    history = History(norms=norms, **arrays, **scalars)  # type: ignore[arg-type]
    return RunRecord(Experiment(**meta["experiment"]), history, meta["made"])


def _seal(arrays: dict[str, np.ndarray]) -> str:
    """Return the SHA-256 over names, types, shapes and bytes of all arrays."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        a = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {a.dtype.str} {a.shape} ".encode())
        digest.update(a.tobytes())
    return digest.hexdigest()


def _write(path: Path, content: bytes) -> None:
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


def _commit() -> str:
    """Return the commit of the code, marked if it was changed since."""
    describe = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        git = subprocess.run(describe, cwd=PROJECT, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return git.stdout.strip() or "unknown"


def _processor() -> str:
    """Return the processor's name."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf8")
        return text.split("model name", 1)[1].split(":", 1)[1].split("\n", 1)[0].strip()
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def recorded(experiments: Sequence[Experiment], page: str) -> list[History]:
    """Return the runs of a figure that are on record.

    Args:
        experiments: The runs.
        page: The page that trains them, such as ``"figures/fig3_phases_ce"``.

    Raises:
        RecordError: If a run is not on record.
    """
    records = [load(e) for e in experiments]
    for e, record in zip(experiments, records, strict=True):
        if record is None:
            name = page.split("/")[1]
            raise RecordError(
                f"{record_path(e)} is missing; `python -m nin figures {name}` trains it"
            )
    return [record.history for record in records if record is not None]
