"""The claims of Fig. 1, tested on its network's committed runs."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from nin.claims import Finding, Verdict, claim, mean
from nin.experiments import FIG1_CENTER
from nin.history import History
from nin.memorisation import BASE, MEMORISATION, Memory, memory
from nin.records import RecordError, load, record_path
from nin.timescales import Outcome, courses, fit_decay, time_to

SEEDS = (0, 1, 2)
LABEL_NOISE = (0.0, 0.2, 0.5)
DECAY, MEMORY = "figures/fig1_decay", "figures/memorisation"
SIGMAS = 4
"""Standard errors within which two measured numbers count as equal."""


@lru_cache
def center(fixed: bool) -> list[History]:
    """Return the runs of Fig. 1's center, a history per seed.

    Args:
        fixed: Whether each image keeps its eps.

    Raises:
        RecordError: If a run is not on record.
    """
    found = []
    for seed in SEEDS:
        e = replace(FIG1_CENTER, seed=seed, fixed=fixed)
        record = load(e)
        if record is None:
            raise RecordError(
                f"{record_path(e)} is missing; `python -m nin figures fig1_decay` trains it"
            )
        found.append(record.history)
    return found


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
    return memory(base, SEEDS, label_noise, folder=MEMORISATION, may_train=False)


@claim(
    "C8",
    "Fig. 1's network is trained to a training accuracy of 100%.",
    "Fig. 1",
    DECAY,
)
def perfect_accuracy() -> Finding:
    """Find the first evaluation, noise off, that gets every training image right."""
    histories = [h for fixed in (False, True) for h in center(fixed)]
    first = [h.eval_epoch[h.train_accuracy == 1] for h in histories]
    if not all(len(epochs) for epochs in first):
        best, err = mean([h.train_accuracy.max() for h in histories])
        return Finding(
            Verdict.DIFFERS,
            "Not every run gets all training images right.",
            best,
            err,
            len(histories),
            "best training accuracy",
        )
    return Finding(
        Verdict.REPRODUCED,
        "Every run ends with all 42,000 training images right, however the NIN is drawn.",
        *mean([epochs[0] for epochs in first]),
        len(histories),
        "epochs to a training accuracy of 100%",
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
        name: fit_decay(*courses(histories, name)).outcome
        for name in ("w_ni", "train_loss", "val_loss")
    }
    times = {name: time_to(*courses(histories, name)) for name in outcomes}
    ratio = times["w_ni"].each / times["train_loss"].each
    good = [name for name, outcome in outcomes.items() if outcome is Outcome.EXPONENTIAL]
    apart = abs(np.log(ratio)).min() > np.log(2)
    if len(good) == len(outcomes):
        verdict, says = Verdict.REPRODUCED, "All three are exponentials, with a floor."
    else:
        named = {"w_ni": "|w_ni|", "train_loss": "the training loss", "val_loss": "the test loss"}
        bad = [named[name] for name in outcomes if name not in good]
        verdict = Verdict.CORRECTED if apart else Verdict.DIFFERS
        says = f"All fall, at paces of their own, but no exponential: {', '.join(bad)}."
    return Finding(
        verdict, says, *mean(ratio), len(ratio), "time to 1/e, |w_ni| over training loss"
    )


@claim(
    "C4",
    "A fixed NIN and one that is drawn anew each epoch behave essentially alike.",
    "Sec. 1, Fig. 1, center",
    DECAY,
)
def fixed_and_redrawn() -> Finding:
    """Compare paired runs: time for |w_ni| to fall to 1/e, and where it ends."""
    anew, fixed = (courses(center(kind), "w_ni") for kind in (False, True))
    pace = time_to(*fixed).each / time_to(*anew).each
    ends = fixed[1][:, -1] / anew[1][:, -1]
    alike, err = mean(pace)
    floor, floor_err = mean(ends)
    same_pace = abs(alike - 1) < max(0.1, SIGMAS * err)
    same_end = abs(floor - 1) < max(0.1, SIGMAS * floor_err)
    if same_pace and same_end:
        verdict, says = Verdict.REPRODUCED, "They decay at one pace and end alike."
    elif same_pace:
        verdict = Verdict.CORRECTED
        says = (
            f"They decay at one pace, but the fixed one ends at {floor:.2g} ± {floor_err:.1g} "
            "times the other's |w_ni|."
        )
    else:
        verdict, says = Verdict.DIFFERS, "They decay at different paces."
    return Finding(
        verdict, says, alike, err, len(pace), "time of |w_ni| to 1/e, fixed over re-randomised"
    )


@claim(
    "C5",
    "A network cannot memorise its NIWs, only suppress them.",
    "Sec. 1, Sec. 5",
    MEMORY,
)
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
    return Finding(
        verdict,
        says,
        *mean(worth[most]),
        len(worth[most]),
        f"training loss, fresh over own noise, logarithm; {most:.0%} wrong labels",
    )


def _worth(share: float, fixed: bool) -> np.ndarray:
    """Return the logarithm of the loss with fresh noise over that with each image's own."""
    end = remembered(share, fixed).end_loss
    return np.log(end["fresh"] / end["own"])
