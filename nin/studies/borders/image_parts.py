"""What of the images moves the border of divergence: mean, differences or labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch

from nin.networks.data import Dataset
from nin.networks.seeds import generator
from nin.runs.bisection import border_of_one
from nin.runs.phases import Phase, classify_phase
from nin.studies.borders.prediction import expected
from nin.studies.borders.search import first_steps, six_digits
from nin.studies.experiments import Experiment
from nin.studies.study import Shelf, bare, images_of, kept
from nin.studies.sweep import kept_all

PARTS = ("nothing", "mean image", "differences", "images, any label", "images")
"""What a network sees beside the noise; labels are drawn at random but for the last."""


@dataclass(frozen=True)
class ImagePart:
    """What a record is of.

    Attributes:
        experiment: The network and its seed; its noise strength is of no account.
        part: One of `PARTS`.
        steps: Length of the trials.
        K: Where the border is looked for, noise variances in Table 1's unit.
        tolerance: Relative width of the last bracket in sigma_eps.
    """

    experiment: Experiment
    part: str
    steps: int
    K: tuple[float, float]
    tolerance: float


def show(data: Dataset, part: str, seed: int) -> Dataset:
    """Return a data set of which a part is left.

    Args:
        data: The images.
        part: One of `PARTS`.
        seed: Of the labels that are drawn.

    Raises:
        ValueError: If there is no such part.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {PARTS}, not {part!r}")
    if part == "images":
        return data
    x = data.train_x
    mean = x.mean(0)
    left = {
        "nothing": torch.zeros(()).expand_as(x),
        "mean image": mean.expand_as(x),
        "differences": x - mean,
        "images, any label": x,
    }[part]
    y = torch.randint(
        int(data.train_y.max()) + 1, data.train_y.shape, generator=generator(seed, "any label")
    )
    return dataclasses.replace(data, train_x=left, train_y=y)


def borders_by_part(
    bases: Sequence[Experiment],
    seeds: Sequence[int],
    steps: int,
    K: tuple[float, float],
    tolerance: float,
    shelf: Shelf,
) -> dict[Experiment, np.ndarray]:
    """Return where training diverges on each of `PARTS`: sigma_eps, (parts, seeds).

    Args:
        bases: The experiments.
        seeds: Seeds of the runs.
        steps: SGD steps of each trial.
        K: Where to look, noise variances in Table 1's unit.
        tolerance: Relative width of the last brackets in sigma_eps.
        shelf: Where the records lie, and whether they may be made.

    Raises:
        RecordError: If a record is damaged, cannot be written, or is missing and may not be made.
    """
    found = {}
    for e in bases:
        asked = [
            ImagePart(bare(e, sigma_eps=0.0, seed=seed), part, steps, K, tolerance)
            for part in PARTS
            for seed in seeds
        ]
        found[e] = np.array(kept_all(_border, asked, shelf), float).reshape(len(PARTS), -1)
    return found


def _border(asked: ImagePart, shelf: Shelf) -> float:
    e = asked.experiment
    words = asked.part.replace(",", "").replace(" ", "-")
    stem = f"part-{words}-{e.loss}-eta{e.eta:g}-seed{e.seed}"
    return kept(stem, asked, partial(_find, asked), lambda a: float(a["sigma_eps"]), shelf)


def _find(asked: ImagePart) -> dict[str, float]:
    e = asked.experiment
    data = show(images_of(e), asked.part, e.seed)

    @cache
    def diverges(sigma_eps: float) -> bool:
        run = dataclasses.replace(e, sigma_eps=sigma_eps)
        return classify_phase(first_steps(run, asked.steps, data)).phase == Phase.DIVERGENT

    low, high = (e.at(k).sigma_eps for k in asked.K)
    near = expected(e, "divergent")
    found = border_of_one(lambda s: diverges(six_digits(s)), low, high, asked.tolerance, near)
    return {"sigma_eps": found}
