"""Runs that the rule calls catapults, and that never land."""

from __future__ import annotations

from collections.abc import Iterable

from nin.runs.phases import THROWN, Phase
from nin.studies.borders.search import Trials


def thrown(found: Iterable[Trials]) -> tuple[int, int, float]:
    """Return how many catapults end with |w_ni| above `THROWN` times its start.

    Args:
        found: The trials of a configuration.

    Returns:
        How many, of how many catapults, and the largest of those ends, 0 if there is none.
    """
    phase = Phase.CATAPULT
    ends = [f.w_end for trials in found for f in trials.found.values() if f.phase == phase]
    return sum(end > THROWN for end in ends), len(ends), max(ends, default=0.0)
