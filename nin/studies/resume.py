"""A run of minutes, kept while it trains, so that it goes on where a kill found it.

Training goes in legs of whole epochs. Batches and noise follow from seed and epoch, so the legs
give the bits of one go; after each the networks and their histories are kept beside the record.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from nin.networks.data import Dataset
from nin.networks.log import DENSE_STEPS, STEPS_PER_DECADE
from nin.networks.training import train
from nin.runs.history import CLEAN_QUANTITIES, History, log_spaced_steps
from nin.studies.arrays import history_arrays, history_of
from nin.studies.records import RecordError, provenance, read_record, write_record

LEG = 120.0
"""Seconds of training that a kill may cost."""
_SPEED = 5e9  # weights times samples per second, of one core, for the first leg; then it is known
_SAME = ("device", "threads", "torch", "source")  # what the bits depend on besides the question


@dataclass
class State:
    """What is kept of runs while they train.

    Attributes:
        record: Where their record will lie; the state lies beside it.
        asked: What is trained.
        seconds: How long the legs took that were trained before, in other processes.
    """

    record: Path
    asked: object
    seconds: float = 0.0

    @property
    def path(self) -> Path:
        """Where the state lies."""
        return self.record.with_name(f".state-{self.record.stem}")

    def load(self, models: Sequence[nn.Module], device: str) -> tuple[int, list[History | None]]:
        """Give networks the weights that are kept; return the epochs done and the histories.

        A state of another version of the package, or of another machine, counts for nothing.
        """
        nothing: tuple[int, list[History | None]] = (0, [None] * len(models))
        try:
            kept = read_record(self.path, self._question, dict) if self.path.exists() else None
        except RecordError:  # damaged, or of something else: it would only save time
            return nothing
        now = provenance(device)
        if kept is None or any(kept["made"][name] != now[name] for name in _SAME):
            return nothing
        courses: list[History | None] = []
        for r, model in enumerate(models):
            weights = {n: torch.from_numpy(v) for n, v in _part(kept, f"{r}/weights/").items()}
            model.load_state_dict(weights)
            courses.append(history_of(_part(kept, f"{r}/history/")))
        self.seconds = float(kept["made"]["seconds"])
        return int(kept["epochs"]), courses

    def save(
        self, models: Sequence[nn.Module], courses: Sequence[History], epochs: int, seconds: float
    ) -> None:
        """Keep networks and histories after some epochs, which took some seconds in this process.

        Raises:
            RecordError: If the state cannot be written.
        """
        arrays: dict[str, Any] = {"epochs": epochs}
        for r, (model, h) in enumerate(zip(models, courses, strict=True)):
            weights = model.state_dict().items()
            arrays |= {f"{r}/weights/{name}": v.cpu().numpy() for name, v in weights}
            arrays |= {f"{r}/history/{name}": v for name, v in history_arrays(h).items()}
        made = provenance(str(next(models[0].parameters()).device))
        made["seconds"] = self.seconds + seconds
        write_record(self.path, self._question, made, arrays, compress=False)

    def drop(self) -> None:
        """Take the state away: its record is there."""
        self.path.unlink(missing_ok=True)

    @property
    def _question(self) -> dict[str, object]:
        return {"state of": self.asked}


def train_in_legs(
    models: Sequence[nn.Module],
    data: Dataset,
    state: State,
    *,
    epochs: int,
    seeds: Sequence[int],
    evaluations: int,
    **options: Any,
) -> list[History]:
    """Train as `nin.train` does, from a state if there is one; for vanilla SGD.

    Args:
        models: As for `nin.train`.
        data: As for `nin.train`.
        state: What is kept of them.
        epochs: As for `nin.train`.
        seeds: As for `nin.train`.
        evaluations: As for `nin.train`.
        **options: Others of `nin.train`.
    """
    device = str(next(models[0].parameters()).device)
    done, courses = state.load(models, device)
    weights = sum(p.numel() for m in models for p in m.parameters())
    leg = int(LEG * _SPEED / (weights * len(data.train_y))) + 1
    begun = time.perf_counter()
    while done < epochs:
        alive = [r for r, h in enumerate(courses) if h is None or h.diverged_step is None]
        if not alive:
            break
        start, leg = time.perf_counter(), min(leg, epochs - done)
        found = train(
            [models[r] for r in alive],
            data,
            first_epoch=done,
            epochs=leg,
            seeds=[seeds[r] for r in alive],
            evaluations=evaluations,
            **options,
        )
        for r, h in zip(alive, found, strict=True):
            courses[r] = joined(courses[r], h, epochs, evaluations)
        done += leg
        if done < epochs:
            state.save(models, [h for h in courses if h], done, time.perf_counter() - begun)
            leg = int(leg * LEG / (time.perf_counter() - start)) + 1
    return [h for h in courses if h is not None]


def joined(before: History | None, h: History, epochs: int, evaluations: int) -> History:
    """Return the history of a run so far, at the steps at which one go would have recorded.

    Args:
        before: Of the legs before; None for the first.
        h: Of the last leg.
        epochs: Of the whole run.
        evaluations: Of the whole run, per decade of steps.
    """
    total = epochs * h.steps_per_epoch
    record_at = log_spaced_steps(total - 1, DENSE_STEPS, STEPS_PER_DECADE)
    evaluate_at = log_spaced_steps(total, 1, evaluations) if evaluations else np.array([], int)
    parts = [h] if before is None else [before, h]
    loss, clean = ("step", "loss", "accuracy"), ("eval_step", *CLEAN_QUANTITIES)
    rows = [np.isin(p.step, record_at) for p in parts]
    seen = [np.isin(p.eval_step, evaluate_at) for p in parts]
    if before is not None:  # the end of one leg is the beginning of the next
        seen[0] &= ~np.isin(before.eval_step, h.eval_step)

    def join(values: list[np.ndarray], stay: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([v[s] for v, s in zip(values, stay, strict=True)])

    joint: dict[str, Any] = {
        name: join([getattr(p, name) for p in parts], stay)
        for names, stay in ((loss, rows), (clean, seen))
        for name in names
    }
    norms = {name: join([p.norms[name] for p in parts], rows) for name in h.norms}
    return replace(h, **joint, norms=norms)


def _part(arrays: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {n.removeprefix(prefix): v for n, v in arrays.items() if n.startswith(prefix)}
