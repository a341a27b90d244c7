"""With which power of the noise strength does a decay time change, from strength to strength?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nin.runs.averages import mean
from nin.runs.history import History
from nin.runs.times import decay_times, local_powers

Runs = Mapping[float, Sequence[History]]
"""Runs over seeds, by the strength of the noise."""


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


def times_of_both(short: Runs, long: Runs, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return decay times of |w_ni| over the noise, of long runs where the short ones end too soon.

    Args:
        short: Runs at many strengths.
        long: Longer runs at some strengths, with the same seeds.
        share: Of the start, to which |w_ni| has to fall.

    Returns:
        The strengths at which all runs fall so far, (n,), rising; the times, (n, seeds).
    """
    found: dict[float, np.ndarray] = {}
    for runs in (long, short):
        times = {strength: decay_times(same, "w_ni", share) for strength, same in runs.items()}
        found |= {strength: each for strength, each in times.items() if np.isfinite(each).all()}
    rising = sorted(found)
    return np.array(rising), np.array([found[strength] for strength in rising])


def measured_powers(times: Mapping[float, tuple[np.ndarray, np.ndarray]]) -> list[LocalPower]:
    """Return the local powers from each strength to the next.

    Args:
        times: Strengths sigma_eps, (n,), rising, and decay times, (n, seeds), finite, by the share
            of the start that is left.
    """
    return [
        LocalPower(share, float(low), float(high), *mean(each))
        for share, (sigma_eps, tau) in times.items()
        if len(sigma_eps) > 1
        for low, high, each in zip(
            sigma_eps, sigma_eps[1:], local_powers(list(sigma_eps), tau), strict=False
        )
    ]
