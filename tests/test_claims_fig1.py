"""The claims of Fig. 1: from the pages' own configurations, never by training, free to change."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from test_claims_borders import page_defaults

from nin.companion.claims import fig1
from nin.companion.claims import local_curvature as curvature
from nin.companion.claims.finding import Verdict
from nin.runs.history import History
from nin.studies import half_lives, walks
from nin.studies import windows as runs
from nin.studies.experiments import (
    FIG1_CENTER,
    FIG1_CENTER_K,
    FIG1_RIGHT,
    FIG1_RIGHT_K,
    FIG1_SWEEP,
    FIG1_SWEEP_K,
)  # fmt: skip
from nin.studies.windows import Course


def test_the_pages_show_by_default_what_the_claims_read() -> None:
    p = page_defaults("fig1_decay")
    assert tuple(p["seeds"]) == fig1.SEEDS  # type: ignore[arg-type]
    assert (p["K"], *p["stronger"]) == FIG1_CENTER_K  # type: ignore[misc]
    assert p["epochs"] == FIG1_CENTER.epochs
    assert (p["weak_K"], p["weak_epochs"]) == (
        pytest.approx(walks.FIG1_WEAK.K),
        walks.FIG1_WEAK.epochs,
    )
    p = page_defaults("fig1_timescales")
    assert tuple(p["K"]) == FIG1_RIGHT_K  # type: ignore[arg-type]
    assert tuple(p["seeds"]) == fig1.SEEDS == runs.SEEDS  # type: ignore[arg-type]
    for name in ("epochs", "evaluations", "width", "eta", "batch_size"):
        assert p[name] == getattr(FIG1_RIGHT, name)
    assert tuple(p["sweep_K"]) == FIG1_SWEEP_K  # type: ignore[arg-type]
    assert (p["sweep_epochs"], p["sweep_precision"]) == (FIG1_SWEEP.epochs, FIG1_SWEEP.precision)
    assert tuple(p["half_K"]) == half_lives.K_VALUES and half_lives.SEEDS == runs.SEEDS  # type: ignore[arg-type]
    late = (tuple(p["late_K"]), tuple(p["late_starts"]), p["length"])  # type: ignore[arg-type]
    assert late == (runs.LATE_K, runs.LATE_STARTS, runs.LENGTH)


def test_runs_in_another_order_are_not_what_the_paper_shows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def backwards(*which: Any) -> dict[float, list[History]]:
        found = fig1_right(*which)
        return dict(zip(found, reversed(list(found.values())), strict=True))

    fig1_right = fig1.right
    monkeypatch.setattr(fig1, "right", backwards)
    assert fig1.decay_times_over_phases.test().verdict is Verdict.DIFFERS


@pytest.mark.parametrize("factor", [0.4, 1.0, 2.5])
def test_the_verdict_on_the_floor_follows_the_length(
    factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resting(*args: object, **options: object) -> list[Course]:
        found = []
        for c in all_courses(*args, **options):  # type: ignore[arg-type]
            floors = [runs.predicted_floor(c, w) for w in range(len(c.starts))]
            bend = c.bend * np.square(c.size / floors)[:, None]  # so that the floor is where it is
            found.append(dataclasses.replace(c, bend=bend / factor**2))
        return found

    all_courses = curvature.window_courses
    monkeypatch.setattr(curvature, "window_courses", resting)
    finding = curvature.network_floor.test()
    assert finding.value == pytest.approx(factor, rel=1e-3)
    assert finding.verdict == (Verdict.REPRODUCED if factor == 1 else Verdict.DIFFERS)
