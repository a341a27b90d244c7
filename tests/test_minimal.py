"""The example in one file gives the package's own numbers."""

from __future__ import annotations

import dataclasses
import itertools
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import nin
from nin.networks import MLP

FILE = Path(__file__).resolve().parents[1] / "examples" / "minimal.py"
ROUNDING = 2e-5
"""Float32 rounding, 6e-8 a product; measured: 3e-7, and 3e-6 where the loss grows a billionfold."""
KINK = 2e-2
"""A pre-activation within rounding of ReLU's kink may fall on either side: one image then pulls on
one neuron, or does not. Against float64 it did in 2 of 40 runs, and moved a course by 4e-3 at most.
"""


@pytest.fixture(scope="module")
def minimal() -> SimpleNamespace:
    """What the example defines."""
    return SimpleNamespace(**runpy.run_path(str(FILE)))


def network(minimal: SimpleNamespace, sigma_eps: float, seed: int) -> nn.Module:
    """The package's network with the example's sizes."""
    model = MLP(784, minimal.N_W, seed=seed)
    nin.attach(model, "layers.0", sigma_eps, seed=seed)
    return model


@pytest.fixture(scope="module", params=[0, 3], ids="seed {}".format)
def courses(
    request: pytest.FixtureRequest, minimal: SimpleNamespace
) -> list[tuple[Tensor, nin.History]]:
    """For each noise strength the example's course and the package's history."""
    seed, (x, y) = request.param, minimal.load()
    models = [network(minimal, sigma_eps, seed) for sigma_eps in minimal.SIGMA_EPS]
    histories = nin.train(
        models,
        nin.Dataset(x, y, x, y),
        loss="mse",
        eta=minimal.ETA,
        batch_size=minimal.BATCH_SIZE,
        epochs=minimal.EPOCHS,
        seeds=[seed] * len(models),
        evaluations=0,
        progress=False,
    )
    weights = [minimal.initial_weights(seed) for _ in models]
    ours = [
        minimal.train(w, x, y, sigma_eps, seed)
        for w, sigma_eps in zip(weights, minimal.SIGMA_EPS, strict=True)
    ]
    return list(zip(ours, histories, strict=True))


@pytest.mark.parametrize("seed", [0, 3])
def test_initial_weights_are_those_of_the_package(minimal: SimpleNamespace, seed: int) -> None:
    ours, theirs = minimal.initial_weights(seed), network(minimal, 1.0, seed)
    names = (
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.weight",
        "layers.1.bias",
        "layers.0.nin.w_ni",
    )
    for w, name in zip(ours, names, strict=True):
        assert torch.equal(w, theirs.get_parameter(name)), name


def test_every_step_is_that_of_the_package(courses: list[tuple[Tensor, nin.History]]) -> None:
    for ours, history in courses:
        np.testing.assert_array_equal(history.step, np.arange(len(ours)))
        theirs = np.stack([history.w_ni, history.loss], 1)
        np.testing.assert_allclose(ours[:10], theirs[:10], rtol=ROUNDING)
        np.testing.assert_allclose(ours, theirs, rtol=KINK)


def test_each_phase_appears_with_the_packages_evidence(
    minimal: SimpleNamespace, courses: list[tuple[Tensor, nin.History]]
) -> None:
    for (course, history), expected in zip(courses, nin.Phase, strict=True):
        phase, evidence = minimal.find_phase(course)
        finding = nin.classify_phase(history)
        assert phase == finding.phase == expected
        theirs = [finding.w_peak, finding.w_end, finding.loss_peak, finding.loss_end]
        np.testing.assert_allclose(evidence, theirs, rtol=KINK)


def test_the_rule_is_that_of_the_package(
    minimal: SimpleNamespace, courses: list[tuple[Tensor, nin.History]]
) -> None:
    course, history = courses[0]
    tops, ends = (1.0, 1.05, 1.2), (0.3, 0.7, 1.05, 1.2)
    for w_top, loss_top, w_end, loss_end in itertools.product(tops, tops, ends, ends):
        course = torch.ones_like(course)
        course[50], course[100:] = torch.tensor([w_top, loss_top]), torch.tensor([w_end, loss_end])
        w, loss = course.T.numpy()
        theirs = nin.classify_phase(dataclasses.replace(history, loss=loss, norms={"w_ni": w}))
        assert minimal.find_phase(course)[0] == theirs.phase


def test_the_script_prints_the_four_phases(
    minimal: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    runpy.run_path(str(FILE), run_name="__main__")
    _, *rows = capsys.readouterr().out.splitlines()
    printed = [(float(sigma_eps), phase) for sigma_eps, phase, *_ in map(str.split, rows)]
    assert printed == list(zip(minimal.SIGMA_EPS, nin.Phase, strict=True))


def test_the_example_is_short_and_does_without_the_package() -> None:
    text = FILE.read_text(encoding="utf8")
    assert len(text.splitlines()) <= 80
    assert not re.search(r"^\s*(import|from) nin\b", text, re.MULTILINE)
