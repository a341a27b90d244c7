"""What a coarser arithmetic does to decay times, beside what seeds do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nin.companion.tables import Table


@dataclass(frozen=True)
class PrecisionGap:
    """Decay times of the same runs in two kinds of arithmetic.

    Attributes:
        quantity: What decays.
        K: Noise variance of the runs.
        gaps: Logarithm of the coarse over the fine time, (seeds,).
        variance: Of the logarithm of the coarse time over all of its seeds.
    """

    quantity: str
    K: float
    gaps: np.ndarray
    variance: float


def precision_gap(
    quantity: str, K: float, coarse: np.ndarray, fine: np.ndarray, place: Sequence[int]
) -> PrecisionGap | None:
    """Compare times seed by seed; None if one is missing.

    Args:
        quantity: What decays.
        K: Noise variance of the runs.
        coarse: Times in the coarse arithmetic, (seeds,).
        fine: Times in the fine one, for some of these seeds.
        place: Where these seeds stand in `coarse`.
    """
    if not np.isfinite([*coarse, *fine]).all():
        return None
    log = np.log(coarse)
    return PrecisionGap(quantity, K, log[list(place)] - np.log(fine), float(log.var(ddof=1)))


def overall(gaps: Sequence[PrecisionGap]) -> tuple[float, float, float, int]:
    """Return root mean square and mean of all gaps, the deviation of seeds, and how many pairs.

    Args:
        gaps: Of one quantity, at several strengths.
    """
    each = np.concatenate([g.gaps for g in gaps])
    seeds = np.sqrt(np.mean([g.variance for g in gaps]))
    return float(np.sqrt(np.mean(each**2))), float(each.mean()), float(seeds), len(each)


def precision_table(gaps: Mapping[str, Sequence[PrecisionGap]]) -> Table | None:
    """Return the gaps at each strength, and those of all strengths together; None if there is none.

    Args:
        gaps: By what decays, in words.
    """
    rows = []
    for what, found in gaps.items():
        for g in found:
            ratios = ", ".join(f"{ratio:.3f}" for ratio in np.exp(g.gaps))
            rows.append((what, f"{g.K:.3g}", ratios, f"{np.sqrt(g.variance):.1%}"))
        if found:
            rms, shift, seeds, n = overall(found)
            pooled = f"rms {rms:.1%}, mean {shift:+.1%} (n = {n} pairs)"
            rows.append((what, "all", pooled, f"{seeds:.1%}"))
    caption = (
        "Decay times in both kinds of arithmetic; beside the ratio, the standard deviation of "
        "times over seeds."
    )
    heads = ("time of", "$K$", "bfloat16 over float32, by seed", "seeds differ by")
    return Table.of_rows("fig1_precision", caption, heads, rows, n=2) if rows else None
