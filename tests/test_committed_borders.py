"""The searches on record: each border reads as it did, and would take fewer trials today."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nin.runs.bisection import find_border
from nin.runs.phases import Phase, PhaseFinding
from nin.studies.borders.forecasts import forecasts
from nin.studies.borders.grid import (
    BEYOND_K,
    BEYOND_SEEDS,
    CHOICES,
    COARSE,
    COMBINATIONS,
    DECAY_K,
    DECAY_STEPS,
    FACTORIAL_BASE,
    FACTORIAL_LEVELS,
    FACTORIAL_SEEDS,
    FACTORIAL_STEPS,
    FINE,
    TABLE1_SEEDS,
    TABLE1_STEPS,
    beyond_second_order,
    factorial,
    table1_range,
)
from nin.studies.borders.search import (
    BORDERS_SHELF,
    K_RANGE,
    Searching,
    Trials,
    is_past,
    trials,
)
from nin.studies.experiments import FIG2, FIG3, Experiment
from nin.studies.study import Shelf

UPPER = ("catapult", "divergent")
Around = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Search:
    e: Experiment
    names: Sequence[str]
    seeds: Sequence[int]
    steps: int
    tolerance: float
    K: tuple[float, float]
    around: Around | None = None  # (seeds,) by name, where it is not the closed form

    def starts(self, name: str) -> list[float | None]:
        return [None] * len(self.seeds) if self.around is None else self.around[name].tolist()


def searches() -> Iterator[Search]:
    """Return the searches of the book that were made by bisecting the whole range."""
    for e, name in ((FIG2, "fig2"), (FIG3, "fig3")):
        yield Search(e, UPPER, TABLE1_SEEDS, TABLE1_STEPS[name], FINE, table1_range(e))
    small = FACTORIAL_BASE, UPPER, FACTORIAL_SEEDS, FACTORIAL_STEPS, COARSE, (0.02, 1000.0)
    for changes in (CHOICES | COMBINATIONS).values():
        yield Search(dataclasses.replace(FACTORIAL_BASE, **changes), *small[1:])
    grid = factorial(FACTORIAL_BASE, FACTORIAL_LEVELS)
    said = forecasts(grid, FACTORIAL_SEEDS, FACTORIAL_STEPS, BORDERS_SHELF)
    for e in grid:
        yield Search(e, *small[1:5], K_RANGE[e.loss], said[e].noise_only)
    for loss, steps in itertools.product(("mse", "ce"), DECAY_STEPS):
        e = dataclasses.replace(FACTORIAL_BASE, loss=loss)
        decay = {"decay": said[e].decay(steps)}
        yield Search(e, ["decay"], FACTORIAL_SEEDS, steps, COARSE, DECAY_K, decay)
    for e in beyond_second_order():
        yield Search(e, ["divergent"], BEYOND_SEEDS, FACTORIAL_STEPS, COARSE, BEYOND_K[e.loss])


def bisected(look: Any, s: Search, name: str) -> float:
    """Bisect the whole range, by the package's bisection but not by its search."""
    low, high = (s.e.at(k).sigma_eps for k in s.K)
    border = find_border(
        lambda sigma: np.array([is_past(name, look(float(f"{sigma[0]:.6g}")))]),
        low, high, 1, s.tolerance,
    )  # fmt: skip
    return 0.0 if border.below else border.value if border.found else np.inf


class Known:
    """A network whose borders are known: what its trials would show."""

    def __init__(self, borders: Mapping[str, float]) -> None:
        self.borders, self.asked = borders, set[float]()

    def look(self, sigma_eps: float) -> PhaseFinding:
        self.asked.add(sigma_eps)
        past = [name for name, at in self.borders.items() if sigma_eps >= at]
        phase = max(map(Phase, past), key=list(Phase).index, default=Phase.DECOUPLED)
        return PhaseFinding(phase, 1.0, 1.0, 1.0, 1.0, None)


class KnownTrials(Trials):
    """A search that meets a known network where others train one."""

    def __init__(self, asked: Searching, shelf: Shelf, known: Known) -> None:
        super().__init__(asked, shelf)
        self.known = known

    def _add(self, sigma_eps: float) -> None:
        self.found[sigma_eps], self._at[sigma_eps] = self.known.look(sigma_eps), 0.0


@pytest.fixture(scope="module")
def on_record() -> list[tuple[Search, list[dict[str, float]]]]:
    """The searches with the borders of each seed, as bisection of the record finds them."""
    found = []
    for s in searches():
        of_seeds = trials(s.e, s.seeds, s.steps, BORDERS_SHELF)
        borders = [{n: bisected(t.found.__getitem__, s, n) for n in s.names} for t in of_seeds]
        found.append((s, borders))
    return found


def test_every_committed_border_reads_as_bisection_finds_it(on_record: Any) -> None:
    n = 0
    for s, borders in on_record:
        shelf = dataclasses.replace(BORDERS_SHELF, may_make=False)
        for i, t in enumerate(trials(s.e, s.seeds, s.steps, shelf)):
            for name in s.names:
                assert t.border(name, s.K, s.tolerance, s.starts(name)[i]) == borders[i][name]
                n += 1
    assert n > 300


def test_searches_from_predictions_take_six_trials_in_ten(on_record: Any, tmp_path: Path) -> None:
    """Counted where the borders are those on record, and nothing else of a network matters."""
    before, after, count = 0, 0, 0
    for s, borders in on_record:
        for i, (seed, at) in enumerate(zip(s.seeds, borders, strict=True)):
            plain, near = Known(at), Known(at)
            asked = Searching(dataclasses.replace(s.e, seed=seed), s.steps)
            search = KnownTrials(asked, Shelf(tmp_path, ""), near)
            for name in s.names:
                there = bisected(plain.look, s, name)
                found = search.border(name, s.K, s.tolerance, s.starts(name)[i])
                # the middles of two brackets that both hold the border
                assert found == there or abs(np.log(found / there)) < s.tolerance
            before, after, count = (
                before + len(plain.asked), after + len(near.asked), count + len(s.names),
            )  # fmt: skip
    print(
        f"{count} borders: {before / count:.2f} trials each by bisection, {after / count:.2f} now"
    )
    assert after < 0.6 * before
