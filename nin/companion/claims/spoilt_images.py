"""Whether noise that the weights got rid of leaves a network that stands spoilt images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from nin.companion.claims.finding import Cell, Finding
from nin.companion.claims.ledger import claim
from nin.studies.leads import FIRST, FIRST_SEEDS, SECOND, SECOND_SEEDS, Contest, Lead, contest
from nin.studies.robustness import ROBUSTNESS

SHOWN = "figures/robustness#fig-robustness"


@lru_cache
def contests() -> tuple[Contest, ...]:
    """Return the setting of the study, and the one that nobody had looked at."""
    settings = ((FIRST, FIRST_SEEDS), (SECOND, SECOND_SEEDS))
    return tuple(contest(plain, seeds, ROBUSTNESS) for plain, seeds in settings)


def judge_contests(contests: Sequence[Contest], *peers: str) -> Finding:
    """Judge all comparisons of several settings by the rule of `nin.studies.leads`.

    A phase in which no strength was found is no setting. The paper hopes; so where no comparison
    says more robust, that counts against it only if all say less.

    Args:
        contests: A setting each.
        *peers: Beside which; default: all.
    """
    found: list[tuple[Cell, Lead]] = []
    for c in contests:
        for x in (x for x in c.leads(*peers) if x.strengths):
            setting = {
                "N_w": c.plain.experiment.width,
                "NIN": "fixed" if x.fixed else "redrawn",
                "phase": x.phase,
            }
            good = x.verdict == "more robust"
            found.append((Cell(setting, 100 * x.value, 100 * x.err, c.seeds, good), x))
    cells, leads = zip(*found, strict=True)
    said = [x.verdict for x in leads]
    counts = [f"{v} in {said.count(v)}" for v in ("more robust", "no difference", "less robust")]
    undecided = "more robust" not in said and set(said) != {"less robust"}
    values, halves = [c.value for c in cells], [100 * x.half for x in leads]
    return Finding.over(
        cells,
        f"By intervals of 95 % for the four comparisons of a setting: {', '.join(counts)}; "
        f"{min(values):+.1f} to {max(values):+.1f} points, intervals ± {min(halves):.1f} to "
        f"{max(halves):.1f}.",
        "accuracy on spoilt test images, in percentage points over the others",
        may=undecided,
        stated=float("inf"),
    )


@claim(
    "C43",
    "Where noise is mitigated, training may land at networks that resist noise.",
    "Sec. 5",
    SHOWN,
)
def resists_noise() -> Finding:
    """Compare with the network without a regulariser."""
    return judge_contests(contests(), "none")


@claim(
    "C44",
    "Noise injection regularises effectively (asked here: on spoilt images, beyond dropout and "
    "weight decay at equal clean accuracy).",
    "Sec. 1",
    SHOWN,
)
def beyond_other_regularisers() -> Finding:
    """Compare with the frontier of dropout and weight decay."""
    return judge_contests(contests())
