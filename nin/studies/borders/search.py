"""Where a network's phases end: a search in the noise strength, each run of it kept on record.

A *probe* is the first steps of an experiment at one noise strength and seed, and what
`classify_phase` sees in them. One file holds all probes of a configuration. A search asks for
probes and trains only those that are missing, so it can be stopped at any moment, goes on with more
seeds or a finer tolerance, and is repeated from its record without any training.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from nin.networks.data import N_TRAIN
from nin.networks.training import hide_bar, train
from nin.runs.bisection import Border, find_border
from nin.runs.history import History
from nin.runs.phases import Phase, PhaseFinding, classify_phase
from nin.studies.experiment import Experiment
from nin.studies.records import (
    RESULTS,
    RecordError,
    provenance,
    read_arrays,
    record_key,
    write_arrays,
)
from nin.studies.study import one_thread, training_data

BORDERS_FOLDER = RESULTS / "borders"
SURGE = 2.0
"""A noisy loss of twice its start has surged: more than batches of 1000 differ by chance."""
TOLERANCE = 0.02
"""Of sigma_eps, relative: half the spread over seeds, or less."""
K_RANGE = {"mse": (0.5, 2000.0), "ce": (0.005, 50.0)}
"""Where to look for borders, in Table 1's unit: wide enough for all that is varied."""
TOGETHER = 10  # runs in lock-step: no faster with more, and a kill loses them all
_NUMBERS = ("w_peak", "w_end", "loss_peak", "loss_end")
_NEVER = -1  # the step of a divergence that did not happen


BORDERS = ("decay", "surge", "catapult", "divergent")
"""What begins at each border: three phases, and the surge of the noisy loss, whatever w_ni does."""


def is_past(border: str, f: PhaseFinding) -> bool:
    """Tell whether a run is past a border.

    Args:
        border: One of `BORDERS`.
        f: What was seen of the run.

    Raises:
        ValueError: If there is no such border.
    """
    if border not in BORDERS:
        raise ValueError(f"border must be one of {BORDERS}, not {border!r}")
    if border == "surge":
        return f.phase == Phase.DIVERGENT or f.loss_peak > SURGE
    order = list(Phase)
    return order.index(f.phase) >= order.index(Phase(border))


@dataclass
class Probes:
    """The probes of one configuration: those on record, and new ones as they are asked for.

    Attributes:
        base: The experiment; its noise strength, seed, epochs and evaluations are of no account.
        steps: SGD steps of each probe.
        folder: Where the record lies.
        may_train: Whether to train what is not on record; else that is an error.
        found: What was seen, by seed and sigma_eps.
        made: How the last of them were made; ``"seconds"`` is the training time of all.
    """

    base: Experiment
    steps: int
    folder: Path = field(default_factory=lambda: BORDERS_FOLDER)
    may_train: bool = True
    found: dict[tuple[int, float], PhaseFinding] = field(default_factory=dict, repr=False)
    made: dict[str, str | int | float] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Read the record, if there is one.

        Raises:
            ValueError: If the steps are neither within one epoch nor whole epochs.
            RecordError: If the record is damaged.
        """
        self.base = dataclasses.replace(self.base, sigma_eps=0.0, seed=0, epochs=1, evaluations=1)
        _check_steps(self.steps, self.base.batch_size)
        if self.path.exists():
            read_arrays(self.path, self._fill)

    @property
    def key(self) -> str:
        """What identifies the configuration: 16 hexadecimal digits of its hash."""
        return record_key(dataclasses.asdict(self.base), self.steps)

    @property
    def path(self) -> Path:
        """Where the record lies, or shall lie."""
        e = self.base
        shape = f"depth{e.depth}-width{e.width}-batch{e.batch_size}"
        return self.folder / f"{e.loss}-{e.activation}-{shape}-steps{self.steps}-{self.key}.npz"

    def look(
        self, seeds: Sequence[int], sigma_eps: np.ndarray, recompute: bool = False
    ) -> list[PhaseFinding]:
        """Return what is seen at one noise strength for each seed, training what is missing.

        Args:
            seeds: Seeds of the runs.
            sigma_eps: Their noise strengths, (seeds,), taken to six digits.
            recompute: Whether to train even what is on record.

        Raises:
            RecordError: If the record cannot be written, or lacks what may not be trained.
        """
        # Six digits, so that the last bit of a processor's exp() asks for no new training.
        asked = [(int(k), float(f"{s:.6g}")) for k, s in zip(seeds, sigma_eps, strict=True)]
        todo = [a for a in dict.fromkeys(asked) if recompute or a not in self.found]
        if todo and not self.may_train:
            raise RecordError(
                f"{self.path} lacks seed {todo[0][0]} at sigma_eps = {todo[0][1]:g}; "
                "`python -m nin figures network_borders` trains what is missing"
            )
        for i in range(0, len(todo), TOGETHER):
            part = todo[i : i + TOGETHER]
            before, start = float(self.made.get("seconds", 0)), time.perf_counter()
            self.made = provenance("cpu") | {"threads": 1}
            histories = first_steps(self.base, self.steps, part)
            self.found |= {a: classify_phase(h) for a, h in zip(part, histories, strict=True)}
            self.made["seconds"] = round(before + time.perf_counter() - start, 1)
            write_arrays(self.path, self._arrays())
        return [self.found[a] for a in asked]

    def border(
        self,
        name: str,
        seeds: Sequence[int],
        K: tuple[float, float] | None = None,
        tolerance: float = TOLERANCE,
        recompute: bool = False,
        progress: bool | None = None,
    ) -> Border:
        """Find a border in sigma_eps by bisection, once for each seed.

        Args:
            name: One of `BORDERS`: what begins there.
            seeds: Seeds of the runs.
            K: Where to look, noise variances in Table 1's unit; default `K_RANGE`.
            tolerance: Relative width of the last brackets in sigma_eps.
            recompute: Whether to train even what is on record.
            progress: Whether to show a bar; default: on a terminal or in a notebook, not in CI.

        Raises:
            ValueError: If the border is unknown, or the range empty.
            RecordError: If the record cannot be written.
        """
        low, high = (self.base.at(k).sigma_eps for k in K or K_RANGE[self.base.loss])
        title = f"{self.base.loss} {self.base.activation} {name}"
        with tqdm(desc=title, unit="probe", disable=hide_bar(progress), leave=False) as bar:

            def past(sigma_eps: np.ndarray) -> np.ndarray:
                bar.update()
                seen = self.look(seeds, sigma_eps, recompute)
                return np.array([is_past(name, f) for f in seen])

            ends = (past(np.full(len(seeds), end)) for end in (low, high))
            if not any(a < b for a, b in zip(*ends, strict=True)):  # no seed has a border here
                tolerance = np.inf
            return find_border(past, low, high, len(seeds), tolerance)

    def by_seed(self, name: str, seeds: Sequence[int], **options: Any) -> np.ndarray:
        """Find a border as `border` does, and return it seed by seed.

        Args:
            name: One of `BORDERS`.
            seeds: Seeds of the runs.
            **options: Of `border`.

        Returns:
            sigma_eps, (seeds,): 0 for a seed that is past the border at the low end of the range,
            infinite for one that is short of it at the high end.
        """
        self.border(name, seeds, **options)  # all in lock-step; below, each is read from the record
        options["recompute"] = False
        found = [self.border(name, [seed], **options) for seed in seeds]
        return np.array([0 if b.below else b.value if b.found else np.inf for b in found])

    def contradictions(self, name: str) -> tuple[int, int]:
        """Count the probes past a border that have one short of it at more noise, same seed.

        A search by bisection assumes that there are none.

        Returns:
            Their number, and the number of probes.
        """
        count = 0
        short = [key for key, f in self.found.items() if not is_past(name, f)]
        for (seed, sigma), f in self.found.items():
            if is_past(name, f):
                count += any(k == seed and s > sigma for k, s in short)
        return count, len(self.found)

    def _arrays(self) -> dict[str, np.ndarray]:
        seen = list(self.found.values())
        steps = [_NEVER if f.diverged_step is None else f.diverged_step for f in seen]
        meta = {
            "experiment": dataclasses.asdict(self.base),
            "steps": self.steps,
            "made": self.made,
            "about": "one row per probe: the fields of PhaseFinding by seed, sigma_eps",
        }
        return {
            "seed": np.array([k for k, _ in self.found], np.int64),
            "sigma_eps": np.array([s for _, s in self.found]),
            **{n: np.array([getattr(f, n) for f in seen]) for n in _NUMBERS},
            "phase": np.array([list(Phase).index(f.phase) for f in seen], np.int8),
            "diverged_step": np.array(steps, np.int64),
            "meta": np.array(json.dumps(meta, sort_keys=True)),
        }

    def _fill(self, arrays: dict[str, np.ndarray]) -> None:
        """Invert `_arrays`."""
        meta = json.loads(str(arrays["meta"]))
        if Experiment(**meta["experiment"]) != self.base or meta["steps"] != self.steps:
            raise ValueError("it is the record of another configuration")
        self.made = meta["made"]
        keys = zip(arrays["seed"].tolist(), arrays["sigma_eps"].tolist(), strict=True)
        for i, key in enumerate(keys):
            step = int(arrays["diverged_step"][i])
            self.found[key] = PhaseFinding(
                list(Phase)[arrays["phase"][i]],
                **{n: float(arrays[n][i]) for n in _NUMBERS},
                diverged_step=None if step == _NEVER else step,
            )


def first_steps(base: Experiment, steps: int, runs: Sequence[tuple[int, float]]) -> list[History]:
    """Train an experiment's first steps, several runs in lock-step on one thread.

    Whole epochs are those of the experiment itself, sample for sample. Less than an epoch takes as
    many training images as the steps need, in an order of their own.

    Args:
        base: The experiment.
        steps: SGD steps: within one epoch, or whole epochs.
        runs: Seed and sigma_eps of each.

    Raises:
        ValueError: If the steps are neither within one epoch nor whole epochs.
    """
    epochs = _check_steps(steps, base.batch_size)
    data = training_data(base.scaling, base.split_seed)
    if epochs == 0:
        n = steps * base.batch_size
        data = dataclasses.replace(data, train_x=data.train_x[:n], train_y=data.train_y[:n])
    with one_thread():
        return train(
            [dataclasses.replace(base, seed=k, sigma_eps=s).network() for k, s in runs],
            data,
            loss=base.criterion(),
            eta=base.eta,
            batch_size=base.batch_size,
            epochs=max(epochs, 1),
            seeds=[k for k, _ in runs],
            precision=base.precision,
            evaluations=0,
            progress=False,
        )


def _check_steps(steps: int, batch_size: int) -> int:
    """Return the number of epochs, 0 for less than one."""
    per_epoch = -(-N_TRAIN // batch_size)
    epochs, rest = divmod(steps, per_epoch)
    if steps < 2 or (rest and epochs):
        raise ValueError(
            f"steps must be 2 to {per_epoch}, within one epoch of batches of {batch_size}, or a "
            f"multiple of {per_epoch}, not {steps}"
        )
    return epochs
