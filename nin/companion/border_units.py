"""In which unit do borders of many networks collapse into one?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nin.runs.averages import middle
from nin.studies.borders.forecasts import METHODS, Forecast
from nin.studies.experiments import Experiment


@dataclass(frozen=True)
class Collapse:
    """The border of divergence of several networks in one unit.

    Attributes:
        loss: Of the networks.
        networks: Which: those of one hidden layer, or all.
        unit: In which the border is measured.
        center: Geometric mean over networks.
        spread: Standard deviation of the logarithm over networks, as a factor.
        n: Networks that have a border in this unit.
    """

    loss: str
    networks: str
    unit: str
    center: float
    spread: float
    n: int


def collapses(
    measured: Mapping[Experiment, Mapping[str, np.ndarray]],
    predicted: Mapping[Experiment, Forecast],
) -> list[Collapse]:
    """Return the spread of the border of divergence over networks, unit by unit.

    Args:
        measured: sigma_eps by configuration and border, (seeds,) each.
        predicted: The predictions for each of these configurations, which are units too.
    """
    borders = {e: middle(found["divergent"])[0] for e, found in measured.items()}
    found = []
    for loss in dict.fromkeys(e.loss for e in measured):
        for networks in ("one hidden layer", "all"):
            rows = {
                e: border for e, border in borders.items()
                if e.loss == loss and np.isfinite(border) and (networks == "all" or e.depth == 1)
            }  # fmt: skip
            for unit, values in _in_units(rows, predicted).items():
                if len(values):
                    log = np.log(values)
                    center, spread = float(np.exp(log.mean())), float(np.exp(log.std()))
                    found.append(Collapse(loss, networks, unit, center, spread, len(values)))
    return found


def _in_units(
    borders: Mapping[Experiment, float], predicted: Mapping[Experiment, Forecast]
) -> dict[str, np.ndarray]:
    """Return borders of divergence, given in sigma_eps, in each unit."""
    sigma_eps = np.array(list(borders.values()))
    units = {
        r"$\sigma_\epsilon$": sigma_eps,
        "$K^{1/2}$": sigma_eps / np.sqrt([e.unit for e in borders]),
        r"$\eta\sigma_\epsilon$": sigma_eps * np.array([e.eta for e in borders]),
    }
    for method in METHODS[1:]:
        said = np.array([middle(predicted[e].borders(method)["divergent"])[0] for e in borders])
        units[f"prediction: {method}"] = (sigma_eps / said)[np.isfinite(said)]
    return units
