"""Borders predicted from the initial weights beside measured ones, one configuration each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nin.linear.noise_net import STEPS, NoiseNet, noise_border
from nin.runs.averages import middle
from nin.studies.borders.forecasts import METHODS, Forecast
from nin.studies.borders.prediction import closed_border
from nin.studies.experiments import Experiment


@dataclass(frozen=True)
class Comparison:
    """A predicted and a measured border of one configuration, in the same unit.

    Attributes:
        activation: Of the network.
        loss: Of the network.
        predicted: Geometric mean over seeds.
        measured: Geometric mean over seeds.
        err: Standard error of `measured`.
    """

    activation: str
    loss: str
    predicted: float
    measured: float
    err: float

    @property
    def ratio(self) -> float:
        """Measured over predicted."""
        return self.measured / self.predicted


def compare_on_noise(net: NoiseNet, predicted: float, steps: int = STEPS) -> Comparison:
    """Measure where a network on noise alone diverges, over four draws of its weights.

    Args:
        net: The network.
        predicted: The border that is expected, in sigma_eps; the search begins around it.
        steps: Length of the runs.

    >>> net = NoiseNet(width=64, d_out=2, eta=0.02)
    >>> round(compare_on_noise(net, net.formulas.two_classes).ratio, 1)
    1.0
    """
    found = noise_border(net, predicted, seeds=4, steps=steps, tolerance=0.02)
    return Comparison(net.activation, net.loss, predicted, found.value, found.err)


def compare(
    measured: Mapping[Experiment, Mapping[str, np.ndarray]],
    predicted: Mapping[Experiment, Forecast],
    method: str,
    border: str,
) -> tuple[list[Comparison], list[Experiment]]:
    """Compare a border of several configurations with what one method says of it.

    Args:
        measured: sigma_eps by configuration and border, (seeds,) each; 0 or infinite where a seed
            has no such border.
        predicted: The predictions for each of these configurations.
        method: One of `nin.studies.borders.forecasts.METHODS`.
        border: ``"catapult"`` or ``"divergent"``.

    Returns:
        Those that have the border both ways, and the configurations with it on one side only. A
        configuration for which the method says nothing is in neither.
    """
    points, lost = [], []
    for e, borders in measured.items():
        said = predicted[e].borders(method).get(border)
        if said is None:
            continue
        (there, err), (here, _) = middle(borders[border]), middle(said)
        if np.isfinite(there) and np.isfinite(here):
            points.append(Comparison(e.activation, e.loss, here, there, there * err))
        elif np.isfinite(there) != np.isfinite(here):
            lost.append(e)
    return points, lost


Compared = dict[tuple[str, str], tuple[list[Comparison], list[Experiment]]]
"""What `compare` returns, by border and method."""


def compare_all(
    measured: Mapping[Experiment, Mapping[str, np.ndarray]],
    predicted: Mapping[Experiment, Forecast],
) -> Compared:
    """Compare both upper borders with what each method says of them; arguments as for `compare`."""
    return {
        (border, method): compare(measured, predicted, method, border)
        for border in ("catapult", "divergent")
        for method in METHODS
    }


def missed(
    measured: Mapping[Experiment, Mapping[str, np.ndarray]],
    predicted: Mapping[Experiment, Forecast],
    method: str,
    by: float,
) -> list[tuple[Experiment, str, float, float]]:
    """Return the upper borders that a method misses, with both of their places in sigma_eps.

    Args:
        measured: As for `compare`.
        predicted: As for `compare`.
        method: As for `compare`.
        by: A factor in sigma_eps; what is predicted within it is not missed.

    Returns:
        Configuration, border, measured and predicted; NaN where none is predicted.
    """
    found: list[tuple[Experiment, str, float, float]] = []
    for e, borders in measured.items():
        said = predicted[e].borders(method)
        for border in [b for b in ("catapult", "divergent") if b in said]:
            there, here = middle(borders[border])[0], middle(said[border])[0]
            if np.isfinite(there) and not 1 / by < here / there < by:
                found.append((e, border, there, here))
    return found


@dataclass(frozen=True)
class Shift:
    """What images do to a border.

    Attributes:
        size: |x|^2/sigma_eps^2 of an image at the closed form.
        images: The border of networks that see images, against the closed form.
        alone: That of networks that see the noise alone.
    """

    size: float
    images: Comparison
    alone: Comparison


def against_closed_form(
    measured: Mapping[Experiment, np.ndarray], tolerance: float
) -> dict[Experiment, Comparison]:
    """Compare borders of divergence with `nin.studies.borders.prediction.closed_border`.

    Args:
        measured: sigma_eps by configuration, (seeds,) each.
        tolerance: Of the search: seeds whose borders lie in one bracket are not without error.

    Returns:
        Those that have a border in most seeds; one that diverges without noise has none.

    Raises:
        ValueError: If a configuration has no closed form.
    """
    points = {}
    for e, borders in measured.items():
        value, err = middle(borders)
        if np.isnan(value):
            continue
        err = value * np.sqrt(err**2 + tolerance**2 / 12)
        points[e] = Comparison(e.activation, e.loss, closed_border(e), value, err)
    return points
