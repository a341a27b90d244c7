"""What changes on a GPU: steps are replayed, and everything lies there. Skipped without one."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from test_study import KINDS, base_of
from test_training import D_IN, D_OUT, DATA, fit, mlp, synthetic
from torch import Tensor, nn

from nin.curvature.node_report import report
from nin.networks.attachment import attach
from nin.networks.data import Dataset
from nin.networks.losses import Loss
from nin.networks.mlp_stack import MLPStack
from nin.networks.models import ACTIVATIONS, MLP
from nin.networks.recorder import Recorder
from nin.networks.replayed import Replayed
from nin.networks.seeds import generator
from nin.networks.small_networks import ConvNet, Transformer
from nin.runs.history import History
from nin.studies import study, sweep
from nin.studies.experiments import FIG3
from nin.studies.half_lives import half_lives
from nin.studies.records import RecordError
from nin.studies.run import run_or_load, run_path
from nin.studies.study import Shelf

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="asks for a GPU and NIN_TEST_GPU=1"
)
GPU = "cuda"
ROUNDING = 1e-3  # of float32 over some steps, relative: sums are taken in another order
SIGMAS = (0.3, 0.7, 1.5)


def assert_equal_courses(here: list[History], there: list[History], rtol: float) -> None:
    for a, b in zip(here, there, strict=True):
        assert a.diverged_step == b.diverged_step
        for name in ("loss", "train_loss", "val_loss", "w_ni"):
            x, y = getattr(a, name), getattr(b, name)
            np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol * np.abs(x).max())


def batches(runs: int, n: int, size: int, steps: int) -> list[tuple[Tensor, Tensor]]:
    g = generator(0, "batches of", size)
    return [
        (torch.randint(n, (runs, size), generator=g).to(GPU),
         torch.randn(runs, size, generator=g).to(GPU))
        for _ in range(steps)
    ]  # fmt: skip


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_replayed_step_gives_the_bits_of_the_step(activation: str, precision: str) -> None:
    models = [mlp(s, seed=i, activation=activation).to(GPU) for i, s in enumerate(SIGMAS)]
    plain, stack = (MLPStack(models, Loss("ce"), 0.1, precision) for _ in range(2))
    replayed = Replayed(stack)
    x, y = DATA.train_x.to(GPU, plain.dtype), DATA.train_y.to(GPU)
    n = len(y)
    steps = [*batches(3, n, 8, 5), *batches(3, n, 7, 4), *batches(3, n, 8, 3)]
    for index, eps in steps:
        for one, other in zip(plain.step(x, y, index, eps), replayed.step(x, y, index, eps),
                              strict=True):  # fmt: skip
            assert torch.equal(one, other)
    kept = torch.tensor([2, 0], device=GPU)
    plain.keep(kept)
    replayed.keep(kept)
    for index, eps in batches(2, n, 8, 4):
        plain.step(x, y, index, eps)
        replayed.step(x, y, index, eps)
    for one, other in zip(plain.weights, stack.weights, strict=True):
        assert torch.equal(one, other)
    clean = zip(plain.evaluate(x, y), replayed.evaluate(x, y), strict=True)
    assert all(torch.equal(one, other) for one, other in clean)


@pytest.mark.parametrize("loss", ["ce", "mse"])
def test_mlps_train_as_on_the_cpu_and_one_that_is_lost_leaves_the_others(loss: str) -> None:
    here = [mlp(s, seed=i) for i, s in enumerate((0.3, 1e20, 1.5))]
    there = [copy.deepcopy(m).to(GPU) for m in here]
    before, after = fit(here, loss=loss), fit(there, DATA.to(GPU), loss=loss)
    assert before[1].diverged_step == after[1].diverged_step is not None
    assert_equal_courses(before[::2], after[::2], ROUNDING)
    for a, b in zip(here[2].parameters(), there[2].parameters(), strict=True):
        torch.testing.assert_close(a, b.cpu(), rtol=ROUNDING, atol=ROUNDING)


def images(n: int = 24) -> Dataset:
    g = generator(0, "images")
    x, y = torch.randn(n + 8, 1, 28, 28, generator=g), torch.randint(10, (n + 8,), generator=g)
    return Dataset(x[:n], y[:n], x[n:], y[n:])


@pytest.mark.parametrize(("make", "layer"), [(ConvNet, "conv0"), (Transformer, "embed")])
def test_other_networks_are_batched_as_on_the_cpu(make: type[nn.Module], layer: str) -> None:
    here = [make(28, seed=i) if make is ConvNet else make(16, seed=i) for i in range(2)]  # type: ignore[call-arg, arg-type]
    for i, model in enumerate(here):
        attach(model, layer, 0.5, seed=i)
    there = [copy.deepcopy(m).to(GPU) for m in here]
    before = fit(here, images(), epochs=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "these networks train one after another"
        after = fit(there, images().to(GPU), epochs=2)
    assert_equal_courses(before, after, ROUNDING)


def test_an_optimiser_trains_as_on_the_cpu() -> None:
    here = [mlp(0.7)]
    there = [copy.deepcopy(here[0]).to(GPU)]
    options = {"eta": None, "optimizer": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.5)}
    assert_equal_courses(fit(here, **options), fit(there, DATA.to(GPU), **options), ROUNDING)  # type: ignore[arg-type]


def test_a_last_batch_of_one_sample_is_tried_where_the_network_lies() -> None:
    data = synthetic(D_IN, n=25)
    here, there = mlp(0.7), mlp(0.7).to(GPU)
    assert_equal_courses(fit([here], data), fit([there], data.to(GPU)), ROUNDING)


def test_a_report_says_what_it_says_on_the_cpu() -> None:
    model = MLP(D_IN, 12, 2, D_OUT, "tanh")
    attach(model, "layers.0", 0.5)
    x, y = DATA.train_x, DATA.train_y
    here = report(model, x, y, "ce", eta=0.1, borders=True)["layers.0"]
    there = report(model.to(GPU), x.to(GPU), y.to(GPU), "ce", eta=0.1, borders=True)["layers.0"]
    for field in dataclasses.fields(here):
        if isinstance(a := getattr(here, field.name), float):
            assert getattr(there, field.name) == pytest.approx(
                a, rel=0.01, abs=1e-6, nan_ok=True
            ), field.name


def test_a_loop_of_ones_own_is_recorded() -> None:
    model = mlp(0.7).to(GPU)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = Recorder(model, sgd)
    x, y = DATA.train_x.to(GPU), DATA.train_y.to(GPU)
    for _ in range(6):
        loss = nn.functional.cross_entropy(model(x), y)
        sgd.zero_grad()
        loss.backward()
        recorder.step(loss)
        sgd.step()
    assert len(recorder.history().loss) == 6


def test_runs_go_on_record_in_groups(tmp_path: Path) -> None:
    few = dataclasses.replace(FIG3, width=8, epochs=1)
    asked = [dataclasses.replace(few.at(K), seed=s) for K in (0.1, 1.0) for s in (0, 1)]
    records = run_or_load(asked, folder=tmp_path, progress=False)
    assert [r.made["lockstep"] for r in records] == [4] * 4
    assert records[0].made["device"] == torch.cuda.get_device_name()
    run_path(asked[0], tmp_path).unlink()
    run_path(asked[1], tmp_path).write_bytes(b"")
    with pytest.raises(RecordError, match="is damaged"):  # before anything trains
        run_or_load(asked, folder=tmp_path, progress=False)
    assert not run_path(asked[0], tmp_path).exists()


STUDIES = {
    **KINDS,
    "half-lives": lambda e, shelf: half_lives([dataclasses.replace(e, epochs=3)], shelf)[0].first,
}


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is:FutureWarning")
@pytest.mark.parametrize("kind", STUDIES)
def test_a_study_finds_on_a_gpu_what_it_finds_on_the_cpu(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    e = base_of(kind)
    there = STUDIES[kind](e, Shelf(tmp_path / "gpu", "a_page", workers=1))
    for module in (study, sweep):
        monkeypatch.setattr(module, "default_device", lambda: "cpu")
    here = STUDIES[kind](e, Shelf(tmp_path / "cpu", "a_page", workers=1))
    x, y = np.asarray(here, float), np.asarray(there, float)
    # Most numbers, and to a tenth: the end of an epoch of six neurons under noise is chaotic.
    assert np.nanmedian(np.abs(y - x)) <= 0.1 * np.nanmax(np.abs(x))
