"""What the paper leaves open, and where each choice would put its borders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nin.runs.averages import middle
from nin.studies.experiments import TABLE1


@dataclass(frozen=True)
class ChoiceEffect:
    """The borders of a network with one choice changed, noise variances in Table 1's unit.

    Attributes:
        catapult: Where the catapult begins on the small network.
        divergent: Where divergence begins there.
        factor: Of the border of divergence over that without the change, and its standard error.
        at_full_scale: Catapult and divergence at the paper's scale if that factor holds there.
    """

    catapult: float
    divergent: float
    factor: tuple[float, float]
    at_full_scale: tuple[float, float]

    @property
    def fits_table1(self) -> bool:
        """Whether decay, catapult and divergence would lie where Table 1 has them."""
        catapult, divergent = self.at_full_scale
        K = TABLE1["fig2"]
        return K["decay"] < catapult < K["catapult"] < divergent < K["divergent"]


def choice_effects(
    found: Mapping[str, Mapping[str, np.ndarray]], unit: float, full_scale: float, tolerance: float
) -> dict[str, ChoiceEffect]:
    """Extrapolate borders of a small network, measured with choices changed, to the paper's scale.

    Args:
        found: sigma_eps of ``"catapult"`` and ``"divergent"``, (seeds,) each, by choice; the first
            changes nothing.
        unit: sigma_eps^2 at K = 1.
        full_scale: K of divergence at the paper's scale where nothing is changed.
        tolerance: Of the search in sigma_eps, which is part of the error.
    """
    effects: dict[str, ChoiceEffect] = {}
    first = np.nan
    for words, borders in found.items():
        catapult, (divergent, err) = (middle(borders[b]) for b in ("catapult", "divergent"))
        K = catapult[0] ** 2 / unit, divergent**2 / unit
        first = first if effects else K[1]
        factor_err = 2 * float(np.hypot(err, tolerance / np.sqrt(12))) * K[1] / first
        scaled = K[0] / first * full_scale, K[1] / first * full_scale
        effects[words] = ChoiceEffect(*K, (K[1] / first, factor_err), scaled)
    return effects
