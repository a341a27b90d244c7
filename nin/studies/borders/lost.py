"""Deep networks that do not come back: where that begins, and whether they die or blow up."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

import numpy as np

from nin.studies.borders.grid import IMAGES_K
from nin.studies.borders.noise_only import noise_only_borders
from nin.studies.borders.search import Searching, Trials, find_borders, is_past
from nin.studies.experiments import Experiment
from nin.studies.study import Shelf, bare, independent, kept
from nin.studies.sweep import kept_all

BEYOND = tuple(float(f"{x:.4g}") for x in np.geomspace(1.1, 4, 8))
"""Multiples of a seed's own border at which its runs are seen to their end."""


class Fate(StrEnum):
    """How a run ends."""

    BACK = "back"
    DEAD = "dead"
    INFINITE = "infinite"


@dataclass(frozen=True)
class LostOnNoise:
    """What a record is of: the border of one seed on noise alone.

    Attributes:
        experiment: The network, with the seed; its noise strength is of no account.
        steps: Length of the runs.
    """

    experiment: Experiment
    steps: int


def lost_on_noise(
    grid: Sequence[Experiment], seeds: Sequence[int], steps: int, shelf: Shelf
) -> dict[Experiment, np.ndarray]:
    """Return sigma_eps from which on networks that see no image are lost: sigma_eps, (seeds,).

    Args:
        grid: The experiments.
        seeds: Of the initial weights.
        steps: Length of the runs.
        shelf: Where the records lie, and whether they may be made.

    Raises:
        ValueError: If a seed is named twice.
        RecordError: If a record is damaged, cannot be written, or is not there and may not be made.
    """
    seeds = independent(seeds)
    asked = [LostOnNoise(bare(e, sigma_eps=0.0, seed=k), steps) for e in grid for k in seeds]
    found = np.reshape(kept_all(_lost_on_noise, asked, shelf), (len(grid), len(seeds)))
    return dict(zip(grid, found, strict=True))


def lost_borders(
    grid: Sequence[Experiment], seeds: Sequence[int], steps: int, shelf: Shelf, tolerance: float
) -> tuple[dict[Experiment, np.ndarray], dict[Experiment, np.ndarray]]:
    """Return where networks are lost with images, searched for from where noise alone loses them.

    Args:
        grid: The experiments.
        seeds: Of initial weights, batches and noise.
        steps: Length of the runs.
        shelf: Where the records lie, and whether they may be made.
        tolerance: Of the search in sigma_eps.

    Returns:
        sigma_eps with images, and on noise alone, (seeds,) each.
    """
    alone = lost_on_noise(grid, seeds, steps, shelf)
    around = {e: float(np.median(said)) for e, said in alone.items()}
    found = find_borders(
        grid, ["lost"], seeds, steps, shelf, K=IMAGES_K, tolerance=tolerance, around=around
    )
    return {e: borders["lost"] for e, borders in found.items()}, alone


def _lost_on_noise(asked: LostOnNoise, shelf: Shelf) -> float:
    e = asked.experiment
    stem = f"lost-{e.loss}-depth{e.depth}-width{e.width}-seed{e.seed}"
    make = partial(noise_only_borders, e, asked.steps, IMAGES_K, ["lost"])
    return kept(stem, asked, make, _parse, shelf)


def _parse(arrays: dict[str, Any]) -> float:
    return float(arrays["lost"])


@dataclass(frozen=True)
class _Beyond:
    asked: Searching
    border: float


def fates(
    borders: Mapping[Experiment, np.ndarray], seeds: Sequence[int], steps: int, shelf: Shelf
) -> dict[Experiment, np.ndarray]:
    """Return how runs past their own border end: `Fate`, (seeds, `BEYOND`).

    Args:
        borders: sigma_eps from which on runs are lost, (seeds,), by configuration.
        seeds: Of the runs.
        steps: Length of the runs.
        shelf: Where the records lie, and whether they may be made.

    Raises:
        RecordError: If a record is damaged, cannot be written, or lacks what may not be trained.
    """
    asked = [
        _Beyond(Searching(dataclasses.replace(e, seed=k), steps), float(border))
        for e, of_seeds in borders.items()
        for k, border in zip(independent(seeds), of_seeds, strict=True)
    ]
    found = np.reshape(kept_all(_ends, asked, shelf), (len(borders), len(seeds), len(BEYOND)))
    return dict(zip(borders, found, strict=True))


def _ends(beyond: _Beyond, shelf: Shelf) -> list[str]:
    there, ends = Trials(beyond.asked, shelf), []
    for factor in BEYOND:
        f = there.look(factor * beyond.border)
        lost = Fate.DEAD if f.diverged_step is None else Fate.INFINITE
        ends.append(str(lost if is_past("lost", f) else Fate.BACK))
    return ends
