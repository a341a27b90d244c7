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


def seed_slopes(found: Sequence[Course], window: int, with_kinks: bool = False) -> np.ndarray:
    """Return the slope of a window in each run, (seeds,), whose scatter is that of chance.

    Args:
        found: Runs alike in all but the seed.
        window: Which window.
        with_kinks: Whether the prediction counts kinks.

    Returns:
        The slopes; none where the Hessian alone predicts next to nothing, or nothing for some seed,
        as in a network whose units the noise has killed.
    """
    slopes = np.array([window_slope([c], window, with_kinks).value for c in found])
    known = is_resolved(window_slope(found, window)) and np.isfinite(slopes).all()
    return slopes if known else np.array([])


def strength_slopes(found: Sequence[Course], with_kinks: bool = False) -> np.ndarray:
    """Return the slope of each run, mean over its windows, (seeds,); see `seed_slopes`.

    Args:
        found: Runs alike in all but the seed.
        with_kinks: Whether the prediction counts kinks.
    """
    rows = [seed_slopes(found, w, with_kinks) for w in range(len(found[0].starts))]
    return np.asarray(np.mean([row for row in rows if len(row)], 0))
