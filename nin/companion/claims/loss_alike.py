"""The abstract's last finding: noise weights that evolve as the unperturbed loss does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nin.companion.claims.fig1 import KINDS, TIMES, right
from nin.companion.claims.finding import Cell, Finding, settings
from nin.companion.claims.ledger import claim
from nin.companion.claims.table1 import table1_histories
from nin.linear import flow, plane
from nin.runs.averages import course, middle
from nin.runs.history import History
from nin.runs.phases import Phase
from nin.runs.times import FALLS, decay_times, time_to
from nin.studies.experiments import FIG1_RIGHT, FIG1_SWEEP, TABLE1, experiment

Array = np.ndarray
PACE = 2.0
"""Decay times are similar within this factor."""
COURSE = 0.9
"""Courses are similar if a power of the loss explains so much of the variance of ln|w_ni|."""
LINEAR_STRENGTHS = (0.5, 1.0, 1.5, 2.0, 3.0)
"""sigma_eps in the linear model, in standard deviations of its input."""
LEFT = 1e-3
"""Share of the linear model's loss down to which it is followed."""
TINY = 1e-300
"""What stands for a share that is too small for a number."""


def explained_by(y: Array, x: Array) -> float:
    """Return which share of the variance of y the best multiple of x explains.

    >>> explained_by(np.array([0.0, 2.0, 4.0]), np.array([0.0, 1.0, 2.0]))
    1.0
    """
    slope = float(x @ y) / float(x @ x)
    return 1 - float(np.square(y - slope * x).sum()) / float(np.square(y - y.mean()).sum())


def beside_the_loss(noisy: Sequence[History], quiet: Sequence[History]) -> tuple[Array, Array]:
    """Compare |w_ni| with the clean training loss of runs whose noise is not felt, by seed.

    Args:
        noisy: Runs with noise.
        quiet: Those without, of the same seeds.

    Returns:
        Decay time of |w_ni| over that of the loss, (runs,): a run that does not halve it counts
        with its length. And the share of the variance of ln|w_ni| that ln L explains, and that a
        single exponential would, (runs, 2), over the evaluations.
    """
    lengths = np.array([h.step[-1] for h in noisy]) / np.log(2)
    pace = np.minimum(decay_times(noisy, "w_ni"), lengths) / decay_times(quiet, "train_loss")
    shares = []
    for h, q in zip(noisy, quiet, strict=True):
        t, loss = course([q], "train_loss")
        steps, w = course([h], "w_ni")
        y = np.interp(t, steps, np.log(w[0] / w[0, 0]))
        shares.append([explained_by(y, np.log(loss[0] / loss[0, 0])), explained_by(y, t)])
    return pace, np.array(shares)


def _alike(own: float, of_loss: float, share: float) -> bool:
    """Tell whether decay times, if any, are close, and a power of the loss explains the course."""
    return bool(of_loss / PACE < own < PACE * of_loss and share > COURSE)


@claim(
    "C40-LIN",
    "In the linear model the noise weight may evolve as the unperturbed loss does.",
    "abstract, Sec. 4",
    "two_times#fig-tau",
)
def evolves_as_the_loss_linear() -> Finding:
    """Compare paces and courses in the closed form, draw by draw, until a thousandth is left."""
    t, cells = np.linspace(0, 8, 801), []
    for setting in settings({"reading": plane.READINGS, "sigma_eps": LINEAR_STRENGTHS}):
        start = plane.draw_start(setting["reading"], 200, seed=31)
        found = flow.closed_form(t, **start, sigma_eps=setting["sigma_eps"])
        loss, u = (np.log(np.maximum(abs(v / v[0]), TINY)).T for v in (found.loss, found.u))
        times = [time_to(t, np.exp(v), part).each / -np.log(part)
                 for v, part in ((u, FALLS["w_ni"]), (loss, FALLS["train_loss"]))]  # fmt: skip
        ends = [np.append(np.flatnonzero(curve < np.log(LEFT)), len(t))[0] for curve in loss]
        alike = [
            _alike(own, of_loss, explained_by(b[:end], a[:end]))
            for own, of_loss, a, b, end in zip(*times, loss, u, ends, strict=True)
        ]
        cells.append(Cell.of(setting, alike, np.mean(alike) > 0.5))
    best = [max((c for c in cells if c.setting["reading"] == r), key=lambda c: c.value)
            for r in plane.READINGS]  # fmt: skip
    words = ", ".join(
        f"{c.value:.0%} of the draws of reading {c.setting['reading']} at sigma_eps = "
        f"{c.setting['sigma_eps']:g}"
        for c in best
    )
    return Finding.over(
        cells,
        f"Where noise and data are about as strong: {words}. Weaker and stronger noise has another "
        "pace.",
        f"share of draws whose decay times are within a factor {PACE:g} and ln|w_NI| is a multiple "
        "of the logarithm of the loss; the value is that of the best strength",
        value=max(cells, key=lambda c: c.value).number,
        counted="draws",
        may=True,
    )


@claim(
    "C40-NET",
    "In some cases the noise weights of a network evolve as its unperturbed loss does.",
    "abstract, Fig. 1",
    f"{TIMES}#fig-timescales",
)
def evolves_as_the_loss() -> Finding:
    """Compare paces and courses at all strengths at which nothing diverges.

    Similar is what has a decay time within a factor of two of the loss's and a logarithm that is a
    multiple of the loss's.
    """
    cells, explained = [], []
    for at, runs in _sweeps():
        quiet = next(iter(runs.values()))
        for K, histories in runs.items():
            if any(h.diverged_step is not None for h in histories):
                continue
            pace, shares = beside_the_loss(histories, quiet)
            setting = {**at, "K": K}
            pace_of_all, err = middle(pace)
            good = _alike(pace_of_all, 1.0, shares[:, 0].mean())
            cells.append(Cell(setting, pace_of_all, pace_of_all * err, len(pace), good))
            explained.append(shares.mean(0))
    near = min(range(len(cells)), key=lambda i: abs(np.log(cells[i].value)))
    best, (by_loss, by_time) = cells[near], explained[near]
    slow = max(c.value for c in cells)
    like = [c for c, (share, _) in zip(cells, explained, strict=True) if share > COURSE]
    where = ", ".join(f"Fig. {c.setting['figure']}, {c.setting['NIN']}, K = {c.setting['K']:.3g}, "
                      f"{c.setting['epochs']} epochs"
                      for c in like)  # fmt: skip
    return Finding.over(
        cells,
        f"At {sum(c.holds for c in cells) or 'none'} of {len(cells)} settings. The noise weights "
        f"are slower at all of them, {best.value:.1f} to over {slow:.0f} times. Nearest is "
        f"Fig. {best.setting['figure']} at K = {best.setting['K']:.2g} over "
        f"{best.setting['epochs']} epochs, where the decay phase ends: more noise throws the noise "
        "weights. In course alone, whatever the pace, a power of the loss explains "
        f"over {COURSE:.0%} of the variance of ln|w_ni| at {len(like)} "
        f"({where}); at the nearest {max(by_loss, 0):.0%}, where a single exponential explains "
        f"{max(by_time, 0):.0%}.",
        "decay time of |w_ni|, or the run's length, over that of the loss of the run whose noise "
        "is not felt; the value is the nearest strength's",
        value=best.number,
        may=True,
    )


def _sweeps() -> list[tuple[dict[str, Any], dict[float, list[History]]]]:
    """Return what figure, kind of NIN and length, and runs by strength, the weakest first."""
    found: list[tuple[dict[str, Any], dict[float, list[History]]]] = [
        ({"figure": "1", "NIN": kind, "epochs": base.epochs}, right(fixed, base))
        for base in (FIG1_SWEEP, FIG1_RIGHT)
        for fixed, kind in KINDS.items()
    ]
    for name in ("fig2", "fig3"):
        at = {"figure": name.removeprefix("fig"), "NIN": KINDS[False]}
        runs = {TABLE1[name][p]: table1_histories(name, p) for p in list(Phase)[:3]}
        found.append(({**at, "epochs": experiment(name).epochs}, runs))
    return found
