"""A network's borders: the right ones, found without training anything twice."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from nin.networks.nodes import find_node
from nin.networks.seeds import generator
from nin.runs.phases import Phase, PhaseFinding, classify_phase
from nin.studies.borders import search as network_borders
from nin.studies.borders.grid import CHOICES, FACTORIAL_BASE, agreement, factorial
from nin.studies.borders.search import (
    BORDERS,
    BORDERS_FOLDER,
    SURGE,
    TOLERANCE,
    Probes,
    first_steps,
    is_past,
)
from nin.studies.experiment import FIG2, FIG3, Experiment
from nin.studies.records import RecordError, read_arrays
from nin.studies.study import train_together, training_data

TINY = dataclasses.replace(FIG2, width=64, batch_size=50)
STEPS, SEEDS = 30, (0, 1, 2)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Probes:
    """Probes of a tiny network with the search for its last border done; read it only."""
    probes = Probes(TINY, STEPS, tmp_path_factory.mktemp("tiny"))
    probes.border("divergent", SEEDS, progress=False)
    return probes


def finding(phase: Phase, loss_peak: float = 1.0) -> PhaseFinding:
    return PhaseFinding(phase, 1.0, 1.0, loss_peak, 1.0, None)


def plain_run(e: Experiment, steps: int) -> bool:
    """Train by autograd, one sample of noise and one step at a time; return whether it survives."""
    data = training_data(e.scaling, e.split_seed)
    n = steps * e.batch_size
    x, y = data.train_x[:n], torch.nn.functional.one_hot(data.train_y[:n], 10).float()
    model = e.network()
    found = find_node(model)
    assert found is not None
    node = found[1]
    order = torch.randperm(n, generator=generator(e.seed, "batches", 0))
    eps = torch.randn(n, generator=generator(e.seed, "eps", 0)) * e.sigma_eps
    start, losses = float(node.w_ni.detach().norm()), []
    for batch in order.split(e.batch_size):
        size = float(node.w_ni.detach().norm())
        node.eps = eps[batch]
        loss = (model(x[batch]) - y[batch]).square().mean()
        losses.append(loss.item())
        if not np.isfinite(losses[-1]):
            return False
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in model.parameters():
                p.sub_(e.eta * p.grad)
    return size < 1.1 * start or float(np.median(losses[-10:])) < 1.1 * losses[0]


# ---- the borders


@pytest.mark.parametrize("seed", SEEDS)
def test_a_plain_loop_diverges_above_the_border_and_not_below(tiny: Probes, seed: int) -> None:
    border = float(tiny.border("divergent", SEEDS, progress=False).values[seed])
    away = 1 + TOLERANCE  # the last bracket reaches half of that to either side
    below, above = (
        dataclasses.replace(TINY, seed=seed, sigma_eps=border * f) for f in (1 / away, away)
    )
    assert plain_run(below, STEPS)
    assert not plain_run(above, STEPS)


def test_borders_are_passed_in_the_order_of_the_phases() -> None:
    passed = [[is_past(b, finding(p)) for b in ("decay", "catapult", "divergent")] for p in Phase]
    assert passed == [[False] * 3, [True, False, False], [True, True, False], [True] * 3]


def test_a_surge_is_one_of_the_loss_alone() -> None:
    assert is_past("surge", finding(Phase.DECAY, 1.01 * SURGE))
    assert not is_past("surge", finding(Phase.CATAPULT, 0.99 * SURGE))
    assert is_past("surge", finding(Phase.DIVERGENT, np.nan))  # diverged before its second record


def test_a_search_ends_at_once_where_no_seed_has_a_border(tmp_path: Path) -> None:
    probes = Probes(TINY, STEPS, tmp_path)
    border = probes.border("divergent", SEEDS, (0.1, 0.2), progress=False)
    assert (border.found, border.below, border.above) == (False, 0, len(SEEDS))
    assert len(probes.found) == 2 * len(SEEDS)


def test_an_unknown_border_is_an_error(tiny: Probes) -> None:
    with pytest.raises(ValueError, match="border must be one of"):
        tiny.border("decoupled", SEEDS, progress=False)


def test_contradictions_are_counted_seed_by_seed(tmp_path: Path) -> None:
    probes = Probes(TINY, STEPS, tmp_path)
    phases = {(0, 1.0): "decay", (0, 2.0): "divergent", (0, 3.0): "decay", (1, 1.0): "divergent"}
    probes.found = {key: finding(Phase(p)) for key, p in phases.items()}
    assert probes.contradictions("divergent") == (1, 4)


# ---- the runs


def test_whole_epochs_are_those_of_the_experiment_bit_for_bit() -> None:
    base = dataclasses.replace(FIG3, width=8, epochs=2, evaluations=1)
    e = dataclasses.replace(base, seed=3, sigma_eps=60.0)
    [record] = train_together([e], progress=False)
    [history] = first_steps(base, 84, [(3, 60.0)])
    np.testing.assert_array_equal(history.loss, record.history.loss)
    np.testing.assert_array_equal(history.w_ni, record.history.w_ni)


@pytest.mark.parametrize("steps", [1, 43, 83, 0])
def test_steps_that_are_no_whole_epochs_are_an_error(steps: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="within one epoch of batches of 1000"):
        Probes(FIG2, steps, tmp_path)


def test_who_else_is_looked_at_does_not_change_what_is_seen(tiny: Probes, tmp_path: Path) -> None:
    (seed, sigma), seen = next(iter(tiny.found.items()))
    [alone] = Probes(TINY, STEPS, tmp_path).look([seed], np.array([sigma]))
    assert alone == seen


# ---- the record


def no_training(*_: object) -> None:
    raise AssertionError("trained again")


def test_a_search_on_record_trains_nothing(tiny: Probes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_borders, "first_steps", no_training)
    again = Probes(TINY, STEPS, tiny.folder)
    assert again.found == tiny.found
    assert again.made == tiny.made
    one, two = (p.border("divergent", SEEDS, progress=False) for p in (tiny, again))
    np.testing.assert_array_equal(one.values, two.values)


def test_noise_seed_and_epochs_of_the_experiment_do_not_matter(tiny: Probes) -> None:
    other = dataclasses.replace(TINY, sigma_eps=5.0, seed=9, epochs=7, evaluations=3)
    assert Probes(other, STEPS, tiny.folder).path == tiny.path
    wider = dataclasses.replace(TINY, width=65)
    assert Probes(wider, STEPS, tiny.folder).path != tiny.path
    assert Probes(TINY, STEPS + 1, tiny.folder).path != tiny.path


def test_a_search_that_was_stopped_goes_on(
    tiny: Probes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, real = [4], first_steps

    def stops(*arguments: object) -> list[object]:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(network_borders, "first_steps", stops)
    with pytest.raises(KeyboardInterrupt):
        Probes(TINY, STEPS, tmp_path).border("divergent", SEEDS, progress=False)
    kept = Probes(TINY, STEPS, tmp_path)
    assert len(kept.found) == 4 * len(SEEDS)
    left[0] = len(tiny.found) // len(SEEDS) - 4  # no more than was missing
    border = kept.border("divergent", SEEDS, progress=False)
    np.testing.assert_array_equal(
        border.values, tiny.border("divergent", SEEDS, progress=False).values
    )


def test_recompute_trains_again_and_finds_the_same(tiny: Probes, tmp_path: Path) -> None:
    probes = Probes(TINY, STEPS, tmp_path)
    first = probes.look([0], np.array([50.0]))
    seconds = probes.made["seconds"]
    assert probes.look([0], np.array([50.0]), recompute=True) == first
    assert float(probes.made["seconds"]) >= float(seconds)


def test_a_record_under_a_wrong_name_is_refused(tiny: Probes, tmp_path: Path) -> None:
    other = dataclasses.replace(TINY, width=65)
    Probes(other, STEPS, tmp_path).path.write_bytes(tiny.path.read_bytes())
    with pytest.raises(RecordError, match="another configuration"):
        Probes(other, STEPS, tmp_path)


def test_a_damaged_record_is_named(tiny: Probes, tmp_path: Path) -> None:
    path = tmp_path / tiny.path.name
    path.write_bytes(tiny.path.read_bytes()[:-200])
    with pytest.raises(RecordError, match=path.name):
        Probes(TINY, STEPS, tmp_path)


COMMITTED = sorted(BORDERS_FOLDER.glob("*.npz"))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda p: p.stem)
def test_every_committed_record_is_whole(path: Path) -> None:
    arrays = read_arrays(path, lambda a: a)
    assert path.stat().st_size < 30_000  # hundreds of them stay below the limit for all records
    if path.name.startswith(("forecast", "outcomes")):
        return
    meta = json.loads(str(arrays["meta"]))
    probes = Probes(Experiment(**meta["experiment"]), meta["steps"])
    assert probes.path == path
    assert len(probes.found) == len(arrays["seed"])
    assert probes.made["seconds"]


# ---- the sets of configurations


def test_every_choice_changes_the_experiment() -> None:
    found = [dataclasses.replace(FIG2, **changes) for changes in CHOICES.values()]
    assert found[0] == FIG2
    assert len(set(found)) == len(found)


def test_a_star_varies_each_field_alone() -> None:
    levels = {"width": [128, 512], "depth": [1, 2], "activation": ["relu", "tanh"]}
    star = factorial(FACTORIAL_BASE, levels)
    assert len(star) == 4
    assert len(factorial(FACTORIAL_BASE, levels, full=True)) == 8
    assert FACTORIAL_BASE in star


def test_agreement_counts_the_seeds_whose_phases_hold_table_1() -> None:
    def border(*K: float) -> np.ndarray:
        return np.sqrt(np.array(K) * FIG2.unit)

    found = {"decay": border(1, 1), "catapult": border(40, 46), "divergent": border(45, 49)}
    assert agreement(found, FIG2, "fig2") == {
        "decoupled": 1, "decay": 1, "catapult": 0.5, "divergent": 1
    }  # fmt: skip
    del found["decay"]
    assert agreement(found, FIG2, "fig2") == {"decay": 1, "catapult": 0.5, "divergent": 1}
    found["divergent"] = border(45, np.inf)
    assert agreement(found, FIG2, "fig2")["divergent"] == 0.5


def test_borders_by_seed_say_where_a_seed_has_none(tiny: Probes) -> None:
    all_in = tiny.by_seed("divergent", SEEDS, progress=False)
    np.testing.assert_array_equal(all_in, tiny.border("divergent", SEEDS, progress=False).values)
    tiny_K = all_in**2 / TINY.unit
    middle = float(np.median(tiny_K))
    for K, none in (((0.1, middle), np.inf), ((middle, 2000.0), 0)):
        fresh = Probes(TINY, STEPS, tiny.folder / "fresh")
        assert none in fresh.by_seed("divergent", SEEDS, K=K, progress=False)


def test_the_classifier_is_the_book_s(tiny: Probes) -> None:
    (seed, sigma), seen = next(iter(tiny.found.items()))
    [history] = first_steps(tiny.base, STEPS, [(seed, sigma)])
    assert classify_phase(history) == seen
    assert set(BORDERS) == {"surge", *[p for p in Phase if p != Phase.DECOUPLED]}
