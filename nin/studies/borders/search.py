"""Where a network's phases end: a search in the noise strength, each run of it kept on record.

A *trial* is the first steps of an experiment at one noise strength, and what `classify_phase` sees
in them. One record holds all trials of a configuration and seed. A search asks for trials and makes
only those that are missing, so it can be stopped at any moment, goes on with more seeds or a finer
tolerance, and is repeated from its record without any training.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nin.folders import RESULTS
from nin.networks.data import Dataset
from nin.runs.bisection import border_of_one
from nin.runs.history import History
from nin.runs.phases import Phase, PhaseFinding, classify_phase, has_passed
from nin.studies.arrays import NEVER
from nin.studies.borders.prediction import expected
from nin.studies.experiments import Experiment
from nin.studies.records import Made
from nin.studies.study import (
    Shelf,
    add_rows,
    bare,
    check_writable,
    images_of,
    independent,
    measured,
    read_rows,
    train_runs,
)  # fmt: skip
from nin.studies.sweep import kept_all

BORDERS_SHELF = Shelf(RESULTS / "borders", "network_borders", may_make=False)
PREDICTED_SHELF = dataclasses.replace(BORDERS_SHELF, page="predicted_borders")
ACTIVATIONS_SHELF = dataclasses.replace(BORDERS_SHELF, page="activations")
"""One folder, and the pages that make what lies in it."""
TOLERANCE = 0.02
"""Of sigma_eps, relative: half the spread over seeds, or less."""
K_RANGE = {"mse": (0.5, 2000.0), "ce": (0.005, 50.0)}
"""Where to look for borders, in Table 1's unit: wide enough for all that is varied."""
_NUMBERS = ("w_peak", "w_end", "loss_peak", "loss_end")


def is_past(border: str, f: PhaseFinding) -> bool:
    """Tell whether a run is past a border.

    Args:
        border: One of `nin.runs.phases.BORDERS`.
        f: What was seen of the run.

    Raises:
        ValueError: If there is no such border.
    """
    phase, diverged = list(Phase).index(f.phase), f.diverged_step is not None
    seen = (np.asarray(n) for n in (phase, f.w_end, f.loss_peak, diverged))
    return bool(has_passed(border, *seen))


@dataclass(frozen=True)
class Searching:
    """What a record of trials is of.

    Attributes:
        experiment: The configuration and seed; its noise strength, epochs and evaluations are of no
            account.
        steps: SGD steps of each trial: within one epoch, or whole epochs.
    """

    experiment: Experiment
    steps: int

    def __post_init__(self) -> None:
        """Forget what is of no account.

        Raises:
            ValueError: If the steps are neither within one epoch nor whole epochs.
        """
        object.__setattr__(self, "experiment", bare(self.experiment, sigma_eps=0.0))
        _epochs(self.steps, self.experiment)

    @property
    def stem(self) -> str:
        """How the record's name begins."""
        e = self.experiment
        shape = f"depth{e.depth}-width{e.width}-batch{e.batch_size}"
        return f"{e.loss}-{e.activation}-{shape}-steps{self.steps}-seed{e.seed}"


class Trials:
    """The trials of one configuration and seed: those on record, and new ones as asked for.

    Attributes:
        asked: What they are of.
        found: What was seen, by sigma_eps.
        looked: The sigma_eps that have been asked for, on record or not.
        made: How the last of them were made; ``"seconds"`` is the training time of all.
    """

    def __init__(self, asked: Searching, shelf: Shelf) -> None:
        """Read the record, if there is one.

        Args:
            asked: Configuration, seed and length.
            shelf: Where the record lies, and whether trials may be made.

        Raises:
            RecordError: If the record is damaged, or of something else.
        """
        self.asked, self.shelf = asked, shelf
        self.looked: set[float] = set()
        self._fill(read_rows(asked.stem, asked, shelf))

    def look(self, sigma_eps: float) -> PhaseFinding:
        """Return what is seen at a noise strength, taken to six digits; train if it is missing.

        Raises:
            MissingRecordError: If it is missing and may not be trained.
            RecordError: If the record cannot be written.
        """
        sigma_eps = six_digits(sigma_eps)
        self.looked.add(sigma_eps)
        if sigma_eps not in self.found or self.shelf.is_stale(self._at[sigma_eps]):
            if not self.shelf.may_make:
                e = self.asked.experiment
                raise self.shelf.refuse(
                    f"{self.asked.stem} of {self.shelf.folder} lacks sigma_eps = {sigma_eps:g} "
                    f"of {e}",
                    self.shelf.path(self.asked.stem, self.asked),
                )
            self._add(sigma_eps)
        return self.found[sigma_eps]

    def border(
        self,
        name: str,
        K: tuple[float, float] | None,
        tolerance: float,
        around: float | None = None,
    ) -> float:
        """Find a border in sigma_eps: what bisection makes of the record, or else a search.

        The search walks from a prediction, in steps that double, until the border is passed, and
        bisects between its last two steps. Without a prediction the whole range is bisected.

        Args:
            name: One of `nin.runs.phases.BORDERS`: what begins there.
            K: Where to look, noise variances in Table 1's unit; default `K_RANGE`.
            tolerance: Relative width of the last bracket in sigma_eps.
            around: The prediction; default: the closed form, if there is one.

        Returns:
            sigma_eps: 0 if the low end of the range is past the border already, infinite if the
            high end is short of it.

        Raises:
            ValueError: If the border is unknown, or the range empty.
            MissingRecordError: If a trial is missing and may not be trained.
        """
        e = self.asked.experiment
        low, high = (e.at(k).sigma_eps for k in K or K_RANGE[e.loss])

        def find(look: Callable[[float], PhaseFinding], near: float | None) -> float:
            return border_of_one(lambda s: is_past(name, look(s)), low, high, tolerance, near)

        near = None
        try:
            find(self._recall, None)
        except LookupError:
            near = expected(e, name) if around is None else around
        return find(self.look, near)

    def _recall(self, sigma_eps: float) -> PhaseFinding:
        """Return what is on record of a noise strength.

        Raises:
            LookupError: If there is no trial, or none that is fresh enough.
        """
        sigma_eps = six_digits(sigma_eps)
        if self.shelf.is_stale(self._at[sigma_eps]):
            raise LookupError
        return self.found[sigma_eps]

    def contradictions(self, name: str) -> int:
        """Count the trials past a border that have one short of it at more noise.

        A search by bisection assumes that there are none.
        """
        short = [sigma for sigma, f in self.found.items() if not is_past(name, f)]
        return sum(
            any(s > sigma for s in short) for sigma, f in self.found.items() if is_past(name, f)
        )

    def _add(self, sigma_eps: float) -> None:
        check_writable(self.shelf.folder)
        run = dataclasses.replace(self.asked.experiment, sigma_eps=sigma_eps)
        with measured() as made:
            f = classify_phase(first_steps(run, self.asked.steps))
        row = {
            "sigma_eps": sigma_eps,
            **{n: getattr(f, n) for n in _NUMBERS},
            "phase": np.int8(list(Phase).index(f.phase)),
            "diverged_step": NEVER if f.diverged_step is None else f.diverged_step,
            "at": time.time(),
        }
        stem, asked = self.asked.stem, self.asked
        self._fill(add_rows(stem, asked, "sigma_eps", row, made, self.shelf))

    def _fill(self, arrays: Mapping[str, Any]) -> None:
        self.made: Made = arrays.get("made", {})
        self.found: dict[float, PhaseFinding] = {}
        sigmas = arrays["sigma_eps"].tolist() if arrays else []
        self._at = dict(zip(sigmas, arrays["at"].tolist(), strict=True)) if arrays else {}
        for i, sigma in enumerate(sigmas):
            step = int(arrays["diverged_step"][i])
            self.found[sigma] = PhaseFinding(
                list(Phase)[arrays["phase"][i]],
                **{n: float(arrays[n][i]) for n in _NUMBERS},
                diverged_step=None if step == NEVER else step,
            )


@dataclass(frozen=True)
class _Border:
    """One border of one configuration and seed, and where to look for it."""

    asked: Searching
    name: str
    K: tuple[float, float] | None
    tolerance: float
    around: float | None


def find_borders(
    configurations: Iterable[Experiment],
    names: Sequence[str],
    seeds: Sequence[int],
    steps: int,
    shelf: Shelf,
    *,
    K: tuple[float, float] | None = None,
    tolerance: float = TOLERANCE,
    around: Mapping[Experiment, ArrayLike | Mapping[str, ArrayLike]] | None = None,
) -> dict[Experiment, dict[str, np.ndarray]]:
    """Find borders in sigma_eps, all configurations and seeds side by side.

    Args:
        configurations: Experiments; noise strength, seed, epochs and evaluations are of no account.
        names: Of `nin.runs.phases.BORDERS`.
        seeds: Seeds of the runs.
        steps: SGD steps of each trial: within one epoch, or whole epochs.
        shelf: Where the records lie, and whether trials may be made.
        K: Where to look, noise variances in Table 1's unit; default `K_RANGE`.
        tolerance: Relative width of the last brackets in sigma_eps.
        around: Predicted sigma_eps by configuration, or by that and name, from which to start:
            (seeds,) or one for all; default: the closed forms, and where there is none, the whole
            range is bisected.

    Returns:
        By configuration and name, (seeds,): 0 for a seed that is past the border at the low end of
        the range, infinite for one that is short of it at the high end.

    Raises:
        ValueError: If a border is unknown, the range empty, or the steps do not fit.
        RecordError: If a record is damaged, cannot be written, or lacks what may not be trained.
    """
    grid, seeds = list(dict.fromkeys(configurations)), independent(seeds)
    asked = [
        tuple(_Border(Searching(dataclasses.replace(e, seed=k), steps), name, K, tolerance, near)
              for name, near in zip(names, of_seed, strict=True))
        for e in grid
        for k, of_seed in zip(seeds, _starts(around, e, names, len(seeds)), strict=True)
    ]  # fmt: skip
    found = np.array(kept_all(_find, asked, shelf), float).reshape(len(grid), len(seeds), -1)
    return {e: dict(zip(names, rows.T, strict=True)) for e, rows in zip(grid, found, strict=True)}


def _starts(
    around: Mapping[Experiment, ArrayLike | Mapping[str, ArrayLike]] | None,
    e: Experiment,
    names: Sequence[str],
    seeds: int,
) -> list[list[float | None]]:
    """Return from where to look for the borders of a configuration, by seed and name."""
    if around is None:
        return [[None] * len(names)] * seeds
    of_name = around[e]
    said = [of_name[name] if isinstance(of_name, Mapping) else of_name for name in names]
    columns = [np.broadcast_to(np.asarray(near, float), seeds).tolist() for near in said]
    return [list(row) for row in zip(*columns, strict=True)]


def check_asked(asked: Iterable[tuple[Experiment, int]], *tolerances: float) -> None:
    """Refuse searches that could not be made, before any is.

    Args:
        asked: Configurations and the steps of their trials.
        *tolerances: Of the searches.

    Raises:
        ValueError: If steps do not fit, or a tolerance is not > 0.
    """
    for e, steps in asked:
        Searching(e, steps)
    if not all(tolerance > 0 for tolerance in tolerances):
        raise ValueError(f"a search needs a tolerance > 0, not {min(tolerances)}")


def trials(base: Experiment, seeds: Sequence[int], steps: int, shelf: Shelf) -> list[Trials]:
    """Return the trials of a configuration, for each seed; see `find_borders`."""
    asked = [Searching(dataclasses.replace(base, seed=k), steps) for k in independent(seeds)]
    return [Trials(one, shelf) for one in asked]


def first_steps(e: Experiment, steps: int, data: Dataset | None = None) -> History:
    """Train an experiment's first steps.

    Whole epochs are those of the experiment itself, sample for sample. Less than an epoch takes as
    many training images as the steps need, in an order of their own.

    Args:
        e: The experiment.
        steps: SGD steps: within one epoch, or whole epochs.
        data: What to train on; default `images` of the experiment.

    Raises:
        ValueError: If the steps are neither within one epoch nor whole epochs.
    """
    epochs = _epochs(steps, e)
    data = images_of(e) if data is None else data
    if epochs == 0:
        n = steps * e.batch_size
        data = dataclasses.replace(data, train_x=data.train_x[:n], train_y=data.train_y[:n])
    _, [history] = train_runs([e], data, epochs=max(epochs, 1), evaluations=0, progress=False)
    return history


def six_digits(sigma_eps: float) -> float:
    """Return a strength by which a trial is known.

    Six digits, so that the last bit of a processor's exp() asks for no new training.
    """
    return float(f"{sigma_eps:.6g}")


def _find(asked: tuple[_Border, ...], shelf: Shelf) -> list[float]:
    there = Trials(asked[0].asked, shelf)
    return [there.border(b.name, b.K, b.tolerance, b.around) for b in asked]


def _epochs(steps: int, e: Experiment) -> int:
    """Return the number of epochs, 0 for less than one."""
    epochs, rest = divmod(steps, e.steps_per_epoch)
    if steps < 2 or (rest and epochs):
        raise ValueError(
            f"steps must be 2 to {e.steps_per_epoch}, within one epoch of batches of "
            f"{e.batch_size}, or a multiple of {e.steps_per_epoch}, not {steps}"
        )
    return epochs
