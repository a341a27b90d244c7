"""Windows of many runs: grouped as they were asked for, read by the phase of the runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from nin.companion.course_groups import (
    by_layer_and_strength,
    common_phase,
    runs_at_layers,
    seed_slopes,
    strength_slopes,
)
from nin.runs.phases import Phase
from nin.studies.experiments import FIG1, Experiment
from nin.studies.windows import Course

LAYERS, K, DEEPER_K, SEEDS = ("layers.0", "layers.2"), (1e-4, 0.1, 0.3), (0.1,), (0, 3)


def watched(
    e: Experiment, phase: Phase = Phase.DECAY, resolved: Sequence[bool] = (True,)
) -> Course:
    """A run whose steps scatter about 0.8 of the Hessian's pull, or so much that none is seen."""
    rng = np.random.default_rng(e.seed)
    shape = (len(resolved), 30)
    curvature, kinks = rng.uniform(0.5, 1.5, (2, *shape))
    noise = rng.normal(size=shape) * np.where(resolved, 0.1, 100)[:, None]
    steps = {name: np.zeros(shape) for name in ("fall", "kick", "bend")}
    steps |= {"pull": 0.8 * curvature + noise, "curvature": curvature, "kinks": kinks}
    points = ("exact", "averaged", "trace", "size", "reach", "loss", "step", "w_ni")
    one = {name: np.ones(len(resolved)) for name in points}
    return Course(e, tuple(range(len(resolved))), **steps, **one, phase=phase, made={})


def test_the_first_layer_gets_all_strengths_and_the_others_theirs() -> None:
    runs = runs_at_layers(FIG1, LAYERS, K, DEEPER_K, SEEDS)
    asked = [(e.layer, f"{e.K:.6g}", e.seed) for e in runs]
    at = [("layers.0", k) for k in ("0.0001", "0.1", "0.3")] + [("layers.2", "0.1")]
    assert asked == [(*where, seed) for where in at for seed in SEEDS]


def test_runs_are_found_by_the_strength_that_was_asked_for() -> None:
    # 0.3 does not come back from a square root and its square
    runs = runs_at_layers(FIG1, LAYERS, K, DEEPER_K, SEEDS)
    assert any(e.K not in K for e in runs)
    groups = by_layer_and_strength([watched(e) for e in runs])
    assert list(groups) == [*(("layers.0", k) for k in K), ("layers.2", 0.1)]
    assert all([c.experiment.seed for c in found] == [0, 3] for found in groups.values())


def test_seeds_in_different_phases_have_none_in_common() -> None:
    decay, catapult = watched(FIG1, Phase.DECAY), watched(FIG1, Phase.CATAPULT)
    assert common_phase([decay, decay]) == Phase.DECAY
    assert common_phase([decay, catapult]) is None


@pytest.mark.parametrize("with_kinks", [False, True])
def test_each_seed_has_a_slope_of_its_own(with_kinks: bool) -> None:
    seeds = [watched(dataclasses.replace(FIG1, seed=k), resolved=(True, False)) for k in SEEDS]
    said = [c.curvature + with_kinks * c.kinks for c in seeds]
    peer = [c.pull[0].sum() / s[0].sum() for c, s in zip(seeds, said, strict=True)]
    assert seed_slopes(seeds, 0, with_kinks) == pytest.approx(peer, rel=1e-12)  # rounding
    assert not len(seed_slopes(seeds, 1, with_kinks))  # it predicts next to nothing
    assert strength_slopes(seeds, with_kinks) == pytest.approx(peer, rel=1e-12)
