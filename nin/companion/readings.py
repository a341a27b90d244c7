"""What the pages of Figs. 1-3 read off runs: their phases by noise strength, as text and marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nin.runs.averages import course
from nin.runs.history import History
from nin.runs.phases import Phase, classify_phase, most_common_phase
from nin.studies.experiments import TABLE1, Experiment
from nin.studies.run import RunRecord

Runs = Mapping[Experiment, Sequence[RunRecord]]
"""Records over seeds by experiment, from `nin.studies.sweep.run_seeds`."""
Found = Sequence[tuple[float, Phase]]
"""(sigma_eps, phase) of each run."""


def minutes(runs: Runs) -> float:
    """Return how long the runs took, one after the other."""
    return sum(float(r.made["seconds"]) for records in runs.values() for r in records) / 60


def falling_course(histories: Sequence[History], quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a recorded quantity of several runs, a test loss up to its minimum only.

    Args:
        histories: Runs alike in all but their seed.
        quantity: See `nin.runs.averages.course`.

    Returns:
        Times in epochs, (n,), and values, (runs, n).
    """
    t, values = course(histories, quantity)
    end = int(values.mean(0).argmin()) + 1 if quantity == "val_loss" else len(t)
    return t[:end] / histories[0].steps_per_epoch, values[:, :end]


def phase_table(runs: Runs, name: str) -> str:
    """Write a line for each strength: the phase found, in how many seeds, and the paper's.

    Args:
        runs: The runs.
        name: Row of Table 1, ``"fig2"`` or ``"fig3"``.
    """
    paper = {round(K, 6): phase for phase, K in TABLE1[name].items()}
    lines = []
    for e, records in runs.items():
        phase, agree = most_common_phase([r.history for r in records])
        lines.append(
            f"K = {e.K:<8.4g} sigma_eps = {e.sigma_eps:<8.4g} found: {phase:<10} in {agree} of "
            f"{len(records)} seeds;  paper: {paper.get(round(e.K, 6), 'not in Table 1')}"
        )
    return "\n".join(lines)


def phase_panels(runs: Runs) -> dict[str, tuple[Phase, list[History]]]:
    """Return the panels of `nin.companion.figures.draw_phases`, one for each strength."""
    panels = {}
    for e, records in runs.items():
        histories = [r.history for r in records]
        phase, _ = most_common_phase(histories)
        panels[f"$K = {e.K:.4g}$\n{phase}"] = (phase, histories)
    return panels


def each_phase(runs: Runs) -> list[tuple[float, Phase]]:
    """Return sigma_eps and phase of each run, for `nin.companion.figures.draw_phase_bar`."""
    return [(e.sigma_eps, classify_phase(r.history).phase) for e, rs in runs.items() for r in rs]


def shown_phases(
    runs: Runs, found: Found, title: str = "$K = {:.4g}$"
) -> dict[float, tuple[str, Phase]]:
    """Return the marks that runs get on the bar of a sweep: title and phase by sigma_eps.

    Args:
        runs: The runs to mark; those far below all of the sweep are left out.
        found: The runs of the sweep.
        title: Where the value of K goes in.
    """
    left = min(sigma_eps for sigma_eps, _ in found) / 2
    return {
        e.sigma_eps: (title.format(e.K), most_common_phase([r.history for r in records])[0])
        for e, records in runs.items()
        if e.sigma_eps > left
    }


def first_strength(found: Found, phase: Phase) -> float:
    """Return the weakest noise at which all runs are in a phase: sigma_eps, NaN if nowhere.

    >>> decay, lost = Phase.DECAY, Phase.DIVERGENT
    >>> first_strength([(1.0, decay), (2.0, decay), (2.0, lost), (4.0, lost)], lost)
    4.0
    """
    others = {sigma_eps for sigma_eps, other in found if other != phase}
    return min({sigma_eps for sigma_eps, _ in found} - others, default=float("nan"))
