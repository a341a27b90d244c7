"""The claims on curvature in training, tested on the committed windows of real steps."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from nin.claims import Finding, Verdict, claim, mean
from nin.courses import (
    DEEPER_K,
    LAYERS,
    STARTS,
    Course,
    courses,
    over,
    paper_runs,
    slope,
    smooth_runs,
)
from nin.phases import Phase

PAGE = "figures/curvature"
SIGMAS = 5.0
"""A measurement excludes a value that is further away than this many standard errors."""
SCALE = 2.0
"""The Hessian sets the scale of the pull if it is right within this factor on average."""
EXACT = 0.01
"""Of the quadrature over the noise."""
ACTING = (Phase.DECAY, Phase.CATAPULT)


@lru_cache
def paper_courses() -> dict[tuple[str, float], list[Course]]:
    """Return the runs of Fig. 1's network by layer and K, one course per seed."""
    groups: dict[tuple[str, float], list[Course]] = {}
    for c in courses(paper_runs(), may_train=False, progress=False):
        groups.setdefault((c.experiment.layer, float(f"{c.experiment.K:.6g}")), []).append(c)
    return groups


def window_slopes(with_kinks: bool) -> np.ndarray:
    """Return the slope of each window in the decay and catapult phases, (windows,).

    Windows of a network whose units have all died, with no curvature left, are NaN.

    Args:
        with_kinks: Whether the prediction counts kinks.
    """
    acting = [f for f in paper_courses().values() if all(c.phase in ACTING for c in f)]
    return np.array([slope(f, w, with_kinks).value for f in acting for w in range(len(STARTS))])


@claim(
    "C3",
    "In the decay and catapult phases the local curvature dictates how the noise weights move.",
    "Sec. 1",
    PAGE,
)
def curvature_dictates() -> Finding:
    """Compare the pull of real steps with the Hessian's, and with that averaged over the noise."""
    alone, kinked = window_slopes(False), window_slopes(True)
    alone, kinked = (each[np.isfinite(alone)] for each in (alone, kinked))
    value, err = mean(alone)
    smooth = courses(smooth_runs(), may_train=False, progress=False)
    averaged = np.concatenate([c.exact / c.averaged for c in smooth])
    point = np.concatenate([c.exact / c.curvature[:, 0] for c in smooth])
    exact = bool(np.abs(averaged - 1).max() < EXACT)
    if abs(value - 0.5) < SIGMAS * err and abs(value - 1) > SIGMAS * err:
        verdict = Verdict.REPRODUCED
    elif exact and 1 / SCALE < value < SCALE:
        verdict = Verdict.CORRECTED
    else:
        verdict = Verdict.DIFFERS
    return Finding(
        verdict,
        f"It sets the scale, with twice the printed factor, but windows scatter from "
        f"{alone.min():.2f} to {alone.max():.2f}: kinks (with them {kinked.mean():.2f} on average) "
        f"and noise that reaches far. In a smooth network the Hessian averaged over the noise is "
        f"exact; that at the point is off by {np.median(np.abs(point - 1)):.0%}, median.",
        value,
        err,
        len(alone),
        "measured over the Hessian's pull, mean over windows of real steps; 0.5 as printed",
    )


@claim(
    "C33",
    "Nodes at other layers would see other parts of the Hessian.",
    "Secs. 4, 5",
    PAGE,
)
def layers_differ() -> Finding:
    """Compare the rates at the last and the first hidden layer with those of their Hessians."""
    groups = paper_courses()
    pairs = []
    for k in DEEPER_K:
        for first, last in zip(groups[LAYERS[0], k], groups[LAYERS[-1], k], strict=True):
            by_hessian = over(last.curvature[:, 0], first.curvature[:, 0])
            pairs += list(zip(over(last.exact, first.exact), by_hessian, strict=True))
    falling = np.array([p for p in pairs if min(p) > 0])
    measured, said = np.log(falling).T
    value, err = mean(measured)
    off = measured - said
    differ = abs(value) > SIGMAS * err
    follow = abs(off.mean()) < np.log(SCALE) and np.corrcoef(measured, said)[0, 1] > 0
    verdict = Verdict.DIFFERS
    if differ and follow:
        verdict = Verdict.REPRODUCED
    return Finding(
        verdict,
        f"The last hidden layer's weights fall faster by a factor {np.exp(value):.1f} where the "
        f"Hessians say {np.exp(np.mean(said)):.1f}."
        if follow
        else "The rates by layer do not follow their Hessians.",
        float(np.exp(value)),
        float(np.exp(value) * err),
        len(measured),
        "rate at the last over the first hidden layer, geometric mean over K, seeds and windows",
    )
