"""The claims on borders: from the page's own configurations, and never by training."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nin import border_sets as sets
from nin.claims import boundaries as claims
from nin.experiments import FIG2
from nin.forecasts import forecast
from nin.network_boundaries import Probes
from nin.notebooks import PAGES
from nin.records import RecordError

UNSEEN = dataclasses.replace(FIG2, width=9)


def page_defaults() -> dict[str, object]:
    """Run the page's parameters cell, which holds nothing but literals."""
    import nbformat  # noqa: PLC0415

    notebook = nbformat.read(PAGES / "network_boundaries.ipynb", as_version=4)
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
    assert tuple(p["factorial_seeds"]) == sets.FACTORIAL_SEEDS
    for field in ("width", "eta", "batch_size"):
        assert p[f"factorial_{field}"] == getattr(sets.FACTORIAL_BASE, field)


def test_what_is_not_on_record_is_an_error_and_not_a_training() -> None:
    with pytest.raises(RecordError, match="python -m nin figures network_boundaries"):
        Probes(UNSEEN, 42, may_train=False).border("divergent", [0], progress=False)
    with pytest.raises(RecordError, match="python -m nin figures network_boundaries"):
        forecast(UNSEEN, [0], 42, may_compute=False)


def test_neurons_saturate_as_the_noise_grows() -> None:
    e = dataclasses.replace(sets.FACTORIAL_BASE, activation="tanh", width=64)
    shares = [claims.saturated_share(e.at(K)) for K in (0.01, 10.0, 2000.0)]
    assert shares == sorted(shares)
    assert shares[0] < 0.1 and shares[-1] > 0.6


def test_the_middle_is_a_geometric_mean_over_seeds_that_have_a_border() -> None:
    value, err = sets.middle(np.array([1.0, 4.0, np.inf]))
    assert value == pytest.approx(2.0, rel=1e-12)
    assert err == pytest.approx(np.log(4) / 2, rel=1e-12)  # of two logarithms, ln 4 apart
    assert np.isnan(sets.middle(np.array([1.0, 0.0, np.inf, np.inf]))).all()
    assert sets.middle(np.array([3.0])) == pytest.approx((3.0, 0.0))


def test_a_narrow_network_is_looked_at_where_its_borders_are() -> None:
    assert sets.table1_range(FIG2) == sets.TABLE1_K["mse"]
    assert sets.table1_range(dataclasses.replace(FIG2, width=512)) == (2.5, 100.0)
