"""The paper's networks: shapes, initial weights, activations."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from nin.networks.models import ACTIVATIONS, INITS, MLP


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_depth_counts_hidden_layers(depth: int) -> None:
    model = MLP(d_in=7, width=5, depth=depth, d_out=3)
    shapes = [tuple(model.linear(i).weight.shape) for i in range(depth + 1)]
    assert shapes == [(5, 7), *[(5, 5)] * (depth - 1), (3, 5)]
    assert model(torch.zeros(2, 7)).shape == (2, 3)


@pytest.mark.parametrize("init", INITS)
def test_weights_start_with_variance_one_over_fan_in_and_biases_at_zero(init: str) -> None:
    model = MLP(d_in=784, width=500, depth=2, d_out=100, init=init)
    for layer in (model.linear(i) for i in range(3)):
        n, fan_in = layer.weight.numel(), layer.in_features
        err = math.sqrt(2 / n)  # relative standard error of a normal law's variance over n draws
        assert layer.weight.var().item() * fan_in == pytest.approx(1, abs=5 * err)
        assert abs(layer.weight.mean().item()) < 5 / math.sqrt(n * fan_in)
        assert torch.equal(layer.bias, torch.zeros(layer.out_features))


def test_truncated_weights_are_cut_at_two_standard_deviations_of_the_uncut_law() -> None:
    weight = MLP(d_in=784, width=500, init="truncated").linear(0).weight * math.sqrt(784)
    # A normal law of variance v cut at +-2 sqrt(v) has variance 0.7737 v, by its closed form
    density = math.exp(-2) / math.sqrt(2 * math.pi)
    cut = 1 - 2 * 2 * density / math.erf(math.sqrt(2))
    edge = 2 / math.sqrt(cut)
    assert weight.abs().max().item() <= edge * (1 + 1e-6)  # float32 rounding
    assert weight.abs().max().item() > 0.999 * edge  # of 392,000 draws some come near
    kurtosis = ((weight / weight.std()) ** 4).mean().item()
    assert kurtosis == pytest.approx(2.37, abs=0.05)  # by integration; uncut: 3


def test_normal_weights_are_normal() -> None:
    weight = MLP(d_in=784, width=500).linear(0).weight * math.sqrt(784)
    err = math.sqrt(96 / weight.numel())  # standard error of a fourth moment: 105 - 9 = 96
    assert (weight**4).mean().item() == pytest.approx(3, abs=5 * err)


def test_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    a, b, c = (MLP(9, 4, seed=s).state_dict() for s in (3, 3, 4))
    assert all(torch.equal(a[n], b[n]) for n in a)
    assert not torch.equal(a["layers.0.weight"], c["layers.0.weight"])


def test_making_a_network_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    MLP(9, 4)
    assert torch.equal(torch.get_rng_state(), state)


def test_without_bias_there_are_only_weights() -> None:
    names = [n for n, _ in MLP(9, 4, bias=False).named_parameters()]
    assert names == ["layers.0.weight", "layers.1.weight"]


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("relu", nn.ReLU()),
        ("tanh", nn.Tanh()),
        ("sigmoid", nn.Sigmoid()),
        ("gelu", nn.GELU()),
        ("softplus", nn.Softplus()),
        ("linear", nn.Identity()),
        ("relu_squared", lambda z: torch.clamp(z, min=0) ** 2),
        ("square", lambda z: 0.5 * z * z),
    ],
)
def test_network_is_linear_layers_with_the_activation_between(
    name: str, act: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    model = MLP(6, 5, depth=2, d_out=3, activation=name, seed=1)
    first, second, last = (model.linear(i) for i in range(3))
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model(x), last(act(second(act(first(x))))))


def test_every_activation_has_a_test_above() -> None:
    marks = test_network_is_linear_layers_with_the_activation_between.pytestmark[0]
    assert {name for name, _ in marks.args[1]} == set(ACTIVATIONS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "swish"}, r"activation must be one of \['gelu', .*\], not 'swish'"),
        ({"init": "uniform"}, r"init must be one of \('normal', 'truncated'\), not 'uniform'"),
        ({"depth": 0}, "depth and all sizes must be >= 1, not depth=0"),
        ({"width": 0}, r"sizes=\[784, 0, 10\]"),
        ({"d_in": -1}, r"sizes=\[-1, 1024, 10\]"),
    ],
)
def test_impossible_networks_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MLP(**options)  # type: ignore[arg-type]
