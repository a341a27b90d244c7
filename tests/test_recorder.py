"""The recorder in loops of one's own, in Lightning and in Hugging Face's Trainer."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nin.networks.attachment import attach, nodes
from nin.networks.data import Dataset
from nin.networks.recorder import Recorder
from nin.networks.seeds import generator
from nin.networks.training import train
from nin.runs.phases import Phase, classify_phase

N = 24
X = torch.randn(N, 4, generator=generator(0, "recorder"))
Y = torch.randint(3, (N,), generator=generator(0, "labels"))


def network(*layers: str) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    for layer in layers or ("0",):
        attach(model, layer, 0.7)
    return model


def test_a_loop_of_ones_own_leaves_the_history_that_training_leaves() -> None:
    model, twin = network(), network()
    [expected] = train([twin], Dataset(X, Y, X, Y), eta=0.1, batch_size=8, epochs=4, progress=False)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    node = nodes(model)["0"]
    with Recorder(model, optimiser, steps_per_epoch=3) as recorder:
        for epoch in range(4):
            eps = node.draw(N, generator(0, "eps", epoch))
            for b in torch.randperm(N, generator=generator(0, "batches", epoch)).split(8):
                node.eps = eps[b]
                loss = F.cross_entropy(model(X[b]), Y[b])
                optimiser.zero_grad()
                loss.backward()
                recorder.step(loss)
                optimiser.step()
    history = recorder.history()
    assert history.optimizer == expected.optimizer == "SGD(lr=0.1)"
    assert history.epoch.tolist() == expected.epoch.tolist()
    for name, norm in expected.norms.items():  # float32 rounding over twelve steps
        np.testing.assert_allclose(history.norms[name], norm, rtol=2e-5)
    np.testing.assert_allclose(history.loss, expected.loss, rtol=2e-5)
    assert classify_phase(history).phase == Phase.DECOUPLED


def test_the_recorder_finds_the_divergence_and_the_clean_quantities_it_is_told() -> None:
    recorder = Recorder(network("0", "2"))
    for loss in (1.0, 2.0, float("inf"), 1.0):
        recorder.step(loss)
        recorder.evaluate(val_loss=loss)
    history = recorder.history()
    assert history.diverged_step == 2 and history.step.tolist() == [0, 1]
    assert {"w_ni[0]", "w_ni[2]"} <= history.norms.keys()
    assert history.val_loss[0] == 1 and np.isnan(history.train_loss).all()
    assert classify_phase(history, "2").phase == Phase.DIVERGENT
    with pytest.raises(ValueError, match=r"not \['loss'\]"):
        recorder.evaluate(loss=1.0)


@pytest.mark.shows("optimisers")
def test_optimisers_that_miss_or_shrink_the_nodes_weights_are_told_of() -> None:
    model = network()
    with pytest.warns(UserWarning, match="does not hold w_ni of layer '0', which will never move"):
        Recorder(model, torch.optim.SGD(model[2].parameters(), lr=0.1))
    with pytest.warns(UserWarning, match=r"decays w_ni of layer '0' by weight_decay=0\.1"):
        Recorder(model, torch.optim.AdamW(model.parameters(), weight_decay=0.1))
    with pytest.raises(ValueError, match="this network has no node"):
        Recorder(nn.Linear(2, 2))


def test_what_cannot_be_recorded_is_refused() -> None:
    model = network()
    with pytest.raises(ValueError, match=r"expected a torch\.optim\.Optimizer, not a list"):
        Recorder(model, [torch.optim.SGD(model.parameters(), lr=0.1)])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="steps_per_epoch must be >= 1, not 0"):
        Recorder(model, steps_per_epoch=0)
    with pytest.raises(ValueError, match=r"mean loss of the batch, one number, not \(5,\)"):
        Recorder(model).step(torch.zeros(5))
    with pytest.raises(ValueError, match="this run has no records"):
        classify_phase(Recorder(model).history())
    model[0].nin.w_ni.requires_grad_(False)
    with pytest.warns(UserWarning, match="w_ni of layer '0' is frozen"):
        Recorder(model, torch.optim.SGD(model.parameters(), lr=0.1))


def test_records_go_to_a_table_and_to_a_writer(tmp_path: Path) -> None:
    class Writer:
        seen: list[tuple[str, float, int]] = []  # noqa: RUF012

        def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
            self.seen.append((tag, scalar_value, global_step))

    model = network()
    recorder = Recorder(model, writer=Writer())
    recorder.step(0.5, accuracy=0.25)
    recorder.to_csv(tmp_path / "run.csv")
    with (tmp_path / "run.csv").open(encoding="utf8") as file:
        [row] = csv.DictReader(file)
    norm = model[0].nin.w_ni.norm().item()
    assert (float(row["step"]), float(row["loss"]), float(row["accuracy"])) == (0, 0.5, 0.25)
    assert float(row["w_ni"]) == norm
    assert ("nin/w_ni", norm, 0) in Writer.seen and ("nin/loss", 0.5, 0) in Writer.seen


LIBRARIES = ("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.mark.shows("Lightning")
@pytest.mark.filterwarnings(*LIBRARIES)  # of the library's own making
def test_lightning_runs_are_recorded(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")
    from nin.networks.lightning_callback import NINCallback  # noqa: PLC0415

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net, self.seen = network(), []

        def training_step(self, batch: tuple[Tensor, Tensor], _k: int) -> Tensor:
            loss = F.cross_entropy(self.net(batch[0]), batch[1])
            self.seen.append((loss.item(), self.net[0].nin.w_ni.norm().item()))
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    module, callback = Module(), NINCallback()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=8)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    trainer = lightning.Trainer(
        max_epochs=2,
        callbacks=[callback],
        accelerator="cpu",
        enable_checkpointing=False,
        default_root_dir=tmp_path,
        **quiet,
    )
    trainer.fit(module, loader)
    history, (losses, norms) = callback.history(), zip(*module.seen, strict=True)
    np.testing.assert_allclose(history.loss, losses, rtol=1e-6)  # float32
    np.testing.assert_allclose(history.norms["w_ni"], norms, rtol=1e-6)
    assert history.steps_per_epoch == 3 and history.optimizer == "SGD(lr=0.1)"


@pytest.mark.shows("Hugging Face's Trainer")
@pytest.mark.filterwarnings(*LIBRARIES)  # of the library's own making
@pytest.mark.parametrize("checkpointing", [False, True])
def test_runs_of_hugging_faces_trainer_are_recorded(tmp_path: Path, checkpointing: bool) -> None:
    transformers: Any = pytest.importorskip("transformers")
    from nin.networks.trainer_callback import NINTrainerCallback  # noqa: PLC0415

    config = transformers.GPT2Config(vocab_size=11, n_positions=8, n_embd=8, n_layer=2, n_head=2)
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(config)
    node = attach(model, "transformer.h.0.mlp.c_fc", 1.0)
    assert len(node.w_ni) == 32 and node.init_std == pytest.approx(8**-0.5)
    tokens = torch.randint(11, (N, 6), generator=generator(0, "tokens"))
    data = [{"input_ids": t, "labels": t} for t in tokens]
    callback, seen = NINTrainerCallback(), []

    class Trainer(transformers.Trainer):
        def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
            norm = node.w_ni.norm().item()
            seen.append((super().training_step(*args, **kwargs).item(), norm))
            return torch.tensor(seen[-1][0])

    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=6,
        per_device_train_batch_size=8,
        learning_rate=0.01,
        optim="sgd",
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
        gradient_checkpointing=checkpointing,
    )
    Trainer(model=model, args=arguments, train_dataset=data, callbacks=[callback]).train()
    history, (losses, norms) = callback.history(), zip(*seen, strict=True)
    np.testing.assert_allclose(history.loss, losses, rtol=1e-6)  # float32
    np.testing.assert_allclose(history.norms["w_ni"], norms, rtol=1e-6)
    assert np.ptp(history.norms["w_ni"]) > 0


@pytest.mark.shows("Hugging Face's Trainer")
@pytest.mark.filterwarnings(*LIBRARIES)
def test_hugging_faces_checkpointing_leaves_the_gradient_as_it_is() -> None:
    transformers: Any = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=11, n_positions=8, n_embd=8, n_layer=2, n_head=2)
    tokens, grads = torch.randint(11, (N, 6), generator=generator(0, "tokens")), []
    for reentrant in (None, False, True):
        torch.manual_seed(0)
        model = transformers.GPT2LMHeadModel(config).train()
        node = attach(model, "transformer.h.0.mlp.c_fc", 1.0)
        if reentrant is not None:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
            model.enable_input_require_grads()
        torch.manual_seed(1)
        model(input_ids=tokens, labels=tokens).loss.backward()
        grads.append(node.w_ni.grad)
    assert grads[0].norm() > 0
    for grad in grads[1:]:  # float32 rounding
        torch.testing.assert_close(grad, grads[0], rtol=1e-5, atol=1e-7)


@pytest.mark.shows("Hugging Face's Trainer")
@pytest.mark.filterwarnings(*LIBRARIES)
def test_a_loss_that_the_trainer_keeps_to_itself_is_named(tmp_path: Path) -> None:
    transformers: Any = pytest.importorskip("transformers")
    from nin.networks.trainer_callback import NINTrainerCallback  # noqa: PLC0415

    config = transformers.GPT2Config(vocab_size=11, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    model = transformers.GPT2LMHeadModel(config)
    attach(model, "transformer.h.0.mlp.c_fc", 1.0)
    tokens = torch.randint(11, (N, 6), generator=generator(0, "tokens"))
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=1,
        label_smoothing_factor=0.1,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    data = [{"input_ids": t, "labels": t} for t in tokens]
    with pytest.raises(ValueError, match=r"label_smoothing_factor.* use nin\.Recorder"):
        transformers.Trainer(
            model=model, args=arguments, train_dataset=data, callbacks=[NINTrainerCallback()]
        ).train()
