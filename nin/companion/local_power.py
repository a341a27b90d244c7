"""With which power of the noise strength does a decay time change, from strength to strength?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nin.runs.averages import mean
from nin.runs.times import local_powers


@dataclass(frozen=True)
class LocalPower:
    """The power between two neighbouring strengths.

    Attributes:
        share: Of the start, to which a quantity has to fall.
        low: The weaker noise, sigma_eps.
        high: The stronger noise.
        value: Of the power, mean over seeds.
        err: Its standard error.
    """

    share: float
    low: float
    high: float
    value: float
    err: float

    def text(self) -> str:
        """Return the power with its error for a sentence.

        >>> LocalPower(0.5, 1.0, 2.0, -2.0, 0.05).text()
        '−2.00 ± 0.05'
        """
        return f"{self.value:.2f} ± {self.err:.2f}".replace("-", "−")


def measured_powers(sigma_eps: np.ndarray, tau: Mapping[float, np.ndarray]) -> list[LocalPower]:
    """Return the local powers where all seeds fall so far at both strengths.

    Args:
        sigma_eps: Noise strengths, (n,), rising.
        tau: Decay times, (n, seeds), by the share of the start that is left.
    """
    found = []
    for share, times in tau.items():
        powers = local_powers(list(sigma_eps), times)
        for low, high, each in zip(sigma_eps, sigma_eps[1:], powers, strict=False):
            if np.isfinite(each).all():
                found.append(LocalPower(share, float(low), float(high), *mean(each)))
    return found
