"""The claims on curvature: from the page's own configurations, and never by training."""

from __future__ import annotations

import dataclasses
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from test_claims_borders import page_defaults

from nin.companion.claims import local_curvature as claims
from nin.studies import traces
from nin.studies import windows as runs
from nin.studies.experiments import FIG1
from nin.studies.windows import Course

ROOT = Path(__file__).resolve().parents[1]


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


@pytest.fixture(scope="module")
def records() -> dict[tuple[str, str, str], dict[str, Any]]:
    """The page's records by layer, K and seed, read as the NumPy files they are."""
    found = {}
    for path in (ROOT / "results" / "curvature").glob("relu-*.npz"):
        with np.load(path) as file:
            if json.loads(str(file["meta"]))["asked"]["starts"] == [0, 40, 300]:
                layer, K, seed = path.stem.split("-")[1:4]
                names = ("pull", "kick", "curvature", "exact")
                numbers = {name: file[name].astype(float) for name in names}
                known = np.isfinite(file["kinks"])  # a step without that number counts for nothing
                about = {"phase": str(file["phase"]), "known": known}
                found[layer, K, seed] = numbers | about
    return found


def test_the_slope_is_that_of_all_windows_whose_seeds_decay(records: dict[Any, Any]) -> None:
    slopes: list[float] = []
    for layer, K in {key[:2] for key in records}:
        seeds = [records[layer, K, seed] for seed in ("seed0", "seed1", "seed2")]
        if all(r["phase"] == "decay" for r in seeds):
            measured = sum((r["pull"] - r["kick"]).sum(1, where=r["known"]) for r in seeds)
            slopes += list(measured / sum(r["curvature"].sum(1, where=r["known"]) for r in seeds))
    finding = claims.curvature_dictates.finding
    # The same sums in double precision, in another order.
    assert finding.value == pytest.approx(np.mean(slopes), rel=1e-9)
    assert finding.err == pytest.approx(stats.sem(slopes), rel=1e-9)
    assert finding.n == len(slopes)


def test_layers_are_compared_seed_by_seed_outside_catapults(records: dict[Any, Any]) -> None:
    found = {}
    for layer, K in product(("layers.1", "layers.2"), ("K0.01", "K0.1", "K1")):
        pairs = [
            (records["layers.0", K, s], records[layer, K, s]) for s in ("seed0", "seed1", "seed2")
        ]
        if not any("catapult" in (first["phase"], later["phase"]) for first, later in pairs):
            found[layer[-1], float(K[1:])] = [
                np.log(b["exact"] / a["exact"] / b["curvature"][:, 0] * a["curvature"][:, 0]).mean()
                for a, b in pairs
            ]
    finding = claims.layers_differ.finding
    cells = {(c.setting["layer"], c.setting["K"]): c for c in finding.cells}
    assert cells.keys() == found.keys()
    for key, logarithms in found.items():
        # The same numbers in double precision, in another order.
        assert cells[key].value == pytest.approx(np.exp(np.mean(logarithms)), rel=1e-9)
        assert cells[key].err == pytest.approx(cells[key].value * stats.sem(logarithms), rel=1e-9)
        assert cells[key].n == len(logarithms)
