"""The training loop on what people have: tokens, dictionaries, any loss, optimiser, network."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune

from nin.networks.attachment import attach, nodes
from nin.networks.data import Dataset, Inputs
from nin.networks.losses import Loss
from nin.networks.models import MLP
from nin.networks.seeds import generator
from nin.networks.training import train
from nin.runs.history import History

N, BATCH, EPOCHS, SIGMA = 22, 8, 3, 0.7


def randn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator(0, "any", shape))


def whole(most: int, *shape: int) -> Tensor:
    return torch.randint(most, shape, generator=generator(0, "any", most, shape))


def fit(model: nn.Module | list[nn.Module], x: Inputs, y: Tensor, **options: Any) -> History:
    given = {"batch_size": BATCH, "epochs": EPOCHS, "progress": False} | options
    if "optimizer" not in given:
        given = {"eta": 0.1} | given
    models = model if isinstance(model, list) else [model]
    return train(models, Dataset(x, y, x, y), **given)[0]


def by_hand(
    model: nn.Module,
    x: Inputs,
    y: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    optimiser: torch.optim.Optimizer | None = None,
    epochs: range = range(EPOCHS),
    sigma: float = SIGMA,
) -> list[float]:
    """Train in place by a plain loop; return the noisy losses."""
    optimiser = optimiser or torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for epoch in epochs:
        eps = {
            layer: sigma
            * torch.randn(N, generator=generator(0, "eps", epoch, *([layer] * (k > 0))))
            for k, layer in enumerate(nodes(model))
        }
        for b in torch.randperm(N, generator=generator(0, "batches", epoch)).split(BATCH):
            for layer, node in nodes(model).items():
                node.eps = eps[layer][b]
            z = model(x[b]) if isinstance(x, Tensor) else model(**{k: v[b] for k, v in x.items()})
            value = loss(z, y[b])
            losses.append(value.item())
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
    return losses


def noisy(model: nn.Module, *layers: str) -> nn.Module:
    for layer in layers:
        attach(model, layer, SIGMA)
    return model


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.body, self.out = kind(4, 6, batch_first=True), nn.Linear(6, 3)  # type: ignore[call-arg]

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(x)[0][:, -1])


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(9, 4), nn.Linear(4, 3)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.out((self.words(ids) * mask.unsqueeze(-1)).mean(1))


def perceptron(d_out: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, d_out))


def spectral() -> nn.Module:
    return nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Linear(4, 8)), nn.Tanh(), nn.Linear(8, 3)
    )


def bce(z: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(z, y, reduction="none").mean(-1)


Peer = Callable[[Tensor, Tensor], Tensor]
KINDS: dict[str, tuple[Callable[[], nn.Module], Inputs, Tensor, Any, Peer]] = {
    # network, inputs, targets, loss of `train`, mean loss of the plain loop
    "tokens with a label each": (
        lambda: noisy(nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9)), "1"),
        whole(9, N, 5),
        whole(9, N, 5),
        "ce",
        lambda z, y: F.cross_entropy(z.flatten(0, 1), y.flatten()),
    ),
    "a dictionary": (
        lambda: noisy(Pair(), "out"),
        {"ids": whole(9, N, 5), "mask": whole(2, N, 5).float()},
        whole(3, N),
        "ce",
        F.cross_entropy,
    ),
    "probabilities": (
        lambda: noisy(perceptron(), "0"),
        randn(N, 4),
        randn(N, 3).softmax(1),
        "ce",
        F.cross_entropy,
    ),
    "several labels at once": (
        lambda: noisy(perceptron(), "0"),
        randn(N, 4),
        whole(2, N, 3).float(),
        bce,
        lambda z, y: bce(z, y).mean(),
    ),
    "numbers for one output": (
        lambda: noisy(perceptron(1), "0"),
        randn(N, 4),
        randn(N),
        "mse",
        lambda z, y: F.mse_loss(z[:, 0], y),
    ),
    "double precision": (
        lambda: noisy(perceptron().double(), "0"),
        randn(N, 4).double(),
        whole(3, N),
        "ce",
        F.cross_entropy,
    ),
    "an MLP in double precision": (
        lambda: noisy(MLP(4, 8, 1, 3).double(), "layers.0"),
        randn(N, 4).double(),
        whole(3, N),
        "ce",
        F.cross_entropy,
    ),
    "two nodes": (
        lambda: noisy(perceptron(), "0", "2"),
        randn(N, 4),
        whole(3, N),
        "ce",
        F.cross_entropy,
    ),
    "two nodes of an MLP": (
        lambda: noisy(MLP(4, 8, 2, 3), "layers.0", "layers.1"),
        randn(N, 4),
        whole(3, N),
        "ce",
        F.cross_entropy,
    ),
}
ONE_BY_ONE: dict[str, tuple[Callable[[], nn.Module], Inputs, Tensor, Any, Peer]] = {
    "an LSTM": (
        lambda: noisy(Recurrent(nn.LSTM), "out"),
        randn(N, 5, 4),
        whole(3, N),
        "ce",
        F.cross_entropy,
    ),
    "a GRU": (
        lambda: noisy(Recurrent(nn.GRU), "out"),
        randn(N, 5, 4),
        whole(3, N),
        "ce",
        F.cross_entropy,
    ),
    "a spectral norm": (
        lambda: noisy(spectral(), "0"),
        randn(N, 4),
        whole(3, N),
        "ce",
        F.cross_entropy,
    ),
}


def agree(kind: tuple[Callable[[], nn.Module], Inputs, Tensor, Any, Peer]) -> None:
    make, x, y, loss, peer = kind
    torch.manual_seed(0)
    model = make()
    torch.manual_seed(0)
    twin = make()
    history = fit(model, x, y, loss=loss)
    # float32 rounding in numbers of order 1 over nine steps
    np.testing.assert_allclose(history.loss, by_hand(twin, x, y, peer), rtol=2e-5)
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    layers = list(nodes(model))
    names = ["w_ni"] if len(layers) == 1 else [f"w_ni[{layer}]" for layer in layers]
    assert {name for name in history.norms if "w_ni" in name} == set(names)
    assert history.optimizer == "SGD(lr=0.1)"


@pytest.mark.parametrize("kind", KINDS)
def test_trains_as_in_a_plain_loop(kind: str) -> None:
    agree(KINDS[kind])


@pytest.mark.parametrize("kind", ONE_BY_ONE)
def test_what_cannot_be_batched_trains_one_by_one_and_says_so(kind: str) -> None:
    with pytest.warns(UserWarning, match="train one after another, since torch.func cannot"):
        agree(ONE_BY_ONE[kind])


OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD(lr=0.05, momentum=0.9)": functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9),
    "Adam(lr=0.01, betas=(0.9, 0.999))": functools.partial(torch.optim.Adam, lr=0.01),
    "AdamW(lr=0.01, weight_decay=0.1, betas=(0.9, 0.999))": functools.partial(
        torch.optim.AdamW, lr=0.01, weight_decay=0.1
    ),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_other_optimisers_train_as_in_a_plain_loop_and_never_shrink_the_nodes_weights(
    name: str,
) -> None:
    make = OPTIMISERS[name]
    torch.manual_seed(0)
    model = noisy(perceptron(), "0")
    twin, x, y = copy.deepcopy(model), randn(N, 4), whole(3, N)
    history = fit(model, x, y, optimizer=make)
    own = [p for n, p in twin.named_parameters() if "nin" not in n]
    groups = [{"params": own}, {"params": [nodes(twin)["0"].w_ni], "weight_decay": 0.0}]
    losses = by_hand(twin, x, y, F.cross_entropy, make(groups))
    np.testing.assert_allclose(history.loss, losses, rtol=1e-6)  # the same operations
    assert history.optimizer == name
    silent = perceptron()
    attach(silent, "0", 0.0)
    assert np.ptp(fit(silent, x, y, optimizer=make).w_ni) == 0


def test_schedules_are_stepped_at_each_batch() -> None:
    def make(groups: Any) -> tuple[torch.optim.Optimizer, Any]:
        optimiser = torch.optim.SGD(groups, lr=1.0)
        return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: 0.1 * (k == 1))

    torch.manual_seed(0)
    model, x, y = noisy(perceptron(), "0"), randn(N, 4), whole(3, N)
    history = fit(model, x, y, optimizer=make)
    norms = history.norms["0.weight"]
    assert norms[0] == norms[1] != norms[2] == norms[3]
    assert history.optimizer == "SGD(lr=0.0), LambdaLR" or history.optimizer.endswith("LambdaLR")


def test_a_second_call_goes_on_where_the_first_ended() -> None:
    x, y = randn(N, 4), whole(3, N)
    for make in (perceptron, lambda: MLP(4, 8, 1, 3)):
        torch.manual_seed(0)
        model = make()
        attach(model, "0" if isinstance(model, nn.Sequential) else "layers.0", SIGMA)
        twin = copy.deepcopy(model)
        whole_run = fit(model, x, y, epochs=4)
        first, second = fit(twin, x, y, epochs=2), fit(twin, x, y, epochs=2, first_epoch=2)
        assert np.array_equal(np.concatenate([first.loss, second.loss]), whole_run.loss)
        assert second.step[0] == 6 and second.eval_step[-1] == 12
        for a, b in zip(model.parameters(), twin.parameters(), strict=True):
            assert torch.equal(a, b)


def slopes(p: float) -> nn.Module:
    torch.manual_seed(0)
    return noisy(nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(p), nn.Linear(8, 3)), "0")


def dropouts(p: float) -> nn.Module:
    return noisy(nn.Sequential(nn.Linear(4, 8), nn.Dropout(p), nn.Linear(8, 3)), "0")


class Scaled(nn.Module):
    def __init__(self, factor: Any) -> None:
        super().__init__()
        self.layer, self.factor = nn.Linear(4, 3), factor

    def forward(self, h: Tensor) -> Tensor:
        return self.layer(h) * (self.factor(1.0) if callable(self.factor) else self.factor)


def batch_axes(batch_dim: int) -> nn.Module:
    model = perceptron()
    attach(model, "0", SIGMA, batch_dim=batch_dim)
    return model


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        (slopes(0.1), slopes(0.2), "at '1' in negative_slope"),
        (dropouts(0.1), dropouts(0.2), "at '1' in p"),
        (noisy(Scaled(1.0), "layer"), noisy(Scaled(2.0), "layer"), "at 'the top' in factor"),
        (
            noisy(Scaled(torch.ones(1)), "layer"),
            noisy(Scaled(torch.zeros(1)), "layer"),
            "at 'the top' in factor",
        ),
        (
            noisy(Scaled(lambda h: h), "layer"),
            noisy(Scaled(lambda h: 2 * h), "layer"),
            "at 'the top' in factor",
        ),
        (batch_axes(0), batch_axes(1), r"at '0\.nin' in axes"),
    ],
)
def test_unlike_networks_are_refused(one: nn.Module, other: nn.Module, what: str) -> None:
    with pytest.raises(ValueError, match=f"differ in layers or activations.*{what}"):
        fit([one, other], randn(N, 4), whole(3, N))


def test_networks_alike_in_their_functions_train_together() -> None:
    pair = [noisy(Scaled(functools.partial(torch.mul, 2.0)), "layer") for _ in range(2)]
    fit(pair, randn(N, 4), whole(3, N))
    fit([noisy(Scaled(lambda h: h), "layer") for _ in range(2)], randn(N, 4), whole(3, N))


def test_losses_that_mix_samples_are_refused() -> None:
    model, x = noisy(perceptron(1), "0"), randn(N, 4)
    with pytest.raises(ValueError, match=r"outputs being \(8, 1\) and targets \(8,\)"):
        fit(model, x, randn(N), loss=lambda z, y: (z - y).square().mean(-1))
    with pytest.raises(ValueError, match="one number for each of the 8 samples"):
        fit(noisy(perceptron(), "0"), x, whole(3, N), loss=F.cross_entropy)
    with pytest.raises(ValueError, match="cross-entropy of one output is always 0"):
        fit(model, x, whole(1, N))
    with pytest.raises(ValueError, match="one output cannot be one-hot"):
        fit(model, x, whole(1, N), loss="mse")
    with pytest.raises(ValueError, match=r"labels \(8, 1\) do not fit outputs \(8, 3\)"):
        fit(noisy(perceptron(), "0"), x, whole(3, N, 1))


def test_labels_that_are_no_classes_are_refused_before_anything_is_trained() -> None:
    x, y = randn(N, 4), whole(3, N)
    for labels, says in (
        (y - 100, "labels of 3 outputs are 0 to 2, not -100 to -98"),
        (y + 1, "labels of 3 outputs are 0 to 2, not 1 to 3"),
        (y.bool(), r"labels must be torch\.int64, not torch\.bool"),
    ):
        with pytest.raises(ValueError, match=says):
            fit(noisy(perceptron(), "0"), x, labels)


def test_one_network_cannot_be_two_runs() -> None:
    model = noisy(perceptron(), "0")
    with pytest.raises(ValueError, match="the same network is there twice"):
        fit([model, model], randn(N, 4), whole(3, N))


@pytest.mark.parametrize("change", ["pruned", "compiled"])
def test_networks_that_compute_their_weights_or_are_compiled_train_as_in_a_plain_loop(
    change: str,
) -> None:
    ends, x, y = [], randn(N, 4), whole(3, N)
    for in_loop in (False, True):
        torch.manual_seed(0)
        model = noisy(perceptron(), "0")
        if change == "pruned":
            prune.l1_unstructured(model[0], "weight", 0.5)  # type: ignore[index]
            model(x)  # and its weights have a past
        if in_loop:
            by_hand(model, x, y, F.cross_entropy)
        elif change == "compiled":
            fit(torch.compile(model, backend="eager"), x, y)  # type: ignore[arg-type]
        else:
            fit(model, x, y)
        ends.append(nodes(model)["0"].w_ni.detach())
    torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-6)  # float32 sums in another order


def doubled(_: nn.Module, _x: Any, z: Tensor) -> Tensor:
    return 2 * z


def halved(_: nn.Module, x: tuple[Tensor]) -> tuple[Tensor]:
    return (x[0] / 2,)


CHANGES: dict[str, Callable[[MLP], object]] = {
    "a hook": lambda m: m.linear(1).register_forward_hook(doubled),
    "a hook beside the node": lambda m: m.linear(0).register_forward_hook(doubled),
    "a pre-hook": lambda m: m.linear(1).register_forward_pre_hook(halved),
    "a pre-hook of the whole": lambda m: m.register_forward_pre_hook(halved),
    "pruned weights": lambda m: prune.l1_unstructured(m.layers[1], "weight", 0.5),
    "parametrised weights": lambda m: nn.utils.parametrize.register_parametrization(
        m.layers[1], "weight", nn.Tanh()
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_hooks_on_an_mlp_do_in_training_what_they_do_in_a_plain_loop(change: str) -> None:
    def make() -> nn.Module:
        model = MLP(4, 8, 1, 3)
        CHANGES[change](model)
        return noisy(model, "layers.0")

    agree((make, randn(N, 4), whole(3, N), "ce", F.cross_entropy))
    with pytest.raises(ValueError, match="for an MLP as it was made, without hooks"):
        fit(make(), randn(N, 4), whole(3, N), precision="bf16")


def test_an_mlp_with_a_hook_that_only_looks_has_the_bits_of_any_other_network() -> None:
    class Other(MLP):
        pass

    looked, ends = [], []
    for kind in (MLP, Other):
        model = noisy(kind(4, 8, 2, 3), "layers.0")
        if kind is MLP:
            model.register_forward_hook(lambda *_: looked.append(1))
        ends.append([fit(model, randn(N, 4), whole(3, N)).loss, *model.state_dict().values()])
    assert looked
    assert all(np.array_equal(a, b) for a, b in zip(*ends, strict=True))


def test_networks_with_unlike_hooks_are_refused() -> None:
    pair = [noisy(perceptron(), "0") for _ in range(2)]
    pair[1].register_forward_hook(doubled)
    with pytest.raises(ValueError, match=r"differ in layers .*at 'the top' in hooks"):
        fit(pair, randn(N, 4), whole(3, N))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda groups: None, r"must return a torch\.optim\.Optimizer.* not a NoneType"),
        (lambda groups: (torch.optim.Adam(groups), None, 1), "not a tuple"),
        (
            lambda groups: (
                torch.optim.SGD(groups, 0.1),
                torch.optim.lr_scheduler.ReduceLROnPlateau(torch.optim.SGD(groups, 0.1)),
            ),
            "ReduceLROnPlateau cannot be",
        ),
    ],
)
def test_what_is_no_optimiser_is_refused(make: Callable[..., Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        fit(noisy(perceptron(), "0"), randn(N, 4), whole(3, N), optimizer=make)


def test_an_optimiser_that_leaves_the_nodes_weights_out_is_told_of() -> None:
    def own_weights_only(groups: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(groups[0]["params"], lr=0.1)

    with pytest.warns(UserWarning, match="does not hold w_ni of layer '0'"):
        fit(noisy(perceptron(), "0"), randn(N, 4), whole(3, N), optimizer=own_weights_only)


def test_accuracy_of_one_output_is_not_a_number() -> None:
    history = fit(noisy(perceptron(1), "0"), randn(N, 4), randn(N), loss="mse")
    assert np.isnan(history.accuracy).all() and np.isfinite(history.loss).all()


def test_a_single_sample_is_not_left_to_a_batch_norm() -> None:
    def model() -> nn.Module:
        return noisy(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)), "0")

    x, y = randn(N, 4), whole(3, N)
    for batch_size in (7, 1):
        with pytest.raises(ValueError, match=f"batches of {batch_size} leave a single sample"):
            fit(model(), x, y, batch_size=batch_size)
    pictures = nn.Sequential(nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.Flatten())
    fit(noisy(pictures, "0"), randn(N, 1, 3, 3), whole(12, N), batch_size=7)


def test_one_way_to_take_steps_must_be_named() -> None:
    model, x, y = noisy(perceptron(), "0"), randn(N, 4), whole(3, N)
    for options in ({"eta": None}, {"eta": 0.1, "optimizer": torch.optim.Adam}):
        with pytest.raises(ValueError, match="give eta, of vanilla SGD, or optimizer="):
            fit(model, x, y, **options)
    with pytest.raises(ValueError, match="first_epoch must be >= 0, not -1"):
        fit(model, x, y, first_epoch=-1)


def test_soft_and_hard_labels_have_one_gradient() -> None:
    z, y = randn(N, 3), whole(3, N)
    for name in ("ce", "mse"):
        loss = Loss(name)
        hot = F.one_hot(y, 3).float()
        assert torch.equal(loss.gradient(z, hot), loss.gradient(z, y))
        # float32 rounding of two ways to write the same sum
        torch.testing.assert_close(loss.values(z, hot), loss.values(z, y))
    soft = randn(N, 3).softmax(1) * 2
    at = z.clone().requires_grad_()
    Loss("ce").values(at, soft).sum().backward()
    torch.testing.assert_close(at.grad, Loss("ce").gradient(z, soft))
