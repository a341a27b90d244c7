"""The claims on curvature: from the page's own configurations, and never by training."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from test_claims_boundaries import page_defaults

from nin.companion.claims import local_curvature as claims
from nin.companion.claims.ledger import ledger
from nin.studies import traces
from nin.studies import windows as runs
from nin.studies.experiment import FIG1
from nin.studies.windows import Course


def test_the_page_shows_by_default_what_the_claims_read() -> None:
    p = page_defaults("curvature")
    assert (tuple(p["K"]), tuple(p["deeper_K"])) == (runs.K_VALUES, runs.DEEPER_K)  # type: ignore[arg-type]
    assert (tuple(p["layers"]), tuple(p["seeds"])) == (runs.LAYERS, runs.SEEDS)  # type: ignore[arg-type]
    assert (tuple(p["starts"]), p["length"]) == (runs.STARTS, runs.LENGTH)  # type: ignore[arg-type]
    assert (p["width"], p["smooth"]) == (FIG1.width, runs.SMOOTH.activation)
    assert (FIG1, runs.SMOOTH) == (traces.STATES[0][0], traces.STATES[-1][0])
    assert p["trace_epochs"] == [epochs for e, epochs in traces.STATES if e == FIG1]
    names = ("batches", "draws", "directions", "steps", "matvecs", "repeats")
    for name in names:
        constant = getattr(traces, name.upper())
        assert p[name] == (list(constant) if isinstance(constant, tuple) else constant)


@pytest.mark.parametrize("factor", [0.5, 1.0])
def test_the_verdict_follows_the_slope(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def as_if(found: list[Course]) -> list[Course]:
        noise = np.random.default_rng(0)
        fake = []
        for c in found:
            scatter = 1 + 0.01 * noise.standard_normal(c.curvature.shape)
            fake.append(dataclasses.replace(c, pull=c.kick + factor * scatter * c.curvature))
        return fake

    groups = {key: as_if(found) for key, found in claims.paper_courses().items()}
    monkeypatch.setattr(claims, "paper_courses", lambda: groups)
    finding = claims.curvature_dictates.test()
    assert finding.value == pytest.approx(factor, abs=0.01)
    assert finding.verdict == ("reproduced" if factor == 0.5 else "reproduced with a correction")


def test_both_claims_stand_on_committed_records(tmp_path: Path) -> None:
    found = {c.id: c.finding for c in ledger() if c.page == claims.PAGE}
    assert set(found) == {"C3", "C33"}
    assert min(f.n for f in found.values()) >= 3 * len(runs.STARTS)
