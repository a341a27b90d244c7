"""What the pages of Figs. 1-3 read off runs: phases by noise strength, as tables and marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nin.companion.claims.table1 import table1_histories
from nin.companion.digits import number_text
from nin.companion.tables import Cell, Table
from nin.runs.averages import course, mean
from nin.runs.decay_fit import fit_decay
from nin.runs.history import History
from nin.runs.phases import Phase, classify_phase, most_common_phase
from nin.runs.times import FALLS, initial_time, time_to
from nin.studies.experiments import TABLE1, Experiment, experiment
from nin.studies.run import RunRecord

Runs = Mapping[Experiment, Sequence[RunRecord]]
"""Records over seeds by experiment, from `nin.studies.sweep.run_seeds`."""
LOSS_NAMES = {"mse": "squared error", "ce": "cross-entropy"}
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


def falling_courses(
    kinds: Mapping[str, Sequence[History]],
) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """Return `falling_course` of all that decays in Fig. 1, by kind of NIN and quantity."""
    return {(kind, q): falling_course(runs, q) for kind, runs in kinds.items() for q in FALLS}


_PHASE_HEADS = ("$K$", r"$\sigma_\epsilon$", "paper", "found", "share of seeds")


def phase_table(runs: Runs, name: str) -> Table:
    """Set the phase found at each strength beside the one that Table 1 names.

    Args:
        runs: The runs.
        name: Row of Table 1, ``"fig2"`` or ``"fig3"``.
    """
    rows = [_phase_row(name, e, [r.history for r in records]) for e, records in runs.items()]
    caption = "The phase that most seeds are in at each noise strength, by our rule."
    return Table.of_rows(f"{name}_phases", caption, _PHASE_HEADS, rows)


def as_table1_says(runs: Runs, name: str) -> tuple[int, int]:
    """Return how many runs are in the phase of Table 1, of those at its strengths.

    Args:
        runs: The runs.
        name: Row of Table 1, ``"fig2"`` or ``"fig3"``.
    """
    paper = {round(K, 6): phase for phase, K in TABLE1[name].items()}
    agree = [
        classify_phase(r.history).phase == paper[round(e.K, 6)]
        for e, records in runs.items()
        for r in records
        if round(e.K, 6) in paper
    ]
    return sum(agree), len(agree)


def table1_beside_runs() -> Table:
    """Return Table 1 for both losses, with the phases of the runs on record."""
    rows = []
    for name, strengths in TABLE1.items():
        for phase, K in strengths.items():
            e = experiment(name).at(K)
            rows.append((LOSS_NAMES[e.loss], *_phase_row(name, e, table1_histories(name, phase))))
    caption = (
        "Table 1 of the paper, with the phase that our rule finds. $K$ is the noise variance in "
        r"units of $d_{\rm in}/N_w\eta$ (squared error) and $d_{\rm in}/\eta$ (cross-entropy)."
    )
    return Table.of_rows("table1", caption, ("loss", *_PHASE_HEADS), rows, n=2)


def _phase_row(name: str, e: Experiment, histories: Sequence[History]) -> tuple[Cell, ...]:
    paper = {round(K, 6): phase for phase, K in TABLE1[name].items()}
    phase, agree = most_common_phase(histories)
    named = paper.get(round(e.K, 6), "not in Table 1")
    return e.K, e.sigma_eps, named, phase.value, f"{agree} of {len(histories)}"


def course_table(runs: Runs, name: str, next_layer: str) -> Table:
    """Return what the rule saw and how the networks end: medians over seeds, and test accuracy.

    Args:
        runs: The runs, over seeds.
        name: Of the figure, for the file.
        next_layer: Name of the weights after the NIN, such as ``"layers.1.weight"``.
    """
    rows: list[list[Cell]] = []
    for e, records in runs.items():
        found = [classify_phase(r.history) for r in records]
        after = [r.history.norms[next_layer] for r in records]
        numbers = (
            [f.loss_peak for f in found], [f.loss_end for f in found], [f.w_peak for f in found],
            [f.w_end for f in found], [w[-1] / w[0] for w in after],
        )  # fmt: skip
        accuracy = np.array([r.history.val_accuracy[-1] for r in records])
        spread = float(accuracy.std(ddof=len(accuracy) > 1))
        medians = [float(np.median(values)) for values in numbers]
        rows.append([e.K, *medians, (float(accuracy.mean()), spread)])
    heads = (
        "$K$", "noisy loss, peak", "noisy loss, end", r"$|w_{\rm NI}|$, peak",
        r"$|w_{\rm NI}|$, end", "$|W^{(1)}|$, end", "test accuracy",
    )  # fmt: skip
    caption = (
        "Each quantity over its start, medians over seeds; test accuracy at the last evaluation, "
        "noise off, mean and standard deviation. A diverged run counts up to its last finite step."
    )
    return Table.of_rows(f"{name}_courses", caption, heads, rows)


TIME_HEADS = (r"$\tau$ of the fit", "95% of it", "fall to $1/e$", "initial slope")
SHAPE_HEADS = ("shape", "$p$", "misfit", "floor")
"""What `decay_cells` returns."""


def decay_cells(
    t: np.ndarray, values: np.ndarray, smooth: int = 1
) -> tuple[list[Cell], list[Cell]]:
    """Return three answers to how long a decay takes, and whether it is an exponential.

    Args:
        t: Times, (n,).
        values: Of each run, (runs, n).
        smooth: As for `nin.runs.times.time_to`.
    """
    last: list[Cell] = [time_to(t, values, smooth=smooth)[:2], initial_time(t, values)[:2]]
    try:
        fit = fit_decay(t, values)
    except ValueError as error:
        return ["", "", *last], [f"no fit: {error}", "", "", ""]
    low, high = (number_text(end) for end in fit.interval())
    quality: list[Cell] = [fit.p_value, f"{fit.misfit:.1%}", (fit.floor, fit.floor_err)]
    times: list[Cell] = [(fit.tau, fit.tau_err), f"{low} to {high}", *last]
    return times, [fit.outcome.value, *quality]


APART_HEADS = ("epoch", r"$|w_{\rm NI}|$, re-randomised", "fixed over re-randomised")
"""What `kinds_apart` returns in a row."""


def kinds_apart(
    anew: Sequence[History], fixed: Sequence[History], epochs: Sequence[int]
) -> list[tuple[Cell, ...]]:
    """Compare the noise weights of two kinds of NIN at some epochs, seed by seed.

    Args:
        anew: Runs with a NIN that is drawn anew, one for each seed.
        fixed: Runs with a fixed one, in the same order.
        epochs: When; the first record from there on counts.

    Returns:
        Rows of the epoch, the mean norm of the first over its start, and the mean ratio of the
        second to the first with its standard error.
    """
    t, a = course(anew, "w_ni")
    f = course(fixed, "w_ni")[1]
    t = t / anew[0].steps_per_epoch
    at = [min(int(np.searchsorted(t, epoch)), len(t) - 1) for epoch in epochs]
    return [
        (round(float(t[i]), 1), mean(a[:, i] / a[:, 0])[0], mean(f[:, i] / a[:, i])) for i in at
    ]


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
