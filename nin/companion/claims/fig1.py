"""The claims of Fig. 1, tested on its network's committed runs."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from nin.companion.claims.finding import Finding, Verdict
from nin.companion.claims.ledger import claim
from nin.runs.averages import course, mean
from nin.runs.decay_fit import Outcome, fit_decay
from nin.runs.history import History
from nin.runs.phases import Phase, most_common_phase
from nin.runs.times import decay_times, plateau_end, power, time_to
from nin.studies.experiments import FIG1_CENTER, FIG1_RIGHT, FIG1_RIGHT_K, FIG1_STRONGER, Experiment
from nin.studies.memorisation import BASE, MEMORISATION, Memory, memory
from nin.studies.run import recorded
from nin.studies.walks import FIG1_WEAK, WALKS, distances, increments

SEEDS = (0, 1, 2)
LABEL_NOISE = (0.0, 0.2, 0.5)
DECAY, MEMORY = "figures/fig1_decay", "figures/memorisation"
TIMES = "figures/fig1_timescales"
ALIKE = 0.5
"""Relative difference of |w_ni| that a reader of Fig. 1 would overlook on its axis."""
SIGMAS = 4
"""Standard errors within which two measured numbers count as equal."""


@lru_cache
def center(fixed: bool, base: Experiment = FIG1_CENTER) -> list[History]:
    """Return the runs of Fig. 1's center, a history per seed.

    Args:
        fixed: Whether each image keeps its eps.
        base: The experiment, at this strength or another.

    Raises:
        RecordError: If a run is not on record.
    """
    return recorded([replace(base, seed=seed, fixed=fixed) for seed in SEEDS], DECAY)


@lru_cache
def remembered(label_noise: float, fixed: bool) -> Memory:
    """Return what Fig. 1's network remembers of its noise, from the record.

    Args:
        label_noise: Share of training labels drawn anew.
        fixed: Whether each image keeps its eps.

    Raises:
        RecordError: If it is not on record.
    """
    base = replace(BASE, fixed=fixed).at(FIG1_CENTER.K)
    return memory(base, SEEDS, label_noise, shelf=MEMORISATION)


@claim("C8", "Fig. 1's network is trained to a training accuracy of 100%.", "Fig. 1", DECAY)
def perfect_accuracy() -> Finding:
    """Find the first evaluation, noise off, that gets every training image right."""
    histories, fixed = center(False), center(True)
    first = [h.eval_epoch[h.train_accuracy == 1] for h in histories]
    if not all(len(epochs) for epochs in first):
        return Finding.of_values(
            Verdict.DIFFERS,
            "Not every run gets all training images right.",
            [h.train_accuracy.max() for h in histories],
            "best training accuracy, noise off",
        )
    last = [h.accuracy[h.epoch > 0.8 * h.epoch[-1]] for h in fixed]
    says = "All 42,000 training images are right in the end, with the NIN drawn anew each epoch."
    if all((a == 1).all() for a in last) and all(h.train_accuracy[-1] < 1 for h in fixed):
        without = np.mean([h.train_accuracy[-1] for h in fixed])
        says += (
            f" With a fixed one they are so with its own noise, and {without:.2%} of them without."
        )
    return Finding.of_values(
        Verdict.REPRODUCED,
        says,
        [epochs[0] for epochs in first],
        "epochs to a training accuracy of 100%, noise off",
    )


@claim(
    "C6-CE",
    "In the decay phase the norm of the NIWs and the losses fall exponentially, each with a time "
    "of its own.",
    "Fig. 1, center",
    DECAY,
)
def exponential_decays() -> Finding:
    """Fit an exponential with a floor to each curve, and compare the times to 1/e."""
    histories = center(False)
    outcomes = {
        name: fit_decay(*course(histories, name)).outcome
        for name in ("w_ni", "train_loss", "val_loss")
    }
    times = {name: time_to(*course(histories, name)) for name in outcomes}
    ratio = times["w_ni"].each / times["train_loss"].each
    good = [name for name, outcome in outcomes.items() if outcome is Outcome.EXPONENTIAL]
    apart = abs(np.log(ratio)).min() > np.log(2)
    if len(good) == len(outcomes):
        verdict, says = Verdict.REPRODUCED, "All three are exponentials, with a floor."
    else:
        named = {"w_ni": "|w_ni|", "train_loss": "the training loss", "val_loss": "the test loss"}
        bad = [named[name] for name in outcomes if name not in good]
        verdict = Verdict.CORRECTED if good and apart else Verdict.DIFFERS
        says = f"All fall, at paces of their own, but no exponential: {', '.join(bad)}."
    return Finding.of_values(verdict, says, ratio, "time to 1/e, |w_ni| over training loss")


@claim(
    "C4",
    "A fixed NIN and one that is drawn anew each epoch behave essentially alike.",
    "Sec. 1, Fig. 1, center",
    DECAY,
)
def fixed_and_redrawn() -> Finding:
    """Compare |w_ni| of paired runs at the end, and how far it walks where noise is too weak."""
    value, err = mean(_fixed_over_anew(FIG1_CENTER))
    strong, strong_err = mean(_fixed_over_anew(FIG1_STRONGER))
    apart, strong_apart = (
        abs(v - 1) > max(ALIKE, SIGMAS * e) for v, e in ((value, err), (strong, strong_err))
    )
    far = [
        distances(increments(replace(FIG1_WEAK, fixed=kind), SEEDS, WALKS))[:, -1]
        for kind in (False, True)
    ]
    walked = mean(far[1] / far[0])[0]
    if not apart and not strong_apart:
        verdict, says = Verdict.REPRODUCED, "They decay alike and end alike."
    elif apart and strong_apart:
        verdict, says = Verdict.DIFFERS, "They part after the first epoch."
    else:
        verdict = Verdict.CORRECTED
        says = (
            "They are the same in the first epoch. Then it depends on the strength: at K = "
            f"{FIG1_STRONGER.K:.2g} they stay together, with a ratio of {strong:.2f} after "
            f"{FIG1_STRONGER.epochs} epochs; at K = {FIG1_CENTER.K:.2g} the fixed one stops "
            f"decaying and is memorised; at K = {FIG1_WEAK.K:.2g} it moves straight on while the "
            f"other walks at random, {walked:.1f} times as far in {FIG1_WEAK.epochs} epochs."
        )
    return Finding(
        verdict,
        says,
        value,
        err,
        len(SEEDS),
        f"final |w_ni| at K = {FIG1_CENTER.K:.2g}, fixed over re-randomised",
    )


def _fixed_over_anew(base: Experiment) -> np.ndarray:
    anew, fixed = (course(center(kind, base), "w_ni")[1][:, -1] for kind in (False, True))
    return fixed / anew


@lru_cache
def right(fixed: bool) -> dict[float, list[History]]:
    """Return the runs of Fig. 1's right panel: a history per seed, by sigma_eps.

    Args:
        fixed: Whether each image keeps its eps.

    Raises:
        RecordError: If a run is not on record.
    """
    base = replace(FIG1_RIGHT, fixed=fixed)
    runs = [base.at(K) for K in FIG1_RIGHT_K]
    return {e.sigma_eps: recorded([replace(e, seed=s) for s in SEEDS], TIMES) for e in runs}


@claim(
    "C7",
    "Decay times of the NIWs and of both losses are functions of the noise strength, over the four "
    "phases in turn, alike for a fixed and a re-randomised NIN.",
    "Fig. 1, right",
    TIMES,
)
def decay_times_over_phases() -> Finding:
    """Name the phases of the sweep, and measure the power of the NIWs' time in the decay phase."""
    sweeps = [right(fixed) for fixed in (False, True)]
    found = [[most_common_phase(hs) for hs in sweep.values()] for sweep in sweeps]
    orders = [[list(Phase).index(phase) for phase, _ in row] for row in found]
    four = all(order == sorted(order) and set(order) == set(range(4)) for order in orders)
    alike = orders[0] == orders[1]
    decay = [
        sigma
        for sigma, phase in zip(sweeps[0], found[0], strict=True)
        if phase == (Phase.DECAY, len(SEEDS))
    ]
    tau, fixed = (np.array([decay_times(runs[s], "w_ni") for s in decay]) for runs in sweeps)
    shortest = int(tau.mean(1).argmin()) + 1
    powers = power(decay[:shortest], tau[:shortest])
    apart = float((fixed.mean(1) / tau.mean(1)).max())
    losses = np.array([decay_times(hs, "train_loss") for hs in sweeps[0].values()])
    end = plateau_end(list(sweeps[0]), losses)
    places = np.searchsorted(list(sweeps[0]), end.mean())
    where = found[0][min(int(places), len(found[0]) - 1)][0]
    kinds = ", at the same strengths for both kinds" if alike else ""
    return Finding.of_values(
        Verdict.REPRODUCED if four and alike else Verdict.CORRECTED,
        f"{'All four phases come in order' if four else 'Not all phases come in order'}{kinds}. "
        "The losses' times are flat at first and leave their plateau at sigma_eps = "
        f"{end.mean():.0f}, in the {where} phase. With a fixed NIN that of |w_ni| is up to "
        f"{apart:.1f} times as long where it is longer than an epoch, and else the same.",
        powers,
        "power of sigma_eps in the time of |w_ni|, in the decay phase to its shortest; Eq. (2): -2",
    )


@claim("C5", "A network cannot memorise its NIWs, only suppress them.", "Sec. 1, Sec. 5", MEMORY)
def memorised() -> Finding:
    """Compare the training loss with each image's own eps and with fresh ones."""
    worth = {share: _worth(share, True) for share in LABEL_NOISE}
    known = [s for s, w in worth.items() if (w > 0).all() and mean(w)[0] > SIGMAS * mean(w)[1]]
    most = max(LABEL_NOISE)
    if not known:
        verdict, says = Verdict.REPRODUCED, "Its own noise serves the network no better than fresh."
    elif 0.0 in known:
        verdict, says = (
            Verdict.DIFFERS,
            "A fixed NIN is memorised, even where all labels are right.",
        )
    else:
        verdict = Verdict.CORRECTED
        says = "Where all labels are right; with wrong ones a fixed NIN is memorised."
    return Finding.of_values(
        verdict,
        says,
        worth[most],
        f"training loss, fresh over own noise, logarithm; {most:.0%} wrong labels",
    )


def _worth(share: float, fixed: bool) -> np.ndarray:
    """Return the logarithm of the loss with fresh noise over that with each image's own."""
    end = remembered(share, fixed).end_loss
    return np.log(end["fresh"] / end["own"])
