"""The second order of the loss in the noise, asked where training begins to diverge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from nin.runs.phases import Phase
from nin.studies.borders.prediction import LAMBDA_DIV, second_order_curvature
from nin.studies.borders.search import find_borders, trials
from nin.studies.experiments import Experiment
from nin.studies.study import Shelf, bare, images_of, kept
from nin.studies.sweep import kept_all

SAMPLES = 200
"""Images behind the curvature of the second order."""


@dataclass(frozen=True)
class SecondOrder:
    """What a record is of: the curvature of the loss to second order in the noise.

    Attributes:
        experiment: The network, with its noise strength and seed.
        samples: Images behind it.
    """

    experiment: Experiment
    samples: int


def share_of_border(
    bases: Sequence[Experiment],
    seeds: Sequence[int],
    steps: int,
    shelf: Shelf,
    *,
    K: Mapping[str, tuple[float, float]] | None = None,
    tolerance: float,
) -> dict[Experiment, np.ndarray]:
    """Return where training diverges, as lambda of the second order over the linear model's border.

    Below 1 the loss to second order in the noise would not diverge, and the network does.

    Args:
        bases: The experiments; noise strength, seed, epochs and evaluations are of no account.
        seeds: Seeds of the runs.
        steps: SGD steps of each trial.
        shelf: Where the records lie, and whether they may be made.
        K: Where to look, noise variances in Table 1's unit, by loss; default as `find_borders`.
        tolerance: Of the border in sigma_eps, relative; lambda goes as its square.

    Returns:
        By experiment, (seeds,): infinite for a seed that never diverges, NaN for one that diverges
        without noise, which says nothing.

    Raises:
        RecordError: As `find_borders`.
    """
    found: dict[Experiment, dict[str, np.ndarray]] = {}
    for loss in dict.fromkeys(e.loss for e in bases):
        ours = [e for e in bases if e.loss == loss]
        K_range = K[loss] if K else None
        found |= find_borders(
            ours, ["divergent"], seeds, steps, shelf, K=K_range, tolerance=tolerance
        )
    shares = {}
    for e in bases:
        still = [t.look(0.0).phase != Phase.DIVERGENT for t in trials(e, seeds, steps, shelf)]
        borders = np.where(still, found[e]["divergent"], np.nan)
        finite = np.isfinite(borders)
        asked = [
            SecondOrder(bare(e, seed=seed, sigma_eps=float(f"{sigma_eps:.6g}")), SAMPLES)
            for seed, sigma_eps in zip(np.array(seeds)[finite], borders[finite], strict=True)
        ]
        borders[finite] = np.array(kept_all(_second_order, asked, shelf)) / LAMBDA_DIV
        shares[e] = borders
    return shares


def _second_order(asked: SecondOrder, shelf: Shelf) -> float:
    e = asked.experiment
    stem = f"second-order-{e.loss}-{e.activation}-width{e.width}-seed{e.seed}"
    return kept(stem, asked, partial(_compute, asked), lambda a: float(a["lam"]), shelf)


def _compute(asked: SecondOrder) -> dict[str, float]:
    e = asked.experiment
    data = images_of(e)
    return {"lam": second_order_curvature(e, e.sigma_eps, data, asked.samples)}
