"""The claims of Fig. 1, tested on its network's committed runs."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import product

import numpy as np

from nin.companion.claims.finding import Cell, Finding, Verdict, judge
from nin.companion.claims.ledger import claim
from nin.companion.local_power import measured_powers, times_of_both
from nin.runs.averages import course, mean
from nin.runs.decay_fit import Outcome, fit_decay
from nin.runs.history import History
from nin.runs.phases import Phase, most_common_phase
from nin.runs.times import FALLS, decay_times, plateau_end
from nin.studies.experiments import (
    FIG1,
    FIG1_CENTER,
    FIG1_CENTER_K,
    FIG1_RIGHT,
    FIG1_RIGHT_K,
    FIG1_SWEEP,
    FIG1_SWEEP_K,
    Experiment,
    longer,
)  # fmt: skip
from nin.studies.memorisation import BASE, MEMORISATION, Memory, memory
from nin.studies.run import recorded
from nin.studies.walks import FIG1_WEAK, WALKS, distances, increments

SEEDS = (0, 1, 2)
MEMORISED = {0.01: (0.0, 0.2, 0.5), 0.1: (0.0, 0.5)}
"""Strengths K at which the noise may be memorised, and shares of wrong labels."""
DECAY, MEMORY = "figures/fig1_decay", "figures/memorisation"
TIMES = "figures/fig1_timescales"
ALIKE = 0.5
"""Relative difference of |w_ni| that a reader of Fig. 1 would overlook on its axis."""
LEFT = (0.9, 0.7, 0.5, 0.45)
"""Shares of |w_ni| to which times are compared: one is the choice of a moment."""
CURVES = {"w_ni": "|w_ni|", "train_loss": "training loss", "val_loss": "test loss"}
"""What decays in Fig. 1, center."""
KINDS = {False: "re-randomised", True: "fixed"}
SIGMAS = 4
"""Standard errors within which two measured numbers count as equal."""


@lru_cache
def center(fixed: bool, K: float = FIG1_CENTER.K) -> list[History]:
    """Return the runs of Fig. 1's center, a history per seed.

    Args:
        fixed: Whether each image keeps its eps.
        K: One of `FIG1_CENTER_K`.

    Raises:
        RecordError: If a run is not on record.
    """
    e = FIG1_CENTER.at(K, fixed=fixed)
    return recorded([replace(e, seed=seed) for seed in SEEDS], DECAY)


@lru_cache
def remembered(label_noise: float, fixed: bool, K: float) -> Memory:
    """Return what Fig. 1's network remembers of its noise, from the record.

    Args:
        label_noise: Share of training labels drawn anew.
        fixed: Whether each image keeps its eps.
        K: The noise variance in Table 1's unit.

    Raises:
        RecordError: If it is not on record.
    """
    base = replace(BASE, fixed=fixed).at(K)
    return memory(base, SEEDS, label_noise, shelf=MEMORISATION)


@claim(
    "C8",
    "Fig. 1's network is trained to a training accuracy of 100%.",
    "Fig. 1",
    f"{DECAY}#fig-decay",
)
def perfect_accuracy() -> Finding:
    """Ask of both kinds of NIN whether every training image is right, with the noise off."""
    cells, says = [], []
    for K, (fixed, kind) in product(FIG1_CENTER_K, KINDS.items()):
        histories = center(fixed, K)
        best = np.array([h.train_accuracy.max() for h in histories])
        own = [h.accuracy[h.epoch > 0.8 * h.epoch[-1]] for h in histories]
        right = bool((best == 1).all())
        with_noise = all((a == 1).all() for a in own)
        setting = {"NIN": kind, "K": K, "epochs": FIG1_CENTER.epochs}
        cells.append(Cell.of(setting, best, right, with_noise))
        if right:
            first = [h.eval_epoch[h.train_accuracy == 1][0] for h in histories]
            value, err = mean(first)
            says.append(
                f"K = {K:g}, {kind}: all 42,000 are right after {value:.0f} ± {err:.0f} epochs"
            )
        else:
            says.append(
                f"K = {K:g}, {kind}: {best.mean():.2%} at best"
                + (", and all with each image's own noise" if with_noise else "")
            )
    return Finding.over(
        cells,
        "; ".join(says) + ".",
        "best training accuracy, noise off",
    )  # fmt: skip


@claim(
    "C6-CE",
    "In the decay phase the norm of the NIWs and the losses fall exponentially, each with a time "
    "of its own.",
    "Fig. 1, center",
    f"{DECAY}#fig-decay",
)
def exponential_decays() -> Finding:
    """Fit an exponential with a floor to each curve, and compare decay times."""
    cells, bad = [], []
    for K in FIG1_CENTER_K:
        histories = center(False, K)
        start = decay_times(histories, "train_loss")
        for name, words in CURVES.items():
            t, values = course(histories, name)
            good = fit_decay(t, values).outcome is Outcome.EXPONENTIAL
            ratio = decay_times(histories, name) / start
            cells.append(Cell.of({"K": K, "curve": words}, ratio, good))
            bad += [] if good else [f"{words} at K = {K:g}"]
    return Finding.over(
        cells,
        "All are exponentials, with a floor."
        if not bad
        else "All fall, at paces of their own, but none is an exponential."
        if len(bad) == len(cells)
        else f"All fall, at paces of their own, but no exponential: {', '.join(bad)}.",
        "decay time, over that of the training loss",
        value=cells[0].number,
    )


@claim(
    "C4",
    "A fixed NIN and one that is drawn anew each epoch behave essentially alike.",
    "Sec. 1, Fig. 1, center",
    f"{DECAY}#fig-decay",
)
def fixed_and_redrawn() -> Finding:
    """Compare |w_ni| of paired runs at the end, and how far it walks where noise is too weak.

    Besides the runs of Fig. 1's center, those of its right panel at other strengths.
    """
    cells = [
        _fixed_over_anew(FIG1_CENTER.at(K), *(center(f, K) for f in (False, True)))
        for K in FIG1_CENTER_K
    ]
    long = ", ".join(f"{c.value:.2g} at K = {c.setting['K']:.2g}" for c in cells)
    far = [
        distances(increments(replace(FIG1_WEAK, fixed=kind), SEEDS, WALKS))[:, -1]
        for kind in (False, True)
    ]
    walked = _alike(FIG1_WEAK, "distance walked", far[1] / far[0])
    cells.append(walked)
    cells += [
        _fixed_over_anew(FIG1_RIGHT.at(K), anew, fixed)
        for K, (anew, fixed) in _both_kinds().items()
        if K not in FIG1_CENTER_K and not any(h.diverged_step is not None for h in (*anew, *fixed))
    ]  # fmt: skip
    return Finding.over(
        cells,
        "They are the same in the first epoch. Then it depends on the strength: where noise is "
        f"weak, the fixed one stops decaying and is memorised. After {FIG1_CENTER.epochs} epochs "
        f"its weights are longer by a factor of {long}; at K = {FIG1_WEAK.K:.2g} it moves straight "
        f"on while the other walks at random, {walked.value:.1f} times as far in "
        f"{FIG1_WEAK.epochs} epochs.",
        "|w_ni| at the end, fixed over re-randomised",
        value=cells[0].number,
    )


def _fixed_over_anew(e: Experiment, anew: list[History], fixed: list[History]) -> Cell:
    a, b = (course(histories, "w_ni")[1][:, -1] for histories in (anew, fixed))
    return _alike(e, "|w_ni|", b / a)


def _alike(e: Experiment, what: str, ratio: np.ndarray) -> Cell:
    """Make the cell of a ratio that would be 1 if both kinds were alike."""
    value, err = mean(ratio)
    setting = {"K": float(f"{e.K:.9g}"), "epochs": e.epochs, "of": what}
    return Cell.of(setting, ratio, abs(value - 1) < max(ALIKE, SIGMAS * err))


STRENGTHS = {FIG1_RIGHT: FIG1_RIGHT_K, FIG1_SWEEP: FIG1_SWEEP_K}
"""K of the runs of Fig. 1's right panel: those over 60 epochs, and those over three."""


def right(fixed: bool, base: Experiment = FIG1_RIGHT) -> dict[float, list[History]]:
    """Return the runs of Fig. 1's right panel: a history per seed, by K.

    Args:
        fixed: Whether each image keeps its eps.
        base: One of `STRENGTHS`.

    Raises:
        RecordError: If a run is not on record.
    """
    return _right(fixed, base)


@lru_cache
def _right(fixed: bool, base: Experiment) -> dict[float, list[History]]:
    asked = [base.at(K, fixed=fixed) for K in STRENGTHS[base]]
    whole = [recorded([longer(replace(e, seed=seed)) for seed in SEEDS], TIMES) for e in asked]
    return {
        K: [h.until(base.epochs) for h in histories]
        for K, histories in zip(STRENGTHS[base], whole, strict=True)
    }


def _both_kinds() -> dict[float, tuple[list[History], list[History]]]:
    """Return the runs of Fig. 1's right panel with a re-randomised and with a fixed NIN, by K."""
    return {K: (anew, right(True)[K]) for K, anew in right(False).items()}


@claim(
    "C7",
    "Decay times of the NIWs and of both losses are functions of the noise strength, over the four "
    "phases in turn, alike for a fixed and a re-randomised NIN.",
    "Fig. 1, right",
    f"{TIMES}#fig-timescales",
)
def decay_times_over_phases() -> Finding:
    """Name the phases in order of noise, and compare the times of both kinds of NIN.

    Before an image is seen again both are one run, and can but agree. What falls later is compared
    by the times to several shares of the start.
    """
    paired = _both_kinds()
    orders = [
        [list(Phase).index(most_common_phase(histories)[0]) for histories in runs]
        for runs in zip(*paired.values(), strict=True)
    ]
    four = all(order == sorted(order) and set(order) == set(range(4)) for order in orders)
    cells = [
        _later(K, share, steps, fixed, four)
        for K, (anew, fixed) in paired.items()
        for share in LEFT
        for steps in [_steps_to(share, anew)]
        if (np.isfinite(steps) & (steps > anew[0].steps_per_epoch)).all()
    ]
    half = FALLS["w_ni"]
    kept_up = [c for c in cells if c.setting["left"] == half
               and not np.isfinite(_steps_to(half, paired[c.setting["K"]][1])).any()]  # fmt: skip
    short, long = (
        {np.sqrt(K * FIG1.unit): histories for K, histories in runs.items()}
        for runs in (right(False, FIG1_SWEEP), right(False))
    )
    powers = measured_powers({half: times_of_both(short, long, half)})
    steepest = min(powers, key=lambda power: power.value)
    losses = np.array([decay_times(histories, "train_loss") for histories in short.values()])
    end = plateau_end(list(short), losses)
    return Finding.over(
        cells,
        f"{'All four phases come in order' if four else 'Not all phases come in order'}, and the "
        "times change with the noise; but the half-life of |w_ni| is no power of it, for the local "
        f"power is {powers[0].text()} at first, {steepest.text()} at the steepest, and "
        f"{powers[-1].text()} in the end; Eq. (2) says -2. The losses' times leave their plateau "
        f"at sigma_eps = {end.mean():.0f}. Both kinds are one run in the first epoch. Later a "
        "fixed NIN is slower: it does not halve |w_ni| in "
        f"{FIG1_RIGHT.epochs} epochs, {_factors(kept_up)} times as long as the other takes.",
        "time of |w_ni| to a share of its start beyond the first epoch, fixed over re-randomised, "
        "or the run's length over the latter; the value is that of the weakest noise that halves "
        "|w_ni|",
        value=min((c for c in cells if c.setting["left"] == half),
                  key=lambda c: c.setting["K"]).number,
    )  # fmt: skip


def _factors(cells: list[Cell]) -> str:
    return " and ".join(f"(at K = {c.setting['K']:g}) {c.value:.0f}" for c in cells)


def _steps_to(share: float, histories: list[History]) -> np.ndarray:
    return -np.log(share) * decay_times(histories, "w_ni", share)


def _later(K: float, share: float, anew: np.ndarray, fixed: list[History], good: bool) -> Cell:
    """Make the cell of the steps to a share of |w_ni|; of one not reached, the run's length."""
    slow = [min(steps, h.step[-1]) for steps, h in zip(_steps_to(share, fixed), fixed, strict=True)]
    ratio = np.array(slow) / anew
    value, err = mean(ratio)
    setting = {"K": K, "left": share, "epochs": FIG1_RIGHT.epochs}
    same, overlooked = abs(value - 1) < SIGMAS * err, abs(value - 1) < ALIKE
    return Cell.of(setting, ratio, good and same, good and overlooked)


@claim(
    "C5",
    "The NIWs cannot be memorised by the network, only suppressed.",
    "Sec. 5",
    f"{MEMORY}#fig-memorisation",
)
def memorised() -> Finding:
    """Compare the training loss with each image's own eps and with fresh ones."""
    cells = []
    for K, shares in MEMORISED.items():
        for share in shares:
            worth = _worth(share, True, K)
            value, err = mean(worth)
            known = bool((worth > 0).all()) and value > SIGMAS * err
            cells.append(Cell.of({"K": K, "wrong labels": f"{share:.0%}"}, worth, not known))
    [most] = [c for c in cells if c.setting == {"K": FIG1_CENTER.K, "wrong labels": "50%"}]
    says = {
        Verdict.REPRODUCED: "Its own noise serves the network no better than fresh.",
        Verdict.DIFFERS: "A fixed NIN is memorised, even where all labels are right; Sec. 1 grants "
        "that the system might in principle be able to.",
    }.get(judge(cells), "At some strengths and shares of wrong labels a fixed NIN is memorised.")
    return Finding.over(
        cells,
        says,
        "training loss, fresh over own noise, logarithm",
        value=most.number,
        stated=0,
    )


def _worth(share: float, fixed: bool, K: float) -> np.ndarray:
    """Return the logarithm of the loss with fresh noise over that with each image's own."""
    end = remembered(share, fixed, K).end_loss
    return np.log(end["fresh"] / end["own"])
