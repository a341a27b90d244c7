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
    cells, alone, counted = [], list[float](), list[float]()
    for (fixed, strength), runs in grid(BASE, STRENGTHS, SEEDS).items():
        found = weight_lengths(runs, FEATURES)
        alone += [over_dealt(f)[-1] for f in found]
        counted += [over_dealt(f, f.information)[-1] for f in found]
        for group, shares in zip(GROUPS, np.transpose([over_niw(f) for f in found]), strict=True):
            setting = {"NIN": "fixed" if fixed else "redrawn", "sigma_eps": strength}
            value = float(np.mean(shares))
            good = value >= TOLD if group != GROUPS[-1] else 1 - NOT_TOLD <= value <= NOT_TOLD
            cells.append(Cell.of(setting | {"pixels": group}, shares, good))
    rows = {(c.setting["NIN"], c.setting["sigma_eps"], c.setting["pixels"]): c for c in cells}
    as_loud = [rows["fixed", STRENGTHS[0], group].value for group in GROUPS]
    others = [c.value for c in cells if c.setting["pixels"] == GROUPS[-1]][1:]
    return Finding.over(
        cells,
        "One that is fixed and as loud as a pixel does: real pixels end longer, AUC "
        f"{', '.join(f'{v:.2f}' for v in as_loud[:-1])} from the most to the least informative "
        f"quarter, pixels without information do not ({as_loud[-1]:.2f}). A louder or redrawn NIN "
        f"is told from these too ({min(others):.2f} at least): its decay tells of its "
        "own noise. By their own weights the least informative pixels are told from those without "
        f"information with {np.mean(alone):.2f}; by counts, without training, with "
        f"{np.mean(counted):.2f}.",
        "share of the pixels of a group whose weights end longer than |w_ni| (AUC); the value is "
        "that of a fixed NIN as loud as a pixel beside the least informative quarter",
        value=rows["fixed", STRENGTHS[0], GROUPS[3]].number,
        stated=math.inf,
    )
