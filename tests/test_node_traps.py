"""Traps around a node: seeds between its calls, passes that break off, compilers, exchanges."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from nin.networks.attachment import NOISE_LAWS, attach, detach
from nin.networks.seeds import generator

N = 6
X = torch.randn(N, 4, generator=generator(0, "x"))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


class Stops(nn.Module):
    """A network whose pass breaks off where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.head = nn.Sequential(nn.Linear(4, 8), nn.Tanh()), nn.Linear(8, 3)

    def forward(self, x: Tensor, stop: bool = False) -> Tensor:
        h = self.encoder(x)
        if stop:
            raise LookupError
        return self.head(h)


# ---- seeds and generators


@pytest.mark.shows("torch.manual_seed and forked generators")
@pytest.mark.parametrize("forked", [False, True])
def test_what_is_selected_is_injected_whatever_state_the_generator_is_in(forked: bool) -> None:
    model = network().eval()
    node = attach(model, "0", 1.0, init_std=1.0, n_samples=20)
    plain = F.linear(X, model[0].weight, model[0].bias)  # type: ignore[arg-type]
    node.train()
    for first in range(3):
        index = torch.arange(first, first + N - first)  # uneven batches too
        if forked:
            with torch.random.fork_rng():
                node.select(index)
                out = model(X[: len(index)])
        else:
            node.select(index)
            torch.manual_seed(5)
            out = model(X[: len(index)])
        z = plain[: len(index)] + node.samples[index].outer(node.w_ni)
        # float32 rounding
        torch.testing.assert_close(out, model[2](model[1](z)), rtol=1e-5, atol=1e-6)


@pytest.mark.shows("activation checkpointing")
def test_recomputation_never_takes_what_is_selected_for_the_next_pass() -> None:
    model = network()
    node = attach(model, "0", 1.0, n_samples=20)
    node.select(torch.arange(N))
    out = checkpoint(model, X, use_reentrant=False, preserve_rng_state=False)
    node.select(torch.arange(N) + N)
    with pytest.raises(ValueError, match="preserve_rng_state=True"):
        out.sum().backward()


# ---- passes


@pytest.mark.shows("passes that break off")
def test_a_part_draws_anew_after_a_pass_that_broke_off() -> None:
    model = Stops()
    attach(model, "encoder.0", 1.0, init_std=1.0)
    with pytest.raises(LookupError):
        model(X, stop=True)
    assert not torch.equal(model.encoder(X), model.encoder(X))


# ---- compilers


@pytest.mark.shows("torch.compile")
@pytest.mark.parametrize("noise", NOISE_LAWS)
def test_a_compiled_network_takes_batches_of_any_size_with_the_noise_of_an_uncompiled_one(
    noise: str,
) -> None:
    torch.compiler.reset()
    model = network()
    attach(model, "0", 1.0, init_std=1.0, noise=noise)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    for n in (6, 5, 3, 1, 6):  # the last batch of an epoch is smaller
        outs = []
        for call in (model, compiled):
            torch.manual_seed(n)
            outs.append(call(X[:n]))
        torch.testing.assert_close(*outs, rtol=1e-5, atol=1e-6)  # other kernels: rounding


@pytest.mark.shows("torch.compile")
def test_parts_that_are_compiled_inject_as_the_whole_does() -> None:
    torch.compiler.reset()
    plain, parts, wrapped = network(), network(), network()
    attach(plain, "0", 1.0, init_std=1.0)
    parts[0] = torch.compile(parts[0], backend="eager")
    attach(parts, "0._orig_mod", 1.0, init_std=1.0)
    compiled = torch.compile(wrapped, backend="eager")
    attach(compiled, "_orig_mod.0", 1.0, init_std=1.0)
    outs = []
    for call in (plain, parts, compiled):
        torch.manual_seed(1)
        outs.append(call(X))
    assert torch.equal(outs[0], outs[1]) and torch.equal(outs[0], outs[2])


def test_torch_fx_is_told_to_come_first() -> None:
    model = nn.Sequential(network(), nn.Linear(3, 2))
    attach(model, "0.0", 1.0)
    with pytest.raises(ValueError, match=r"torch\.fx records .* attach to the network that it re"):
        torch.fx.symbolic_trace(model)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.top, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.top(self.top(x)))


@pytest.mark.shows("torch.fx")
def test_a_layer_at_the_top_that_torch_fx_has_recorded_injects_nothing_else_in_silence() -> None:
    """Nobody calls the network then, so two calls of the layer would be two passes."""
    model = Twice()
    attach(model, "top", 1.0)
    traced = torch.fx.symbolic_trace(model)
    with pytest.raises(ValueError, match=r"torch\.fx records .* attach to the network that it re"):
        traced(X)
    assert torch.equal(traced.eval()(X), model.eval()(X))


@pytest.mark.shows("torch.fx")
def test_a_network_that_torch_fx_returned_takes_a_node_with_one_noise_a_pass() -> None:
    outs, model = [], Twice()
    for net in (model, torch.fx.symbolic_trace(copy.deepcopy(model))):
        attach(net, "top", 1.0, init_std=1.0)
        torch.manual_seed(1)
        outs.append(net(X))
    assert torch.equal(*outs)


@pytest.mark.shows("torch.export, torch.jit")
@pytest.mark.parametrize("training", [True, False])
def test_torch_jit_script_is_refused_and_what_its_error_names_works(training: bool) -> None:
    model = network()
    attach(model, "0", 1.0, init_std=1.0)
    model.train(training)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and traces tell of Python's len
        with pytest.raises(
            ValueError, match=r"torch\.jit\.script .* torch\.export or torch\.jit\.tr"
        ):
            torch.jit.script(model)
        traced = torch.jit.trace(model, X, check_trace=False)  # which would compare two noises
        exported = torch.export.export(model, (X,)).module()
        outs = []
        for call in (model, traced, exported):
            torch.manual_seed(1)
            outs.append(call(X))
        assert torch.equal(outs[0], outs[1]) and torch.equal(outs[0], outs[2])
        detach(model)
        torch.jit.script(model)(X)


# ---- exchanged layers, taken names, numbers that cannot be


@pytest.mark.shows("exchanged layers (quantisation)")
def test_a_layer_that_takes_anothers_place_and_hooks_is_an_error_and_not_silence() -> None:
    class Quantised(nn.Linear):
        pass

    model = network()
    attach(model, "0", 1.0)
    other = Quantised(4, 8)
    for hook in model[0]._forward_hooks.values():  # as torch.ao.quantization does
        other.register_forward_hook(hook)
    model[0] = other
    with pytest.raises(ValueError, match=r"a Quantised took the place .* before nin\.attach"):
        model(X)


def test_a_layer_with_a_part_called_nin_is_refused_and_stays_as_it_is() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.nin = nn.Linear(4, 8)

        def forward(self, x: Tensor) -> Tensor:
            return self.nin(x)

    model = nn.Sequential(Block())
    with pytest.raises(ValueError, match="layer '0' has a part of its own called 'nin'"):
        attach(model, "0", 1.0, size=8, init_std=1.0)
    assert isinstance(model[0].nin, nn.Linear)


@pytest.mark.parametrize("value", [float("nan"), -1.0, float("inf")])
def test_numbers_that_cannot_be_are_refused_then_and_later(value: float) -> None:
    model = network()
    with pytest.raises(ValueError, match=rf"init_std must be finite and >= 0, not {value}"):
        attach(model, "0", 1.0, init_std=value)
    node = attach(model, "0", 1.0)
    with pytest.raises(ValueError, match=rf"sigma_eps must be finite and >= 0, not {value}"):
        node.sigma_eps = value
    assert node.sigma_eps == 1.0


@pytest.mark.parametrize("n_samples", [0, -1, 2.5])
def test_a_number_of_samples_that_cannot_be_is_refused(n_samples: float) -> None:
    with pytest.raises(ValueError, match=f"n_samples must be a positive .*, not {n_samples}"):
        attach(network(), "0", 1.0, n_samples=n_samples)


def test_samples_are_selected_by_numbers_of_any_kind_that_exist() -> None:
    node, found = attach(network(), "0", 1.0, n_samples=9), []
    for index in (torch.tensor([2, 5]), np.array([2, 5]), [2, 5]):
        node.select(index)  # type: ignore[arg-type]
        found.append(node.eps)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    for wrong in (-1, 9):
        with pytest.raises(ValueError, match=f"expected positions 0 to 8 .*, not {wrong} to "):
            node.select(torch.tensor([wrong]))
