"""The noise injection node on layers of many kinds."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nin.networks.attachment import NOISE_LAWS, NoiseInjection, attach, find_node, node_of
from nin.networks.seeds import generator

BATCH = 6


def perceptron() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))


def randn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator(0, "test", shape))


class Nested(nn.Module):
    """A network whose layers have long names, with attention inside."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.TransformerEncoderLayer(6, 2, 12, dropout=0.0, batch_first=True)
        self.head = nn.ModuleDict({"out": nn.Linear(6, 3)})

    def forward(self, x: Tensor) -> Tensor:
        return self.head["out"](self.encoder(x).mean(1))


# ---- what is injected


def test_injects_eps_times_w_ni_and_one_eps_serves_all_features_of_a_sample() -> None:
    net, x = perceptron(), randn(BATCH, 5)
    plain = net[0](x)
    node = attach(net, "0", 2.0, n_samples=10)
    index = torch.tensor([3, 1, 4, 9, 5, 2])
    node.select(index)
    injected = (net[0](x) - plain) / node.w_ni
    # float32 rounding of a difference of numbers of order 1, over weights that may be small
    torch.testing.assert_close(injected, node.eps[:, None].expand(-1, 4), atol=1e-5, rtol=1e-5)
    assert node.eps.std() > 0.5


@pytest.mark.parametrize("noise", NOISE_LAWS)
def test_zero_noise_is_bit_identical_to_the_plain_network(noise: str) -> None:
    plain, net, x = perceptron(), perceptron(), randn(BATCH, 5)
    attach(net, "0", 0.0, noise=noise)
    out = net(x)
    assert torch.equal(out, plain(x))
    out.square().sum().backward()
    plain(x).square().sum().backward()
    ours = dict(net.named_parameters())
    assert all(torch.equal(p.grad, ours[n].grad) for n, p in plain.named_parameters())
    assert torch.equal(ours["0.nin.w_ni"].grad, torch.zeros(4))


def test_evaluation_is_bit_identical_to_the_plain_network() -> None:
    plain, net, x = perceptron(), perceptron(), randn(BATCH, 5)
    attach(net, "0", 100.0)
    assert not torch.equal(net(x), plain(x))
    assert torch.equal(net.eval()(x), plain(x))


def test_gradient_of_w_ni_is_the_sum_of_eps_times_the_gradient_at_the_layer() -> None:
    net, x, y = perceptron(), randn(BATCH, 5), torch.tensor([0, 1, 2, 0, 1, 2])
    node = attach(net, "0", 1.5, n_samples=BATCH)
    node.select(torch.arange(BATCH))
    z = net[0](x).detach().requires_grad_()
    loss = nn.functional.cross_entropy(net[2](net[1](z)), y)
    [dz] = torch.autograd.grad(loss, z)
    node.select(torch.arange(BATCH))  # a selection is used once
    nn.functional.cross_entropy(net(x), y).backward()
    # the same sum of six float32 products in another order
    torch.testing.assert_close(node.w_ni.grad, node.eps @ dz, atol=1e-7, rtol=1e-5)


def test_initial_weights_have_the_variance_of_the_layers_fan_in_or_as_asked() -> None:
    net = nn.Sequential(nn.Linear(400, 10_000), nn.Conv2d(4, 10_000, 5))
    # variance of 10,000 normal draws: relative standard error sqrt(2/10000) = 1.4 %, five of them
    for layer, variance in (("0", 1 / 400), ("1", 1 / 100)):
        assert attach(net, layer, 0.0).w_ni.var().item() == pytest.approx(variance, rel=0.07)
    node = attach(nn.Sequential(nn.Linear(400, 10_000)), "0", 0.0, init_std=3.0)
    assert node.w_ni.var().item() == pytest.approx(9, rel=0.07)


# ---- the laws


@pytest.mark.parametrize(
    ("noise", "kurtosis"), [("gaussian", 3), ("uniform", 1.8), ("rademacher", 1)]
)
def test_noise_laws_are_symmetric_with_zero_mean_and_unit_variance(
    noise: str, kurtosis: float
) -> None:
    n, sigmas = 200_000, 5  # one false alarm in 1.7 million
    eps = NOISE_LAWS[noise](n, generator(0, noise)).double()
    assert abs(eps.mean().item()) < sigmas / math.sqrt(n)
    variance_err = math.sqrt((kurtosis - 1) / n)  # of the mean of eps**2, whose variance is k - 1
    assert eps.square().mean().item() == pytest.approx(1, abs=sigmas * variance_err + 1e-12)
    sixth = {3: 15, 1.8: 27 / 7, 1: 1}[kurtosis]
    assert abs((eps**3).mean().item()) < sigmas * math.sqrt(sixth / n)
    eighth = {3: 105, 1.8: 9, 1: 1}[kurtosis]
    kurtosis_err = math.sqrt((eighth - kurtosis**2) / n)
    assert (eps**4).mean().item() == pytest.approx(kurtosis, abs=sigmas * kurtosis_err + 1e-12)


def test_noise_scales_with_sigma_eps_alone() -> None:
    small, large = (NoiseInjection(3, s, n_samples=50, seed=4) for s in (1.0, 3.0))
    for node in (small, large):
        node.select(torch.arange(50))
    assert torch.equal(small.eps * 3, large.eps)
    assert torch.equal(small.w_ni, large.w_ni)


# ---- whose noise, and for how long


def test_each_pass_draws_anew_by_default() -> None:
    net, x = perceptron(), randn(BATCH, 5)
    attach(net, "0", 1.0)
    assert not torch.equal(net(x), net(x))


def test_torchs_own_seed_gives_the_same_noise_and_another_seed_another() -> None:
    outs = []
    for seed in (0, 0, 1):
        net = perceptron()
        attach(net, "0", 1.0, init_std=1.0)
        torch.manual_seed(seed)
        outs.append(net(randn(BATCH, 5)))
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2])


def test_a_node_draws_from_torchs_own_generator_in_training_and_nowhere_else() -> None:
    net, x = perceptron(), randn(BATCH, 5)
    state = torch.get_rng_state()
    node = attach(net, "0", 1.0, init_std=1.0, n_samples=9, seed=3)
    node.redraw()
    node.samples = node.samples[:0]
    net.eval()(x)
    assert torch.equal(torch.get_rng_state(), state)
    plain = perceptron()[0](x)
    injected = net.train()[0](x) - plain
    torch.set_rng_state(state)
    # float32 rounding of a difference of numbers of order 1
    torch.testing.assert_close(injected, torch.randn(BATCH).outer(node.w_ni), atol=1e-6, rtol=1e-5)


def test_a_sample_keeps_its_noise_until_redraw() -> None:
    node = NoiseInjection(3, 1.0, n_samples=100)
    node.select(torch.tensor([7, 8]))
    first = node.eps
    node.select(torch.tensor([8, 7]))
    assert torch.equal(node.eps, first.flip(0))
    node.redraw()
    node.select(torch.tensor([7, 8]))
    assert not torch.equal(node.eps, first)


# ---- layers of many kinds


LAYERS: dict[str, tuple[Callable[[], nn.Module], str, tuple[int, ...], dict[str, int], str]] = {
    # network, layer, input, where the batch lies if not first, and how eps * w_ni lies in z
    "linear": (perceptron, "0", (BATCH, 5), {}, "n,f->nf"),
    "convolution": (
        lambda: nn.Sequential(nn.Conv2d(2, 4, 3)),
        "0",
        (BATCH, 2, 5, 5),
        {},
        "n,f->nf",
    ),
    "1d convolution": (
        lambda: nn.Sequential(nn.Conv1d(2, 4, 3)),
        "0",
        (BATCH, 2, 5),
        {},
        "n,f->nf",
    ),
    "batch norm": (
        lambda: nn.Sequential(nn.BatchNorm2d(4)),
        "0",
        (BATCH, 4, 3, 3),
        {},
        "n,f->nf",
    ),
    "tokens": (lambda: nn.Sequential(nn.Linear(5, 4)), "0", (BATCH, 7, 5), {}, "n,f->ntf"),
    "tokens first": (
        lambda: nn.Sequential(nn.Linear(5, 4)),
        "0",
        (7, BATCH, 5),
        {"batch_dim": 1},
        "n,f->tnf",
    ),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_noise_runs_along_samples_and_features_of(kind: str) -> None:
    make, layer, shape, options, axes = LAYERS[kind]
    torch.manual_seed(0)
    net = make().train()
    x, target = randn(*shape), net.get_submodule(layer)
    plain = target(x)
    node = attach(net, layer, 1.0, n_samples=BATCH, **options)
    node.select(torch.arange(BATCH))
    injected = target(x) - plain
    rank = torch.einsum("n,f->nf", node.eps, node.w_ni)
    order = axes.split("->")[1]
    trailing = injected.ndim - len(order)
    view = [{"n": BATCH, "f": len(node.w_ni), "t": 1}[a] for a in order] + [1] * trailing
    rank = rank.view(view).expand_as(injected)
    # float32 rounding of a difference of numbers of order 1
    torch.testing.assert_close(injected, rank, atol=1e-6, rtol=1e-5)


def test_attaches_inside_a_transformer_block_by_its_long_name() -> None:
    plain, net, x = Nested(), Nested(), randn(BATCH, 7, 6)
    node = attach(net, "encoder.linear1", 2.0)
    assert len(node.w_ni) == 12
    assert net(x).shape == (BATCH, 3)
    assert not torch.allclose(net(x), plain(x))
    # other kernels serve attention without gradients, equal up to float32 rounding
    torch.testing.assert_close(net.eval()(x), plain.eval()(x), atol=1e-6, rtol=1e-5)
    net.train()(x).sum().backward()
    assert node.w_ni.grad.abs().sum() > 0


def test_attaches_to_a_layer_of_ones_own_when_told_size_and_std() -> None:
    class Scale(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    net = nn.Sequential(Scale())
    node = attach(net, "0", 1.0, size=3, init_std=0.5, n_samples=BATCH)
    node.select(torch.arange(BATCH))
    expected = torch.outer(node.eps, node.w_ni)
    assert torch.equal(net(torch.zeros(BATCH, 3)), expected)


def test_weights_follow_the_layers_type() -> None:
    net = perceptron().double()
    attach(net, "2", 1.0)
    assert net[2].nin.w_ni.dtype == net(randn(BATCH, 5).double()).dtype == torch.float64


# ---- a network with a node is a network


def test_the_layers_own_parameters_keep_their_names() -> None:
    plain, net = perceptron(), perceptron()
    attach(net, "0", 1.0)
    names = [n for n, _ in net.named_parameters()]
    assert [n for n in names if "nin" not in n] == [n for n, _ in plain.named_parameters()]
    assert set(net.state_dict()) - set(plain.state_dict()) == {"0.nin.w_ni", "0.nin.sigma_eps"}


def test_state_dict_restores_w_ni() -> None:
    net, other = perceptron(), perceptron()
    node, fresh = attach(net, "0", 1.0, seed=1), attach(other, "0", 1.0, seed=2)
    other.load_state_dict(net.state_dict())
    assert torch.equal(fresh.w_ni, node.w_ni)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_has_a_node_of_its_own_that_goes_on_alike(
    duplicate: Callable[[nn.Module], nn.Sequential],
) -> None:
    net, x = perceptron(), randn(BATCH, 5)
    node = attach(net, "0", 1.0)
    net(x)
    twin = duplicate(net)
    outs = []
    for one in (net, twin):
        torch.manual_seed(0)
        outs.append(one(x))
    assert torch.equal(*outs) and not torch.equal(twin(x), outs[0])
    with torch.no_grad():
        node.w_ni.zero_()
    assert not torch.equal(twin[0].nin.w_ni, node.w_ni)
    expected = perceptron()(x)
    assert torch.equal(net(x), expected)
    assert not torch.equal(twin(x), expected)


def test_nodes_are_found() -> None:
    net = perceptron()
    assert find_node(net) is None
    node = attach(net, "2", 1.0)
    assert node_of(net[2]) is node
    assert find_node(net) == ("2.nin", node)
    attach(net, "0", 1.0)
    with pytest.raises(ValueError, match="one node at most, found"):
        find_node(net)


def test_a_printed_network_tells_of_its_node() -> None:
    net = perceptron()
    attach(net, "0", 0.5, noise="uniform")
    assert "NoiseInjection(4, sigma_eps=0.5, noise=uniform)" in repr(net)


# ---- bad input


@pytest.mark.parametrize("sigma_eps", [-0.1, math.nan, math.inf])
def test_impossible_noise_is_refused(sigma_eps: float) -> None:
    with pytest.raises(ValueError, match=rf"sigma_eps must be finite and >= 0, not {sigma_eps}"):
        attach(perceptron(), "0", sigma_eps)


@pytest.mark.parametrize("layer", ["3", "", "layers.0"])
def test_an_unknown_layer_is_refused_with_those_there_are(layer: str) -> None:
    with pytest.raises(ValueError, match=f"no layer '{layer}' in this network; it has: 0, 1, 2"):
        attach(perceptron(), layer, 1.0)


def test_an_unknown_law_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"noise must be one of \['gaussian', .*\], not 'pink'"):
        attach(perceptron(), "0", 1.0, noise="pink")


def test_a_second_node_at_a_layer_is_refused_and_the_first_stays() -> None:
    net = perceptron()
    node = attach(net, "0", 1.0)
    with pytest.raises(ValueError, match="layer '0' has a node already"):
        attach(net, "0", 2.0)
    assert find_node(net) == ("0.nin", node)


def test_a_layer_without_size_or_fan_in_is_refused_with_what_to_give() -> None:
    with pytest.raises(ValueError, match=r"a Tanh, does not tell .* give size= and init_std="):
        attach(perceptron(), "1", 1.0)
    with pytest.raises(ValueError, match="size must be a positive number of features, not -1"):
        attach(perceptron(), "1", 1.0, size=-1, init_std=1.0)


def test_a_container_is_refused_since_it_would_inject_twice() -> None:
    net = nn.Sequential(perceptron(), nn.ReLU())
    with pytest.raises(ValueError, match="'0' is a container of layers: name one of the layers"):
        attach(net, "0", 1.0, size=3, init_std=1.0)


def test_a_layer_that_attention_never_calls_is_refused() -> None:
    with pytest.raises(ValueError, match="never calls it: name another layer"):
        attach(Nested(), "encoder.self_attn.out_proj", 1.0)


def test_a_layer_that_returns_no_tensor_is_refused_when_it_runs() -> None:
    net = nn.LSTM(3, 4)
    attach(nn.Sequential(net), "0", 1.0, size=4, init_std=1.0)
    with pytest.raises(ValueError, match="a LSTM returns a tuple: name another layer"):
        net(randn(2, BATCH, 3))


def test_values_per_sample_must_be_made_and_selected() -> None:
    with pytest.raises(ValueError, match=r"make it with n_samples=\.\.\."):
        NoiseInjection(3, 1.0).select(torch.arange(2))
    with pytest.raises(ValueError, match=r"say node\.select\(index\) before a forward"):
        NoiseInjection(3, 1.0, n_samples=5)(torch.zeros(2, 3))


def test_fixed_noise_without_samples_is_refused_rather_than_redrawn() -> None:
    net = perceptron()
    attach(net, "0", 1.0, fixed=True)
    with pytest.raises(ValueError, match=r"make the node with n_samples=\.\.\."):
        net(randn(BATCH, 5))
    net.eval()(randn(BATCH, 5))


@pytest.mark.parametrize("shape", [(3, 4), (2, 5)])
def test_noise_of_another_batch_or_layer_is_refused_with_both_shapes(
    shape: tuple[int, int],
) -> None:
    node = NoiseInjection(4, 1.0, n_samples=5)
    node.select(torch.arange(2))
    with pytest.raises(ValueError, match=r"eps for 2 samples and 4 weights, but z is \(\d, \d\)"):
        node(torch.zeros(shape))
