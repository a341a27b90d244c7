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
                found[layer, K, seed] = numbers | {"phase": str(file["phase"])}
    return found


def test_each_setting_has_the_slope_of_its_seeds(records: dict[Any, Any]) -> None:
    finding = claims.curvature_dictates.finding
    for c in finding.cells:
        window = (0, 40, 300).index(c.setting["step"])
        where = f"layers.{c.setting['layer']}", f"K{c.setting['K']:g}"
        seeds = [records[*where, seed] for seed in ("seed0", "seed1", "seed2")]
        slopes = [
            (r["pull"] - r["kick"])[window].sum() / r["curvature"][window].sum() for r in seeds
        ]
        # The same sums in double precision, in another order.
        assert c.value == pytest.approx(np.mean(slopes), rel=1e-9)
        assert c.err == pytest.approx(stats.sem(slopes), rel=1e-9)
        assert (c.n, c.mended) == (3, 1 / 2 < np.mean(slopes) < 2)
    settings = {(c.setting["layer"], c.setting["K"]) for c in finding.cells}
    named = {(layer[-1], float(K[1:])) for layer, K, _ in records}
    assert named - settings == {("0", 1e-4)}  # nothing decays there


def test_one_setting_on_another_scale_is_enough_to_spoil_the_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    groups = {
        key: [dataclasses.replace(c, pull=c.kick + c.curvature) for c in found]
        for key, found in claims.paper_courses().items()
    }
    monkeypatch.setattr(claims, "paper_courses", lambda: groups)
    assert claims.curvature_dictates.test().verdict == "reproduced with a correction"
    key = ("layers.2", 0.1)
    groups[key] = [dataclasses.replace(c, pull=c.kick + 3 * c.curvature) for c in groups[key]]
    assert claims.curvature_dictates.test().verdict == "reproduced in part"


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
