"""The claims on borders: from the page's own configurations, and never by training."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import yaml

from nin.companion.claims import network, phase_borders
from nin.companion.claims.finding import Cell, Verdict
from nin.companion.claims.ledger import Claim
from nin.companion.claims.table1 import PAGES as PAGES_OF_FIGURES
from nin.companion.claims.table1 import RECOVERS, SWEEP_EPOCHS, SWEEP_SEEDS, SWEEPS
from nin.companion.pages import PAGES, check_parameters, page_parameters
from nin.runs.averages import middle
from nin.studies.borders import grid as sets
from nin.studies.borders.forecasts import forecast
from nin.studies.borders.noise_only import noise_only_borders
from nin.studies.borders.prediction import second_order_curvature
from nin.studies.borders.search import BORDERS_SHELF, Searching, find_borders
from nin.studies.borders.second_order import SAMPLES
from nin.studies.experiments import FIG2
from nin.studies.records import RecordError
from nin.studies.study import images

UNSEEN = dataclasses.replace(FIG2, width=9)


def page_defaults(name: str = "network_borders") -> dict[str, object]:
    """Run a page's parameters cell, which holds nothing but literals."""
    import nbformat  # noqa: PLC0415

    notebook = nbformat.read(PAGES / f"{name}.ipynb", as_version=4)
    [cell] = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    found: dict[str, object] = {}
    exec(cell.source, {"__builtins__": __builtins__}, found)
    return found


def test_the_pages_show_by_default_what_the_claims_read() -> None:
    p = page_defaults()
    assert tuple(p["seeds"]) == sets.TABLE1_SEEDS
    assert (p["tolerance"], p["coarse"]) == (sets.FINE, sets.COARSE)
    assert {"fig2": p["steps_mse"], "fig3": p["steps_ce"]} == sets.TABLE1_STEPS
    assert (p["width"], p["eta"], p["batch_size"]) == (FIG2.width, FIG2.eta, FIG2.batch_size)
    p = page_defaults("predicted_borders")
    named = {"width": "widths", "eta": "etas", "batch_size": "batch_sizes", "depth": "depths"}
    named |= {"activation": "activations", "loss": "losses"}
    assert {field: p[name] for field, name in named.items()} == sets.FACTORIAL_LEVELS
    assert p["factorial_steps"] == sets.FACTORIAL_STEPS and p["coarse"] == sets.COARSE
    assert tuple(p["decay_steps"]) == sets.DECAY_STEPS
    assert tuple(p["factorial_seeds"]) == sets.FACTORIAL_SEEDS
    assert tuple(p["parts_eta"]) == sets.PARTS_ETA
    p = page_defaults("image_borders")
    assert tuple(p["deep_seeds"]) == sets.DEEP_SEEDS and p["steps"] == sets.FACTORIAL_STEPS
    assert tuple(p["deep_widths"]) == sets.DEEP_WIDTHS
    p = page_defaults("activations")
    assert tuple(p["bounded_sigma_eps"]) == sets.BOUNDED_SIGMA_EPS
    assert tuple(p["bounded_epochs"]) == sets.BOUNDED_EPOCHS
    assert p["bounded_long"] == sets.BOUNDED_LONG
    assert (p["steps"], p["coarse"]) == (sets.FACTORIAL_STEPS, sets.COARSE)
    assert tuple(p["beyond_seeds"]) == sets.BEYOND_SEEDS
    assert tuple(p["seeds"]) == sets.FACTORIAL_SEEDS


@pytest.mark.parametrize(
    ("page", "prefix"), [("network_borders", "small_"), ("predicted_borders", "factorial_"),
                         ("activations", "")],
)  # fmt: skip
def test_the_smaller_network_is_the_same_on_all_pages(page: str, prefix: str) -> None:
    p = page_defaults(page)
    for field in ("width", "eta", "batch_size"):
        assert p[prefix + field] == getattr(sets.FACTORIAL_BASE, field)


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
    page = PAGES / "predicted_borders.ipynb"
    file = PAGES.parents[1] / "params" / "borders_full.yml"
    given = yaml.safe_load(file.read_text(encoding="utf8"))
    p = page_defaults("predicted_borders") | check_parameters(given, page_parameters(page))
    named = {"width": "widths", "eta": "etas", "batch_size": "batch_sizes", "depth": "depths"}
    named |= {"activation": "activations", "loss": "losses"}
    grid = sets.factorial(sets.FACTORIAL_BASE, {f: p[n] for f, n in named.items()}, p["full"])
    assert len(grid) == np.prod([len(p[n]) for n in named.values()])
    assert {e.width for e in grid} >= {2048} and {e.batch_size for e in grid} >= {1000}
    for e in grid:
        Searching(e, p["factorial_steps"])


def test_the_middle_is_a_geometric_mean_over_seeds_that_have_a_border() -> None:
    value, err = middle(np.array([1.0, 4.0, np.inf]))
    assert value == pytest.approx(2.0, rel=1e-12)
    assert err == pytest.approx(np.log(4) / 2, rel=1e-12)  # of two logarithms, ln 4 apart
    assert np.isnan(middle(np.array([1.0, 0.0, np.inf, np.inf]))).all()
    assert middle(np.array([3.0])) == pytest.approx((3.0, 0.0))


def test_a_narrow_network_is_looked_at_where_its_borders_are() -> None:
    assert sets.table1_range(FIG2) == sets.TABLE1_K["mse"]
    assert sets.table1_range(dataclasses.replace(FIG2, width=512)) == (2.5, 100.0)


def cells(claim: Claim) -> dict[tuple[object, ...], Cell]:
    return {tuple(c.setting.values()): c for c in claim.finding.cells}


def test_each_loss_has_as_many_windows_as_its_configurations_show() -> None:
    found = cells(phase_borders.phases_persist)
    assert len(found) == 20  # of 22: tanh diverges nowhere
    opened = {x: sum(c.holds for k, c in found.items() if k[-1] == x) for x in ("mse", "ce")}
    assert opened == {"mse": 2, "ce": 10}
    assert phase_borders.phases_persist.finding.verdict == Verdict.PARTLY


def test_a_configuration_s_numbers_are_those_of_its_own_records() -> None:
    e = dataclasses.replace(sets.FACTORIAL_BASE, loss="ce", eta=0.03)
    run = find_borders(
        [e], ["catapult", "divergent"], (0, 1, 2), 84, BORDERS_SHELF, tolerance=sets.COARSE
    )[e]
    window = cells(phase_borders.phases_persist)[512, 0.03, 128, 1, "relu", "ce"]
    assert window.value == pytest.approx(np.mean(run["divergent"] / run["catapult"]), rel=1e-12)
    said = np.array([
        noise_only_borders(dataclasses.replace(e, seed=k), 84, (0.005, 50.0))["divergent"]
        for k in (0, 1, 2)
    ])  # fmt: skip
    cell = cells(phase_borders.predictable)["divergent", 512, 0.03, 128, 1, "relu", "ce"]
    # Another machine's sums may move a bracket of two percent.
    assert cell.value == pytest.approx(np.mean((said / run["divergent"]) ** 2), rel=0.05)
    assert not cell.holds and cell.n == 3


def test_where_no_border_is_predicted_the_end_of_the_range_stands_for_it() -> None:
    found = cells(phase_borders.predictable)
    lost = found["divergent", 512, 0.01, 128, 2, "relu", "ce"]
    e = dataclasses.replace(sets.FACTORIAL_BASE, loss="ce", depth=2)
    K = phase_borders.factorial_borders()[e]["divergent"] ** 2 / e.unit
    K = K[np.isfinite(K)]
    assert not np.isfinite(forecast(e, (0, 1, 2), 84, BORDERS_SHELF).noise_only["divergent"]).any()
    assert lost.value == pytest.approx(np.mean(50 / K), rel=1e-9) and lost.n == len(K) == 2


def test_the_network_that_diverges_before_its_second_order_is_found_in_a_plain_loop() -> None:
    """One run of z^2/2 units by autograd, between what it bears and what the second order does."""
    finding = network.second_order.finding
    assert finding.verdict == Verdict.REPRODUCED
    [cell] = [c for c in finding.cells if c.setting["activation"] == "square"
              and c.setting["loss"] == "mse" and c.setting["N_w"] == 512]  # fmt: skip
    e = dataclasses.replace(sets.FACTORIAL_BASE, eta=0.003, activation="square")
    data = images(e.scaling, e.split_seed)
    ends = {}
    for K in (0.5, 4.0):
        g = torch.Generator().manual_seed(3)
        run = e.at(K)
        w0, w1 = (torch.randn(a, b, generator=g) / b**0.5 for a, b in ((512, 784), (10, 512)))
        u = torch.randn(512, generator=g) / 785**0.5
        weights = [p.requires_grad_() for p in (w0, w1, u)]
        for t in range(84):
            x, y = (d[128 * t : 128 * (t + 1)] for d in (data.train_x, data.train_y))
            eps = run.sigma_eps * torch.randn(len(x), 1, generator=g)
            out = ((x @ w0.T + eps * u) ** 2 / 2) @ w1.T
            loss = (out - torch.nn.functional.one_hot(y, 10)).square().mean()
            steps = torch.autograd.grad(loss, weights)
            with torch.no_grad():
                for p, step in zip(weights, steps, strict=True):
                    p.sub_(e.eta * step)
        ends[K] = float(loss.detach())
        share = second_order_curvature(run, run.sigma_eps, data, SAMPLES) / 4
        assert (share > cell.value) == (K == 4.0) and share < 1
    assert ends[0.5] < 1 and not ends[4.0] < 1e3  # it is lost: huge, infinite or not a number
