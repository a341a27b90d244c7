"""Windows of many runs together: by layer and noise strength, and by the phase of the runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from nin.curvature.measured_slope import is_resolved
from nin.runs.phases import Phase
from nin.studies.experiments import Experiment
from nin.studies.windows import Course, window_slope


def runs_at_layers(
    base: Experiment,
    layers: Sequence[str],
    K: Sequence[float],
    deeper_K: Sequence[float],
    seeds: Sequence[int],
) -> list[Experiment]:
    """Return an experiment with its node at several layers, at several noise strengths.

    Args:
        base: The experiment.
        layers: Where the node is wired to.
        K: Noise variances at the first of these layers, in Table 1's unit.
        deeper_K: Noise variances at the others.
        seeds: Seeds of the runs.
    """
    strengths = {layer: K if layer == layers[0] else deeper_K for layer in layers}
    return [
        base.at(k, layer=layer, seed=seed)
        for layer, at_layer in strengths.items()
        for k in at_layer
        for seed in seeds
    ]


def by_layer_and_strength(found: Iterable[Course]) -> dict[tuple[str, float], list[Course]]:
    """Return runs by layer and K, those of one group alike in all but the seed."""
    groups: dict[tuple[str, float], list[Course]] = {}
    for c in found:
        K = float(f"{c.experiment.K:.12g}")  # as it was asked for, before a root and its square
        groups.setdefault((c.experiment.layer, K), []).append(c)
    return groups


def common_phase(found: Sequence[Course]) -> Phase | None:
    """Return the phase that all of the runs are in; None if they differ."""
    phases = {c.phase for c in found}
    return phases.pop() if len(phases) == 1 else None


def phase_slopes(
    groups: Iterable[Sequence[Course]], phase: Phase, with_kinks: bool = False
) -> np.ndarray:
    """Return the slope of each window of the runs in a phase, (windows,).

    Windows in which the Hessian alone predicts next to nothing do not count.

    Args:
        groups: Runs, those of one group alike in all but the seed.
        phase: The phase that all seeds of a group are in.
        with_kinks: Whether the prediction counts kinks.
    """
    windows = [
        (found, w)
        for found in groups
        if common_phase(found) == phase
        for w in range(len(found[0].starts))
    ]
    resolved = [at for at in windows if is_resolved(window_slope(*at))]
    return np.array([window_slope(*at, with_kinks).value for at in resolved], float)
