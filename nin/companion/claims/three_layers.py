"""Fig. 1's network, of three hidden layers, asked what the paper says of Fig. 3 and App. B."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nin.companion.claims.fig1 import DECAY, KINDS, SEEDS, TIMES, center, right
from nin.companion.claims.finding import Cell, Finding, Verdict, judge
from nin.companion.claims.ledger import claim
from nin.companion.claims.table1 import relaxation
from nin.runs.averages import mean
from nin.runs.history import History
from nin.runs.phases import Phase, classify_phase
from nin.studies.experiments import (
    FIG1_CENTER,
    FIG1_CENTER_K,
    FIG1_RIGHT,
    FIG1_SWEEP,
)

LIKE_TABLE1 = {
    1e-4: Phase.DECOUPLED, 0.1: Phase.DECAY, 0.9: Phase.CATAPULT, 1.3: Phase.CATAPULT,
    1.8: Phase.DIVERGENT,
}  # fmt: skip
"""Strengths of Fig. 1 (right) at, or to either side of, Table 1's values for cross-entropy."""
DECADES = (1e-4, 1e-3, 0.01, 0.1, 0.9)
"""Strengths of Fig. 1 (right) about ten times apart, up to the catapult phase."""
SMALL_GAP = 0.05
"""Of training and test accuracy, below which a network generalises well, as for C32-CE."""


def long_runs(fixed: bool) -> dict[float, list[History]]:
    """Return the runs of Fig. 1's center by K."""
    return {K: center(fixed, K) for K in FIG1_CENTER_K}


@claim(
    "C20-DEEP",
    "A network of three layers shows the four phases at the noise variances of Table 1, as Fig. 3 "
    "is described in App. A.",
    "App. A, Table 1",
    f"{TIMES}#fig-timescales",
)
def phases_of_three_layers() -> Finding:
    """Count the runs that fall into the phase the paper names, at Fig. 1's rate and batch."""
    cells, found = [], dict[float, list[str]]()
    for fixed, NIN in KINDS.items():
        for K, phase in LIKE_TABLE1.items():
            phases = [classify_phase(h).phase for h in right(fixed)[K]]
            agree = [p == phase for p in phases]
            cells.append(Cell.of({"figure": "1", "NIN": NIN, "K": K}, agree, all(agree)))
            found.setdefault(K, []).extend(str(p) for p in phases if p != phase)
    other = "; ".join(
        f"at K = {K:g} {' and '.join(dict.fromkeys(phases))}"
        for K, phases in found.items()
        if phases
    )
    return Finding.over(
        cells,
        "Three hidden layers, each run in the phase that Table 1 names."
        if judge(cells) == Verdict.REPRODUCED
        else f"Three hidden layers: at {sum(c.holds for c in cells)} of {len(cells)} settings all "
        f"runs are; of the others, {other}.",
        "share of runs in the phase of Table 1",
    )


@claim(
    "C17-DEEP",
    "In Fig. 1's network too: the larger the noise, the longer the data weights take to approach "
    "their optimum and the NIWs to decay.",
    "Caption of Fig. 2",
    f"{TIMES}#fig-timescales",
)
def relaxation_of_three_layers() -> Finding:
    """Compare times with those at a tenth of the noise variance; see `relaxation`."""
    runs = right(fixed=False)
    return relaxation("1", {K: runs[K] for K in DECADES})


@claim(
    "C17-FIG1",
    "In the long runs of Fig. 1 (center) too: the larger the noise, the longer the data weights "
    "take to approach their optimum and the NIWs to decay.",
    "Caption of Fig. 2",
    f"{DECAY}#fig-decay",
)
def relaxation_over_a_hundred_epochs() -> Finding:
    """Compare times with those at the next weaker noise, both kinds of NIN; see `relaxation`.

    A fixed NIN that is memorised does not halve |w_ni|: its time is the length of its run.
    """
    cells, says = [], []
    for fixed, NIN in KINDS.items():
        found = relaxation("1", long_runs(fixed))
        cells += [replace(c, setting={**c.setting, "NIN": NIN}) for c in found.cells]
        says.append(f"{NIN.capitalize()} (n = {len(SEEDS)}): {found.says}")
    return Finding.over(
        cells,
        " ".join(says),
        "steps to the same loss, over those at the next weaker noise",
        stated=np.inf,
    )


@claim(
    "C32-DEEP",
    "The hyper-parameters of Fig. 1 are such that the network generalises well without a NIN.",
    "App. B",
    f"{DECAY}#fig-decay",
)
def generalisation_of_three_layers() -> Finding:
    """Measure the gap of the accuracies: of short runs at the weakest noise, and of long ones."""
    K = min(right(fixed=False))
    early = [h.until(FIG1_SWEEP.epochs) for h in right(fixed=False)[K]]
    runs = {(K, "re-randomised", FIG1_SWEEP.epochs): early}
    for fixed, NIN in KINDS.items():
        runs[K, NIN, FIG1_RIGHT.epochs] = right(fixed)[K]
        runs |= {(of, NIN, FIG1_CENTER.epochs): hs for of, hs in long_runs(fixed).items()}
    cells, test = [], list[float]()
    for (strength, NIN, epochs), histories in runs.items():
        gap = [h.train_accuracy[-1] - h.val_accuracy[-1] for h in histories]
        setting = {"figure": "1", "NIN": NIN, "K": strength, "epochs": epochs}
        cells.append(Cell.of(setting, gap, np.mean(gap) < SMALL_GAP))
        test.append(float(np.mean([h.val_accuracy[-1] for h in histories])))
    return Finding.over(
        cells,
        f"After {cells[0].setting['epochs']} epochs test accuracy is {test[0]:.3f}, with "
        f"{cells[0].value:.3f} less than in training. Trained to the end, as the caption has it, "
        f"it is {min(test[1:]):.3f} to {max(test[1:]):.3f}, "
        f"{min(c.value for c in cells[1:]):.3f} to {max(c.value for c in cells[1:]):.3f} below "
        "that in training (both kinds of NIN).",
        "training minus test accuracy; the value is that of the longest runs",
        value=(*mean([c.value for c in cells[1:]]), cells[1].n),
        stated=0,
    )
