"""How regularised networks stand spoilt images, as tables and as numbers of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nin.companion.tables import Cell, Table
from nin.runs.averages import mean
from nin.runs.frontiers import level
from nin.runs.phases import Phase
from nin.studies.leads import Contest, Lead, answer
from nin.studies.robustness import Regularised, Robustness


def accuracy_table(found: Mapping[Regularised, Robustness], plain: Regularised) -> Table:
    """Return accuracies of every configuration, in per cent.

    Args:
        found: All of them.
        plain: That without any regulariser, with which seeds pair.
    """
    none = found[plain].points()
    rows: list[tuple[Cell, ...]] = []
    for c, r in found.items():
        more = 100 * (r.points() - none)[:, 1]
        shares = (r.train, *r.points().T)
        of_none: Cell = "" if c == plain else mean(more)
        rows.append((*named(c), r.phase or "", *(mean(100 * s) for s in shares), of_none))
    caption = (
        f"Accuracy in per cent on training images, clean and spoilt test images (n = {len(none)} "
        "seeds, standard error); the last column is spoilt, less that without a regulariser at the "
        "same seed."
    )
    heads = ("regulariser", "strength", "phase", "training", "clean", "spoilt", "spoilt, gained")
    return Table.of_rows("robustness", caption, heads, rows)  # none has no strength to be named by


def named(c: Regularised) -> tuple[str, float | str]:
    """Return what a network is regularised by, and the strength.

    >>> from nin.studies.robustness import BASE, noisy
    >>> named(Regularised(BASE)), named(*noisy(Regularised(BASE), [0.25], fixed=True))
    (('none', ''), ('fixed NIN', 0.25))
    """
    if c.experiment.sigma_eps:
        return "fixed NIN" if c.experiment.fixed else "NIN", float(f"{c.experiment.K:.6g}")
    if c.dropout:
        return "dropout", c.dropout
    return ("weight decay", c.weight_decay) if c.weight_decay else ("none", "")


def lead_table(contests: Sequence[Contest]) -> Table:
    """Return the four comparisons of each contest with their verdicts.

    Args:
        contests: Networks of different widths, say.
    """
    rows: list[tuple[Cell, ...]] = [
        (
            c.plain.experiment.width, c.seeds, x.phase, kind_of(x), x.strengths,
            (100 * x.value, 100 * x.err), round(100 * x.half, 1), x.verdict,
        )
        for c in contests
        for x in c.leads()
    ]  # fmt: skip
    caption = (
        "Accuracy on spoilt images above that of the better of dropout and weight decay at equal "
        "or higher clean accuracy, in percentage points with standard error over seeds; the "
        "interval is that of 95 % for the four rows of a width together."
    )
    heads = ("$N_w$", "seeds", "phase", "NIN", "strengths", "lead", "± interval", "verdict")
    return Table.of_rows("robustness_verdicts", caption, heads, rows, n=4)


def corruption_table(
    by_corruption: Mapping[str, Sequence[Lead]], n: int, name: str = "robustness_by_kind"
) -> Table:
    """Return the same comparisons for each corruption alone, or beside each peer alone.

    Args:
        by_corruption: The comparisons of each.
        n: Seeds.
        name: Of the CSV file.
    """
    first = next(iter(by_corruption.values()))
    heads = ("comparison", *(f"{x.phase}, {kind_of(x)}" for x in first))
    rows: list[tuple[Cell, ...]] = [
        (what, *((100 * x.value, 100 * x.err) for x in leads))
        for what, leads in by_corruption.items()
    ]
    caption = (
        "The lead, in percentage points, of each phase and kind of NIN "
        f"(n = {n} seeds, standard error)."
    )
    return Table.of_rows(name, caption, heads, rows)


def kind_of(x: Lead) -> str:
    """Return what the NIN of a comparison is called."""
    return "fixed" if x.fixed else "drawn anew"


def severity_gains(
    found: Mapping[Regularised, Robustness], chosen: Sequence[Regularised], plain: Regularised
) -> Table:
    """Return what some configurations gain over none at each severity, in percentage points.

    Args:
        found: Has all of them.
        chosen: Those to show, a column each.
        plain: That without any regulariser.
    """
    n = len(found[plain].clean)
    rows: list[tuple[Cell, ...]] = []
    for k, (how, size) in enumerate(plain.severities):
        gains = (100 * (found[c].spoilt - found[plain].spoilt)[:, k] for c in chosen)
        rows.append((how, size, mean(100 * found[plain].spoilt[:, k]), *map(mean, gains)))
    caption = (
        "Accuracy in per cent without a regulariser, and what some gain over it in percentage "
        f"points (n = {n} seeds, standard error)."
    )
    heads = ("corruption", "severity", "none", *(" ".join(map(str, named(c))) for c in chosen))
    return Table.of_rows("robustness_severities", caption, heads, rows, n=2)


def contest_numbers(c: Contest) -> dict[str, str]:
    """Return what a text says of a contest, by name; differences are in percentage points.

    Args:
        c: The contest. Where every strength is out of place, nothing is said of leads.
    """
    leads = c.leads()
    said = {f"{x.phase}_{'fixed' if x.fixed else 'anew'}": points(x) for x in leads}
    learnt = [r.points().mean(0) for r in c.found.values() if r.phase is not Phase.DIVERGENT]
    said["along"] = f"{np.corrcoef(np.transpose(learnt))[0, 1]:.2f}"
    said |= {"answer": answer(leads).capitalize(), "seeds": str(c.seeds)}
    found = [x for x in leads if x.strengths]
    if found:
        values = [f"{100 * x:.1f}".replace("-", "−") for x in sorted(x.value for x in found)]
        same = max((x for x in c.leads(above=level) if x.strengths), key=lambda x: abs(x.value))
        how, worst = c.worst()
        said |= {
            "most": f"{100 * max(x.value + x.half for x in found):.1f}",
            "low": values[0],
            "high": values[-1],
            "level": f"{100 * abs(same.value):.1f} ± {100 * same.err:.1f}",
            "worst": points(worst),
            "worst_where": f"{how}, {worst.phase}, NIN {kind_of(worst)}",
        }
    return said


def points(x: Lead) -> str:
    """Return a lead in percentage points, and its error.

    >>> points(Lead(Phase.DECAY, True, 2, -0.021, 0.004, 0.01))
    '−2.1 ± 0.4'
    """
    return f"{100 * x.value:+.1f} ± {100 * x.err:.1f}".replace("-", "−")
