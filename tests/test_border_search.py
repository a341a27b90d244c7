"""A network's borders: the right ones, found without training anything twice."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nin.networks.attachment import one_node
from nin.networks.seeds import generator
from nin.runs.bisection import find_border
from nin.runs.phases import BORDERS, SURGE, Phase, PhaseFinding, classify_phase
from nin.studies.borders.grid import CHOICES, FACTORIAL_BASE, agreement, factorial
from nin.studies.borders.prediction import expected
from nin.studies.borders.search import (
    K_RANGE,
    TOLERANCE,
    Searching,
    Trials,
    find_borders,
    first_steps,
    is_past,
    trials,
)
from nin.studies.experiments import FIG2, FIG3, Experiment
from nin.studies.study import Shelf, images, train_runs

ROOT = Path(__file__).resolve().parents[1]
TINY = dataclasses.replace(FIG2, width=64, batch_size=50)
STEPS, SEEDS = 30, (0, 1, 2)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """The trials of a tiny network with the search for its last border done; read it only."""
    shelf = Shelf(tmp_path_factory.mktemp("tiny"), "network_borders", workers=1)
    find_borders([TINY], ["divergent"], SEEDS, STEPS, shelf)
    return shelf


def asked(seed: int = 0, **changes: Any) -> Searching:
    return Searching(dataclasses.replace(TINY, seed=seed, **changes), STEPS)


def finding(phase: Phase, loss_peak: float = 1.0) -> PhaseFinding:
    return PhaseFinding(phase, 1.0, 1.0, loss_peak, 1.0, None)


def plain_run(e: Experiment, steps: int) -> bool:
    """Train by autograd, one sample of noise and one step at a time; return whether it survives."""
    data = images(e.scaling, e.split_seed)
    n = steps * e.batch_size
    x, y = data.train_x[:n], torch.nn.functional.one_hot(data.train_y[:n], 10).float()
    model = e.network()
    node = one_node(model)[1]
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
def test_a_plain_loop_diverges_above_the_border_and_not_below(tiny: Shelf, seed: int) -> None:
    [border] = find_borders([TINY], ["divergent"], [seed], STEPS, tiny)[TINY]["divergent"]
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


def test_a_search_ends_at_once_where_there_is_no_border(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, "", workers=1)
    found = find_borders([TINY], ["divergent"], SEEDS, STEPS, shelf, K=(0.1, 0.2))
    assert np.isinf(found[TINY]["divergent"]).all()
    assert all(len(Trials(asked(seed), shelf).found) == 1 for seed in SEEDS)


def test_borders_say_where_a_seed_has_none(tiny: Shelf) -> None:
    there = find_borders([TINY], ["divergent"], SEEDS, STEPS, tiny)[TINY]["divergent"]
    middle = float(np.median(there**2 / TINY.unit))
    for K, none in (((0.1, middle), np.inf), ((middle, 2000.0), 0)):
        found = find_borders([TINY], ["divergent"], SEEDS, STEPS, tiny, K=K)
        assert none in found[TINY]["divergent"]


def test_several_configurations_and_borders_come_each_in_its_place(tmp_path: Path) -> None:
    wide, shelf = dataclasses.replace(TINY, width=65), Shelf(tmp_path, "", workers=1)
    where: dict[str, Any] = {"tolerance": 0.3}
    both = find_borders([TINY, wide], ["surge", "divergent"], [0, 1], STEPS, shelf, **where)
    for e in (TINY, wide):
        for name in ("surge", "divergent"):
            for i, seed in enumerate((0, 1)):
                [alone] = find_borders([e], [name], [seed], STEPS, shelf, **where)[e][name]
                assert both[e][name][i] == alone
        assert (both[e]["surge"] <= both[e]["divergent"]).all()


def test_a_search_ends_for_any_tolerance(tiny: Shelf, tmp_path: Path) -> None:
    """Noise strengths have six digits: between two of them there is nothing to train."""
    there = find_borders([TINY], ["divergent"], [0], STEPS, tiny)[TINY]["divergent"]
    low, high = (float(there[0] * f) ** 2 / TINY.unit for f in (0.99, 1.01))
    where: dict[str, Any] = {"K": (low, high), "tolerance": 1e-300}
    copy = Shelf(shutil.copytree(tiny.folder, tmp_path / "copy"), "", workers=1)
    found = find_borders([TINY], ["divergent"], [0], STEPS, copy, **where)[TINY]["divergent"]
    assert abs(found[0] / there[0] - 1) < 0.01
    assert len(Trials(asked(0), copy).found) < 60  # 2 % are 13 halvings from six digits


@pytest.mark.parametrize("off", [1.0, 1.05, 0.6, 30.0, 1 / 30])
def test_a_search_from_a_prediction_finds_the_same_border_sooner(
    tiny: Shelf, tmp_path: Path, off: float
) -> None:
    there = find_borders([TINY], ["divergent"], SEEDS, STEPS, tiny)[TINY]["divergent"]
    shelf, around = Shelf(tmp_path, "", workers=1), {TINY: off * float(np.median(there))}
    found = find_borders([TINY], ["divergent"], SEEDS, STEPS, shelf, around=around)
    # Brackets of 2 % in either search, their middles taken.
    np.testing.assert_allclose(found[TINY]["divergent"], there, rtol=0.02)
    low, high = K_RANGE["mse"]
    bisections = 2 + np.ceil(np.log2(np.log(high / low) / 2 / TOLERANCE))
    after = sum(len(t.found) for t in trials(TINY, SEEDS, STEPS, shelf)) / len(SEEDS)
    # A walk of n steps that double saves the first n bisections or so.
    assert after <= bisections * (0.7 if 0.9 < off < 1.1 else 1.5)


def test_a_search_that_is_told_nothing_starts_from_the_closed_form(tmp_path: Path) -> None:
    """One hidden ReLU layer has one; with tanh the whole range is bisected, in ten trials."""
    shelf = Shelf(tmp_path, "", workers=1)
    find_borders([TINY], ["divergent"], [0], STEPS, shelf)
    assert len(Trials(asked(), shelf).found) < 8
    assert expected(dataclasses.replace(TINY, activation="tanh"), "divergent") is None
    assert expected(TINY, "decay") is None


def test_each_border_and_seed_has_a_prediction_of_its_own(tmp_path: Path) -> None:
    said = {"surge": np.array([40.0, 60.0]), "divergent": 80.0}
    shelf = Shelf(tmp_path, "", workers=1)
    find_borders([TINY], ["surge", "divergent"], (0, 1), STEPS, shelf, around={TINY: said})
    for seed, first in ((0, 40.0), (1, 60.0)):
        assert {first, 80.0} <= set(Trials(asked(seed), shelf).found)


def test_trials_that_bisect_the_whole_range_are_read_as_bisection(
    tiny: Shelf, tmp_path: Path
) -> None:
    """Those that were made before there were predictions."""
    shelf = Shelf(shutil.copytree(tiny.folder, tmp_path / "copy"), "", workers=1)
    here = Trials(asked(), shelf)
    low, high = (TINY.at(k).sigma_eps for k in K_RANGE["mse"])
    plain = find_border(
        lambda s: np.array([is_past("divergent", here.look(float(s[0])))]), low, high, 1, TOLERANCE
    ).value
    again = Trials(asked(), dataclasses.replace(shelf, may_make=False))
    assert again.border("divergent", None, TOLERANCE, 1.3 * plain) == plain


def test_a_search_from_a_prediction_says_where_there_is_no_border(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, "", workers=1)
    for K, there in (((0.1, 0.2), np.inf), ((400.0, 500.0), 0.0)):
        around = {TINY: TINY.at(K[0]).sigma_eps * 1.1}
        found = find_borders([TINY], ["divergent"], [0], STEPS, shelf, K=K, around=around)
        assert found[TINY]["divergent"] == [there]


def test_an_unknown_border_is_an_error(tiny: Shelf) -> None:
    with pytest.raises(ValueError, match="border must be one of"):
        find_borders([TINY], ["decoupled"], SEEDS, STEPS, tiny)


def test_contradictions_are_counted(tmp_path: Path) -> None:
    here = Trials(asked(), Shelf(tmp_path, ""))
    here.found = {
        s: finding(Phase(p)) for s, p in ((1.0, "decay"), (2.0, "divergent"), (3.0, "decay"))
    }
    assert here.contradictions("divergent") == 1


# ---- the trials


def test_whole_epochs_are_those_of_the_experiment_bit_for_bit() -> None:
    base = dataclasses.replace(FIG3, width=8, epochs=2, evaluations=1)
    e = dataclasses.replace(base, seed=3, sigma_eps=60.0)
    _, [whole] = train_runs([e], progress=False)
    history = first_steps(e, 84)
    np.testing.assert_array_equal(history.loss, whole.loss)
    np.testing.assert_array_equal(history.w_ni, whole.w_ni)


@pytest.mark.parametrize("steps", [1, 43, 83, 0])
def test_steps_that_are_no_whole_epochs_are_an_error(steps: int) -> None:
    with pytest.raises(ValueError, match="within one epoch of batches of 1000"):
        Searching(FIG2, steps)


def test_noise_and_epochs_of_the_experiment_do_not_matter() -> None:
    assert asked(sigma_eps=5.0, epochs=7, evaluations=3) == asked()


def test_the_rule_is_the_book_s(tiny: Shelf) -> None:
    here = Trials(asked(), tiny)
    for sigma_eps, seen in list(here.found.items())[:3]:
        run = dataclasses.replace(TINY, seed=0, sigma_eps=sigma_eps)
        assert classify_phase(first_steps(run, STEPS)) == seen
    assert set(BORDERS) == {"surge", "lost", *[p for p in Phase if p != Phase.DECOUPLED]}


# ---- the record


KILLED_SEARCHES = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from test_border_search import STEPS, TINY, Shelf, Trials, asked, find_borders
from nin.studies.study import images_of

torch.set_num_threads(1)
images_of(TINY)  # once, for all of them
shelf, rng, seen = Shelf(Path(sys.argv[1]), ""), random.Random(0), {}
while len(seen) < 8:
    search = os.fork()
    if search == 0:
        find_borders([TINY], ["divergent"], [0], STEPS, shelf, tolerance=1e-4)
        os._exit(0)
    while len(Trials(asked(), shelf).found) == len(seen):  # until it has come to one more
        assert os.waitpid(search, os.WNOHANG) == (0, 0), "the search ended by itself"
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 0.05))
    os.kill(search, signal.SIGKILL)
    os.waitpid(search, 0)
    now = Trials(asked(), shelf).found
    assert seen.items() <= now.items(), "a trial was lost"
    seen = now
"""


def test_a_search_that_is_killed_again_and_again_loses_no_trial_and_goes_on(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", KILLED_SEARCHES, str(tmp_path)]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"PYTHONPATH": paths})
    whole = tmp_path / "whole"
    for folder in (tmp_path, whole):
        shelf = Shelf(folder, "", workers=1)
        find_borders([TINY], ["divergent"], [0], STEPS, shelf, tolerance=1e-4)
    one, two = (Trials(asked(), Shelf(folder, "")) for folder in (tmp_path, whole))
    assert one.found == two.found


def test_recompute_trains_again_and_keeps_what_was_not_asked_for(tmp_path: Path) -> None:
    one = Trials(asked(), Shelf(tmp_path, ""))
    first, other = one.look(50.0), one.look(60.0)
    again = Trials(asked(), Shelf(tmp_path, "", recompute=True))
    assert again.look(50.0) == first
    assert again.found == {50.0: first, 60.0: other}
    assert float(again.made["seconds"]) >= float(one.made["seconds"])


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
