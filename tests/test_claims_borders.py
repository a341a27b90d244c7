"""The claims on borders: from the page's own configurations, and never by training."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import yaml

from nin.companion.claims.table1 import PAGES as PAGES_OF_FIGURES
from nin.companion.claims.table1 import RECOVERS, SWEEP_EPOCHS, SWEEP_SEEDS, SWEEPS
from nin.companion.pages import PAGES, check_parameters, page_parameters
from nin.runs.averages import middle
from nin.studies.borders import grid as sets
from nin.studies.borders.forecasts import forecast
from nin.studies.borders.search import BORDERS_SHELF, Searching, find_borders
from nin.studies.experiments import FIG2
from nin.studies.records import RecordError

UNSEEN = dataclasses.replace(FIG2, width=9)


def page_defaults(name: str = "network_borders") -> dict[str, object]:
    """Run a page's parameters cell, which holds nothing but literals."""
    import nbformat  # noqa: PLC0415

    notebook = nbformat.read(PAGES / f"{name}.ipynb", as_version=4)
    [cell] = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    found: dict[str, object] = {}
    exec(cell.source, {"__builtins__": __builtins__}, found)
    return found


def test_the_page_shows_by_default_what_the_claims_read() -> None:
    p = page_defaults()
    assert tuple(p["seeds"]) == sets.TABLE1_SEEDS
    assert (p["tolerance"], p["coarse"]) == (sets.FINE, sets.COARSE)
    assert {"fig2": p["steps_mse"], "fig3": p["steps_ce"]} == sets.TABLE1_STEPS
    assert (p["width"], p["eta"], p["batch_size"]) == (FIG2.width, FIG2.eta, FIG2.batch_size)
    named = {"width": "widths", "eta": "etas", "batch_size": "batch_sizes", "depth": "depths"}
    named |= {"activation": "activations", "loss": "losses"}
    assert {field: p[name] for field, name in named.items()} == sets.FACTORIAL_LEVELS
    assert p["factorial_steps"] == sets.FACTORIAL_STEPS
    assert tuple(p["decay_steps"]) == sets.DECAY_STEPS
    assert tuple(p["bounded_sigma_eps"]) == sets.BOUNDED_SIGMA_EPS
    assert tuple(p["bounded_epochs"]) == sets.BOUNDED_EPOCHS
    assert p["bounded_long"] == sets.BOUNDED_LONG
    assert tuple(p["factorial_seeds"]) == sets.FACTORIAL_SEEDS
    for field in ("width", "eta", "batch_size"):
        assert p[f"factorial_{field}"] == getattr(sets.FACTORIAL_BASE, field)


@pytest.mark.parametrize("name", ["fig2", "fig3"])
def test_the_sweeps_of_the_figures_are_those_the_claims_read(name: str) -> None:
    p = page_defaults(PAGES_OF_FIGURES[name].split("/")[1])
    assert tuple(p["sweep_K"]) == SWEEPS[name]
    assert tuple(p.get("sweep_seeds", p["seeds"])) == SWEEP_SEEDS
    assert p["sweep_epochs"] == SWEEP_EPOCHS
    assert name == "fig3" or RECOVERS in p["K"]


def test_what_is_not_on_record_is_an_error_and_not_a_training() -> None:
    with pytest.raises(RecordError, match="python -m nin figures network_borders"):
        find_borders([UNSEEN], ["divergent"], [0], 42, BORDERS_SHELF)
    with pytest.raises(RecordError, match="python -m nin figures network_borders"):
        forecast(UNSEEN, [0], 42, BORDERS_SHELF)


def test_the_full_factorial_s_parameters_are_accepted() -> None:
    page = PAGES / "network_borders.ipynb"
    file = PAGES.parents[1] / "params" / "borders_full.yml"
    given = yaml.safe_load(file.read_text(encoding="utf8"))
    p = page_defaults() | check_parameters(given, page_parameters(page))
    named = {"width": "widths", "eta": "etas", "batch_size": "batch_sizes", "depth": "depths"}
    named |= {"activation": "activations", "loss": "losses"}
    grid = sets.factorial(sets.FACTORIAL_BASE, {f: p[n] for f, n in named.items()}, p["full"])
    assert len(grid) == np.prod([len(p[n]) for n in named.values()])
    assert {e.width for e in grid} >= {2048} and {e.batch_size for e in grid} >= {1000}
    for e in grid:
        Searching(e, p["factorial_steps"])
    for steps in p["lengths"]:
        Searching(sets.FACTORIAL_BASE, steps)


def test_the_middle_is_a_geometric_mean_over_seeds_that_have_a_border() -> None:
    value, err = middle(np.array([1.0, 4.0, np.inf]))
    assert value == pytest.approx(2.0, rel=1e-12)
    assert err == pytest.approx(np.log(4) / 2, rel=1e-12)  # of two logarithms, ln 4 apart
    assert np.isnan(middle(np.array([1.0, 0.0, np.inf, np.inf]))).all()
    assert middle(np.array([3.0])) == pytest.approx((3.0, 0.0))


def test_a_narrow_network_is_looked_at_where_its_borders_are() -> None:
    assert sets.table1_range(FIG2) == sets.TABLE1_K["mse"]
    assert sets.table1_range(dataclasses.replace(FIG2, width=512)) == (2.5, 100.0)
