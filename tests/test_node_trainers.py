"""A node in trainers of many kinds, against z + eps w_ni written out by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from test_node_training import slope
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from nin.networks.attachment import NoiseInjection, attach
from nin.networks.seeds import generator

N = 6
X = torch.randn(N, 4, generator=generator(0, "x"))
Y = torch.randint(3, (N,), generator=generator(0, "y"))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def drawn(n: int = N) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(n)


def by_hand(model: nn.Sequential, eps: Tensor, of: nn.Module | None = None) -> Tensor:
    """The gradient of w_ni: the layer in eval() without noise, and noise that is added here."""
    node = (of or model[0]).nin
    assert isinstance(node, NoiseInjection)
    w = node.w_ni.detach().clone().requires_grad_()
    z = model.eval()[0](X).detach()
    F.cross_entropy(model[2](model[1](z + eps.outer(w))), Y).backward()
    model.train()
    assert w.grad is not None
    return w.grad


def is_close(a: Tensor | None, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)  # float32 sums in another order


@pytest.mark.shows("accumulated gradients")
def test_accumulated_parts_of_a_batch_have_the_gradient_of_the_whole() -> None:
    model = network()
    node = attach(model, "0", 1.0, init_std=1.0)
    torch.manual_seed(1)
    for part in (slice(0, 3), slice(3, N)):
        (F.cross_entropy(model(X[part]), Y[part]) / 2).backward()
    torch.manual_seed(1)
    eps = torch.cat([torch.randn(3), torch.randn(3)])
    is_close(node.w_ni.grad, by_hand(model, eps))


@pytest.mark.shows("mixed precision (autocast)")
def test_scaled_losses_have_the_gradient_of_plain_ones() -> None:
    model = network()
    node = attach(model, "0", 1.0, init_std=1.0)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    torch.manual_seed(1)
    scaler.scale(F.cross_entropy(model(X), Y)).backward()
    scaler.unscale_(optimiser)
    found = node.w_ni.grad
    is_close(found, by_hand(model, drawn()))


@pytest.mark.shows("averaged weights (EMA, SWA)")
def test_averaged_weights_average_w_ni_and_are_silent_in_evaluation() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    node = attach(model, "0", 1.0, init_std=1.0)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    optimiser, seen = torch.optim.SGD(model.parameters(), lr=0.5), []
    for _ in range(2):
        optimiser.zero_grad()
        F.cross_entropy(model(X), Y).backward()
        optimiser.step()
        average.update_parameters(model)
        seen.append(node.w_ni.detach().clone())
    is_close(average.module[0].nin.w_ni.detach(), (seen[0] + seen[1]) / 2)
    update_bn([X, X], average)
    assert torch.equal(average.eval()(X), average(X))


@pytest.mark.shows("torch.func.vmap")
def test_ensembles_under_vmap_have_the_gradients_of_their_members() -> None:
    models = [network() for _ in range(3)]
    for k, model in enumerate(models):
        attach(model, "0", 1.0, init_std=1.0, seed=k)
    weights, buffers = stack_module_state(models)
    base = copy.deepcopy(models[0])

    def loss(weights: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(functional_call(base, {**weights, **buffers}, (X,)), Y)

    torch.manual_seed(1)
    found = vmap(grad(loss), randomness="same")(weights, buffers)["0.nin.w_ni"]
    is_close(found, torch.stack([by_hand(model, drawn()) for model in models]))
    with pytest.raises(RuntimeError, match="random"):  # as Dropout: say what to do with noise
        vmap(grad(loss))(weights, buffers)


class Adapter(nn.Module):
    """A low-rank adapter beside a layer that stays as it is, as LoRA's."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down, self.up = nn.Linear(4, 2, bias=False), nn.Linear(2, 8, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        return self.base(h) + self.up(self.down(h))


def with_weight_norm(model: nn.Sequential) -> str:
    parametrizations.weight_norm(model[0])
    return "0"


def with_orthogonal_weights(model: nn.Sequential) -> str:
    parametrizations.orthogonal(model[0])
    return "0"


def with_pruned_weights(model: nn.Sequential) -> str:
    prune.l1_unstructured(model[0], "weight", 0.5)
    return "0"


def with_an_adapter(model: nn.Sequential) -> str:
    model[0] = Adapter(model[0])  # type: ignore[arg-type]
    return "0.base"


@pytest.mark.shows("adapters, pruning, weight norm")
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize(
    "change", [with_weight_norm, with_orthogonal_weights, with_pruned_weights, with_an_adapter]
)
def test_layers_whose_weights_are_made_of_others_take_a_node_before_and_after(
    change: Callable[[nn.Sequential], str], before: bool
) -> None:
    model = network()
    if before:
        node = attach(model, "0", 1.0, init_std=1.0)
        layer = change(model)
        node.w_ni.requires_grad_()  # the adapter froze what was there
    else:
        layer = change(model)
        node = attach(model, layer, 1.0, init_std=1.0)
    torch.manual_seed(1)
    F.cross_entropy(model(X), Y).backward()
    is_close(node.w_ni.grad, by_hand(model, drawn(), model.get_submodule(layer)))


@pytest.mark.shows("optimisers")
def test_an_optimiser_of_several_evaluations_selects_for_each() -> None:
    ends = []
    for by_selection in (False, True):
        model = network()
        node = attach(model, "0", 0.5, init_std=1.0, n_samples=N)
        if not by_selection:  # the same values, given for good
            node.samples, node.eps = torch.zeros(0), node.samples * 0.5
        optimiser = torch.optim.LBFGS(model.parameters(), max_iter=3)

        def loss(
            model: nn.Module = model,
            node: NoiseInjection = node,
            optimiser: torch.optim.Optimizer = optimiser,
        ) -> Tensor:
            optimiser.zero_grad()
            if len(node.samples):
                node.select(torch.arange(N))
            value = F.cross_entropy(model(X), Y)
            value.backward()
            return value

        optimiser.step(loss)
        ends.append(node.w_ni.detach())
    assert torch.equal(*ends)


@pytest.mark.shows("shared and repeated layers")
def test_tied_embeddings_have_the_gradient_of_finite_differences() -> None:
    class Language(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.words, self.out = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
            self.out.weight = self.words.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.tanh(self.words(x))).mean(1)

    tokens = torch.randint(9, (N, 5), generator=generator(0, "tokens"))
    for layer in ("words", "out"):
        model = Language().double()
        node = attach(model, layer, 1.0, init_std=1.0)

        def loss(model: nn.Module = model) -> Tensor:
            torch.manual_seed(1)
            return F.cross_entropy(model(tokens), Y)

        loss().backward()
        # central differences: an error of the step's square, and rounding over the step
        near = pytest.approx(slope(loss, node, 1e-5), rel=1e-6, abs=1e-8)
        assert node.w_ni.grad.sum().item() == near  # type: ignore[union-attr]


def test_an_empty_batch_goes_through() -> None:
    model = network()
    node = attach(model, "0", 1.0)
    model(X[:0]).sum().backward()
    assert torch.equal(node.w_ni.grad, torch.zeros(8))  # type: ignore[arg-type]


def test_a_layer_without_a_weight_of_that_name_has_a_node_of_its_precision() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.cell, self.out = nn.GRUCell(4, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = x.new_zeros(len(x), 8)
            for t in range(x.shape[1]):
                h = self.cell(x[:, t], h)
            return self.out(h)

    model, x = Recurrent().double(), torch.randn(N, 5, 4, generator=generator(0, "t")).double()
    node = attach(model, "cell", 1.0, size=8, init_std=1.0)
    torch.manual_seed(1)
    F.cross_entropy(model(x), Y).backward()
    w, h = node.w_ni.detach().clone().requires_grad_(), x.new_zeros(N, 8)
    eps = drawn().double()
    model.eval()
    for t in range(5):
        h = model.cell(x[:, t], h) + eps.outer(w)
    F.cross_entropy(model.out(h), Y).backward()
    torch.testing.assert_close(node.w_ni.grad, w.grad, rtol=1e-12, atol=1e-14)  # float64
