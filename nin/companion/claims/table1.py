"""The claims of Fig. 3 and of Fig. 2 (bottom), tested on the committed runs at Table 1's values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from nin.companion.claims.finding import Cell, Finding, Verdict, judge
from nin.companion.claims.ledger import claim
from nin.runs.averages import middle
from nin.runs.history import History
from nin.runs.phases import Phase, classify_phase
from nin.runs.times import first_crossing
from nin.studies.experiments import FIG2, FIG3, TABLE1, Experiment, experiment
from nin.studies.run import recorded

SEEDS = {"fig2": (0, 1, 2, 3, 4), "fig3": (0, 1, 2)}
RECOVERS = 35.0
"""The strongest noise of Fig. 2's page, in Table 1's unit, at which no seed diverges."""
SWEEPS = {
    "fig2": (1e-4, 0.1, 1, 5, 10, 15, 20, 25, 30, 35, 38, 40, 42, 44, 47, 50, 60),
    "fig3": (1e-4, 1e-3, 0.01, 0.03, 0.06, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.8, 2.5),
}
"""Noise variances, in Table 1's unit, of the sweeps on the pages of the two figures."""
SWEEP_SEEDS, SWEEP_EPOCHS = (0, 1, 2), 5
AS_LONG = 0.05
"""Relative difference within which two times count as equal. The runs of Fig. 1 trained anew with
another rounding, on a GPU, take up to 2 % less or more, where noise is too weak to be felt."""
CHANCE = 0.1
"""Accuracy of a guess: ten classes of equal size."""
PAGES = {"fig2": "figures/fig2_phases_mse", "fig3": "figures/fig3_phases_ce"}


@lru_cache
def table1_histories(name: str, phase: str) -> list[History]:
    """Return the runs of a figure at the strength of Table 1 that the paper gives a phase.

    Args:
        name: ``"fig2"`` or ``"fig3"``.
        phase: ``"decoupled"``, ``"decay"``, ``"catapult"`` or ``"divergent"``.

    Raises:
        RecordError: If a run is not on record.
    """
    base = experiment(name)
    return recorded([base.at(TABLE1[name][phase], seed=seed) for seed in SEEDS[name]], PAGES[name])


@lru_cache
def sweep(name: str) -> dict[float, list[History]]:
    """Return the short runs of a figure's sweep by strength K, a history per seed.

    Args:
        name: ``"fig2"`` or ``"fig3"``.

    Raises:
        RecordError: If a run is not on record.
    """
    return {
        K: recorded([replace(e, seed=seed) for seed in SWEEP_SEEDS], PAGES[name])
        for K, e in swept(name).items()
    }


def swept(name: str) -> dict[float, Experiment]:
    """Return the experiments of a figure's sweep by strength K.

    Args:
        name: ``"fig2"`` or ``"fig3"``.
    """
    base = replace(experiment(name), epochs=SWEEP_EPOCHS, evaluations=1)
    return {K: base.at(K) for K in SWEEPS[name]}


def at(name: str, K: float) -> dict[str, str | float]:
    """Return a cell's setting: the figure and the strength."""
    return {"figure": name.removeprefix("fig"), "K": K}


@claim(
    "C20",
    "Trained with cross-entropy, the network shows the four phases at the four noise variances "
    "of Table 1.",
    "Fig. 3, Table 1",
    f"{PAGES['fig3']}#fig-phases-ce",
)
def phases_at_table_1() -> Finding:
    """Count the runs that fall into the phase the paper names."""
    cells = []
    for phase, K in TABLE1["fig3"].items():
        agree = [classify_phase(h).phase == phase for h in table1_histories("fig3", phase)]
        cells.append(Cell.of(at("fig3", K), agree, all(agree)))
    return Finding.over(
        cells,
        "Every run is in the phase that Table 1 names."
        if all(c.holds for c in cells)
        else "Some runs are in another phase than Table 1 names.",
        "share of runs in the phase of Table 1",
    )


@claim(
    "C14-CE",
    "In the divergent phase the weights and the loss of the network diverge and training fails.",
    "Sec. 3, Fig. 3",
    f"{PAGES['fig3']}#fig-phases-ce",
)
def divergence_ce() -> Finding:
    """Measure when the loss becomes infinite, and whether all norms grow until then."""
    return _divergence("fig3", {})  # the sweep's runs end before such a loss overflows


@claim(
    "C14-MSE",
    "With a squared error too, the weights and the loss of the network diverge and training fails.",
    "Sec. 3, Fig. 2d",
    f"{PAGES['fig2']}#fig-phases-mse",
)
def divergence_mse() -> Finding:
    """Measure when the loss becomes infinite, and whether all norms grow until then."""
    border = TABLE1["fig2"][Phase.DIVERGENT]
    return _divergence("fig2", {K: found for K, found in sweep("fig2").items() if K > border})


def _divergence(name: str, stronger: Mapping[float, list[History]]) -> Finding:
    """Measure divergences at Table 1's strength and above it.

    A run without one counts with its length.
    """
    runs = {TABLE1[name][Phase.DIVERGENT]: table1_histories(name, Phase.DIVERGENT)}
    cells = []
    for K, histories in (runs | dict(stronger)).items():
        steps = [h.step[-1] if h.diverged_step is None else h.diverged_step for h in histories]
        lost = all(h.diverged_step is not None for h in histories)
        growing = all(norm[-1] > 10 * norm[0] for h in histories for norm in h.norms.values())
        cells.append(Cell.of(at(name, K), steps, lost and growing, lost))
    says = {
        Verdict.REPRODUCED: "All weights grow more than tenfold, then overflow.",
        Verdict.CORRECTED: "The loss overflows, but not all weights grow before.",
    }.get(judge(cells), "Some runs kept a finite loss to the end.")
    return Finding.over(cells, says, "steps until the loss is infinite", stated=0)


@claim(
    "C17-CE",
    "The larger the noise, the longer the data weights take to approach their optimum and the "
    "NIWs to decay.",
    "Caption of Fig. 3",
    f"{PAGES['fig3']}#fig-phases-ce",
)
def relaxation_ce() -> Finding:
    """Compare times with those at the next weaker noise; see `relaxation`."""
    strengths = {TABLE1["fig3"][p]: table1_histories("fig3", p) for p in list(Phase)[:3]}
    return relaxation("3", strengths)


@claim(
    "C17-MSE",
    "With a squared error too: the larger the noise, the longer the data weights take to approach "
    "their optimum and the NIWs to decay.",
    "Caption of Fig. 2",
    f"{PAGES['fig2']}#fig-phases-mse",
)
def relaxation_mse() -> Finding:
    """Compare times with those at the next weaker noise; see `relaxation`."""
    strengths = {TABLE1["fig2"][p]: table1_histories("fig2", p) for p in list(Phase)[:2]}
    strengths[RECOVERS] = recorded([FIG2.at(RECOVERS, seed=s) for s in SEEDS["fig2"]],
                                   PAGES["fig2"])  # fmt: skip
    return relaxation("2", strengths)


def relaxation(figure: str, strengths: Mapping[float, Sequence[History]]) -> Finding:
    """Compare times to a given clean loss, and to half the initial |w_ni|, with the next weaker.

    The loss is the one that the run of the same seed at the weakest noise has after a tenth of its
    steps. A run that never gets there counts with its length, a lower bound. Learning may take as
    long, where noise is weak.

    Args:
        figure: Whose runs they are.
        strengths: Runs by K, rising, the same seeds at each.
    """
    quiet = next(iter(strengths.values()))
    levels = [float(np.interp(h.eval_step[-1] / 10, h.eval_step, h.train_loss)) for h in quiet]
    loss = [[_time_below(h.eval_step, h.train_loss, level)
             for h, level in zip(histories, levels, strict=True)]
            for histories in strengths.values()]  # fmt: skip
    half = [
        [_time_below(h.step, h.w_ni / h.w_ni[0], 0.5) for h in histories]
        for histories in strengths.values()
    ]
    longer, niw_longer = (np.array(t)[1:] / np.array(t)[:-1] for t in (loss, half))
    cells = [
        Cell.of({"figure": figure, "K": K}, a, slower and all(b > 1), slower and all(b < 1))
        for K, a, b in zip(list(strengths)[1:], longer, niw_longer, strict=True)
        for slower in [all(a > 1 - AS_LONG)]
    ]
    equal = [c.setting["K"] for c in cells if abs(c.value - 1) < AS_LONG]
    but = f" (at K = {max(equal):g} as long as with less)" if equal else ""
    by = [np.array([middle(seeds)[0] for seeds in t]) for t in (longer, niw_longer)]
    changes = " and ".join(
        " to ".join(dict.fromkeys(f"{v:.2g}" for v in (t.min(), t.max()))) for t in by
    )
    says = {
        Verdict.REPRODUCED: f"Both take longer with more noise{but}.",
        Verdict.CORRECTED: f"Learning takes longer with more noise{but}, but the NIWs decay "
        "faster, not slower.",
    }.get(judge(cells), "More noise does not always slow the learning, nor the NIWs.")
    return Finding.over(
        cells,
        f"{says} From strength to strength the times change by {changes} (learning and NIWs).",
        "steps to the same loss, over those at the next weaker noise",
        stated=np.inf,
    )


@claim(
    "C18-CE",
    "At the start of the catapult phase nothing is learned until the NIWs have decayed.",
    "Caption of Fig. 3",
    f"{PAGES['fig3']}#fig-first-steps-ce",
)
def catapult_plateau() -> Finding:
    """Measure the clean training accuracy when |w_ni| falls below its start for good."""
    reached, undisturbed = [], []
    for strong, weak in zip(
        table1_histories("fig3", "catapult"), table1_histories("fig3", "decoupled"), strict=True
    ):
        last = strong.step[np.flatnonzero(strong.w_ni >= strong.w_ni[0])[-1]]
        reached.append(float(np.interp(last, strong.eval_step, strong.train_accuracy)))
        undisturbed.append(float(np.interp(last, weak.eval_step, weak.train_accuracy)))
    less = np.array(reached) < 0.75 * np.array(undisturbed)
    at_chance = np.mean(reached) < 2 * CHANCE
    cell = Cell.of(at("fig3", TABLE1["fig3"]["catapult"]), reached, at_chance, all(less))
    says = {
        Verdict.REPRODUCED: "Until then the accuracy stays near chance.",
        Verdict.CORRECTED: "Learning is held up rather than absent: until then the accuracy jumps "
        f"about, above chance but far below the {np.mean(undisturbed):.2f} of the decoupled run.",
    }.get(judge([cell]), "Much is learned before the NIWs have decayed.")
    return Finding.over(
        [cell], says, "training accuracy when |w_ni| last exceeds its start", stated=CHANCE
    )


@claim(
    "C18-MSE",
    "With a squared error too, nothing is learned in the catapult phase until the NIWs have "
    "decayed.",
    "Caption of Fig. 2",
    f"{PAGES['fig2']}#fig-first-steps-mse",
)
def surge_plateau() -> Finding:
    """Measure the clean training accuracy when |w_ni| has halved, at a strength that recovers."""
    runs = recorded([FIG2.at(RECOVERS, seed=seed) for seed in SEEDS["fig2"]], PAGES["fig2"])
    reached, undisturbed, later, steps = [], [], [], []
    for h, weak in zip(runs, table1_histories("fig2", "decoupled"), strict=True):
        steps.append(_time_below(h.step, h.w_ni / h.w_ni[0], 0.5))
        times = [steps[-1], 10 * steps[-1]]
        now, then = np.interp(times, h.eval_step, h.train_accuracy)
        reached.append(now)
        alone = np.interp(times, weak.eval_step, weak.train_accuracy)
        undisturbed.append(alone[0])
        later.append(then / alone[1])
    lost = all(h.diverged_step is not None for h in table1_histories("fig2", "catapult"))
    learned = np.mean(reached) > 2 * CHANCE
    trivial = np.mean(undisturbed) < 2 * CHANCE
    where = f"The runs at Table 1's catapult value diverge; at K = {RECOVERS:g} " if lost else ""
    cell = Cell.of(at("fig2", RECOVERS), reached, not (learned or lost or trivial), not learned)
    return Finding.over(
        [cell],
        f"{where}the NIWs halve in {np.mean(steps):.1f} steps. By then the accuracy is "
        f"{np.mean(reached):.2f}, that of the decoupled runs {np.mean(undisturbed):.2f}"
        f"; ten times later it is {np.mean(later):.2f} times theirs.",
        "training accuracy when |w_ni| has halved",
        stated=CHANCE,
    )


@claim(
    "C2-CE",
    "In the decay and the catapult phase the NIWs end small.",
    "Sec. 1, Fig. 3",
    f"{PAGES['fig3']}#fig-phases-ce",
)
def niws_end_small_ce() -> Finding:
    """Compare the final |w_ni| with the initial one, and with a run that the noise leaves alone."""
    runs = {K: table1_histories("fig3", p) for p, K in TABLE1["fig3"].items()}
    return _niws_end_small("fig3", runs)


@claim(
    "C2-MSE",
    "With a squared error too, the NIWs end small in the decay and the catapult phase.",
    "Sec. 1, Fig. 2",
    f"{PAGES['fig2']}#fig-phases-mse",
)
def niws_end_small_mse() -> Finding:
    """Compare the final |w_ni| with the initial one, and with a run that the noise leaves alone."""
    runs = {K: table1_histories("fig2", p) for p, K in TABLE1["fig2"].items()}
    runs[RECOVERS] = recorded([FIG2.at(RECOVERS, seed=s) for s in SEEDS["fig2"]], PAGES["fig2"])
    return _niws_end_small("fig2", runs)


def _niws_end_small(name: str, runs: Mapping[float, Sequence[History]]) -> Finding:
    """Compare final and initial |w_ni|; a strength at which a run diverges does not count."""
    ends = {
        K: np.array([h.w_ni[-1] / h.w_ni[0] for h in histories])
        for K, histories in runs.items()
        if not any(h.diverged_step is not None for h in histories)
    }
    left = ends.pop(TABLE1[name][Phase.DECOUPLED]).mean()
    apart = left > 0.75
    cells = [
        Cell.of(at(name, K), e, apart and e.max() < 0.25, apart and e.max() < 0.75)
        for K, e in ends.items()
    ]
    most = max(e.max() for e in ends.values())
    kept = f"the decoupled runs keep {left:.0%} of theirs in the same time."
    says = {
        Verdict.REPRODUCED: f"All end below a quarter of their start; {kept}",
        Verdict.CORRECTED: f"They fall, but some keep up to {most:.0%} of their start; {kept}",
    }.get(judge(cells), "Some keep most of their start.")
    if TABLE1[name][Phase.CATAPULT] not in ends:
        says += " The runs at Table 1's catapult value diverge."
    return Finding.over(cells, says, "final over initial |w_ni|, where no run diverges", stated=0)


@claim(
    "C32-CE",
    "The hyper-parameters are such that the network generalises well without a NIN.",
    "App. B",
    f"{PAGES['fig3']}#fig-phases-ce",
)
def generalisation() -> Finding:
    """Measure the gap of the accuracies at the end of the runs whose noise is not felt."""
    cells = []
    for e in (FIG2, FIG3):
        name = "fig2" if e is FIG2 else "fig3"
        histories = table1_histories(name, Phase.DECOUPLED)
        gap = [h.train_accuracy[-1] - h.val_accuracy[-1] for h in histories]
        cells.append(Cell.of(at(name, TABLE1[name][Phase.DECOUPLED]), gap, np.mean(gap) < 0.05))
    test = [
        np.mean([h.val_accuracy[-1] for h in table1_histories(*of)])
        for of in (("fig3", "decoupled"), ("fig2", "decoupled"), ("fig3", "catapult"))
    ]
    return Finding.over(
        cells,
        f"Test accuracy is {test[0]:.3f} with cross-entropy and {test[1]:.3f} with the squared "
        f"error, close to that in training; {test[2]:.3f} after a catapult.",
        "training minus test accuracy, decoupled runs",
        stated=0,
    )


def _time_below(steps: np.ndarray, values: np.ndarray, level: float) -> float:
    """Return the step, between records, at which values first fall to a level; else the last."""
    return min(first_crossing(steps, values, level, falling=True), float(steps[-1]))
