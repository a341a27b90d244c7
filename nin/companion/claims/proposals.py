"""What the paper proposes that noise nodes could do, tried on committed runs."""

from __future__ import annotations

import math

import numpy as np

from nin.companion.claims.finding import Cell, Finding
from nin.companion.claims.ledger import claim
from nin.studies.features import (
    BASE,
    FEATURES,
    SEEDS,
    STRENGTHS,
    grid,
    over_dealt,
    over_niw,
    weight_lengths,
)

PAGE = "figures/proposals"
TOLD = 0.9
"""AUC from which one is told from the other: what is usually called excellent."""
NOT_TOLD = 0.75
"""AUC up to which one is not: half way from chance to certainty."""
GROUPS = ("1st quarter", "2nd quarter", "3rd quarter", "4th quarter", "dealt anew")
"""Real pixels by falling information on the class, and those that have none."""


@claim(
    "C35",
    "From how noise weights evolve beside data weights one can tell features that are uncorrelated "
    "with the labels.",
    "Sec. 5",
    f"{PAGE}#fig-features",
)
def weights_tell_features() -> Finding:
    """Rank |w_ni| among the weights of real pixels, and among those of pixels dealt anew.

    It tells information if it is shorter than those of any quarter of the real pixels and as long
    as those of pixels without information.
    """
    cells, alone = [], []
    for (fixed, strength), runs in grid(BASE, STRENGTHS, SEEDS).items():
        found = weight_lengths(runs, FEATURES)
        alone += [over_dealt(f)[-1] for f in found]
        for group, shares in zip(GROUPS, np.transpose([over_niw(f) for f in found]), strict=True):
            setting = {"NIN": "fixed" if fixed else "redrawn", "sigma_eps": strength}
            value = float(np.mean(shares))
            good = value >= TOLD if group != GROUPS[-1] else 1 - NOT_TOLD <= value <= NOT_TOLD
            cells.append(Cell.of(setting | {"pixels": group}, shares, good))
    rows = {(c.setting["NIN"], c.setting["sigma_eps"], c.setting["pixels"]): c for c in cells}
    as_loud = [rows["fixed", STRENGTHS[0], group].value for group in GROUPS[:-1]]
    loud = [rows["fixed", STRENGTHS[-1], group].value for group in (GROUPS[3], GROUPS[4])]
    return Finding.over(
        cells,
        f"A fixed NIN as loud as a pixel is told from the four quarters of real pixels with an AUC "
        f"of {', '.join(f'{v:.2f}' for v in as_loud)}, from the most to the least informative. "
        f"At {STRENGTHS[-1]:g} times that noise it is {loud[0]:.2f} for the least informative, "
        f"but {loud[1]:.2f} for pixels without any information: it tells loudness. By the lengths "
        f"of their own weights the least informative pixels are told from pixels without "
        f"information with {np.mean(alone):.2f}, by mutual information with 1.00.",
        "share of the pixels of a group whose weights end longer than |w_ni| (AUC); the value is "
        "that of a fixed NIN as loud as a pixel beside the least informative quarter",
        value=rows["fixed", STRENGTHS[0], GROUPS[3]].number,
        stated=math.inf,
    )
