"""Which axis is the sample's and which the feature's: right, or an error of the first pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from nin.curvature.local import LocalLoss
from nin.networks.attachment import attach
from nin.networks.losses import Loss
from nin.networks.module_stack import plain_attention
from nin.networks.seeds import generator

N = 6


def randn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator(0, "axes", shape))


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make()


class LayerNorm2d(nn.LayerNorm):
    """Channels on axis 1, as in torchvision's ConvNeXt."""

    def forward(self, h: Tensor) -> Tensor:
        return super().forward(h.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)

    def forward(self, h: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(h)), inplace=True)


class Tokens(nn.Module):
    """Tokens and their positions, a tokenwise layer, and a mean."""

    def __init__(self, flatten: bool = False, windows: int = 1) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(11, 4), nn.Embedding(9, 4)
        self.mix, self.flatten, self.windows = nn.Linear(4, 4), flatten, windows

    def forward(self, x: Tensor) -> Tensor:
        h = self.words(x) + self.places(torch.arange(x.shape[1]))
        shape = h.shape
        if self.flatten:
            h = h.reshape(-1, 4)
        h = h.reshape(shape[0] * self.windows, -1, 4) if self.windows > 1 else h
        return self.mix(h).reshape(shape).mean(1)


class SequenceFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(4, 4)
        self.block = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(self.enter(x)).mean(0)


class ByHand(nn.Module):
    """Time comes first, and nothing in the network says so."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.cell = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(x.shape[1], 4)
        for step in self.enter(x):
            h = torch.tanh(step + self.cell(h))
        return h


RIGHT: dict[str, tuple[Callable[[], nn.Module], str, Tensor, dict[str, int], tuple[int, int]]] = {
    # network, layer, input, what attach is told, axes of samples and features
    "group norm on a map as wide as it has channels": (
        lambda: nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.GroupNorm(8, 32)),
        "1",
        randn(N, 3, 32, 32),
        {},
        (0, 1),
    ),
    "instance norm": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8, affine=True)),
        "1",
        randn(N, 3, 9, 9),
        {},
        (0, 1),
    ),
    "pooling": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2)),
        "1",
        randn(N, 3, 9, 9),
        {"size": 8, "init_std": 1},
        (0, 1),
    ),
    "a block": (
        lambda: nn.Sequential(Block()),
        "0",
        randn(N, 3, 9, 9),
        {"size": 8, "init_std": 1},
        (0, 1),
    ),
    "a layer norm of channels": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), LayerNorm2d(8)),
        "1",
        randn(N, 3, 9, 9),
        {"size": 8},
        (0, 1),
    ),
    "a layer norm": (
        lambda: nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5)),
        "1",
        randn(N, 5, 4),
        {"size": 5},
        (0, 2),
    ),
    "as many pixels as samples": (
        lambda: nn.Sequential(nn.Conv2d(3, N, 1)),
        "0",
        randn(N, 3, N, N),
        {},
        (0, 1),
    ),
    "words": (Tokens, "words", torch.arange(N * 5).view(N, 5) % 11, {}, (0, 2)),
    "words of one sample": (Tokens, "words", torch.arange(1).view(1, 1), {}, (0, 2)),
    "told where time is": (SequenceFirst, "enter", randn(5, N, 4), {"batch_dim": 1}, (1, 2)),
    "told though as long": (SequenceFirst, "enter", randn(N, N, 4), {"batch_dim": 1}, (1, 2)),
    "a recurrent cell": (ByHand, "cell", randn(N, N, 4), {"batch_dim": 0}, (0, 1)),
}


@pytest.mark.shows("convolutions, sequences, recurrent networks")
@pytest.mark.parametrize("kind", RIGHT)
def test_one_number_goes_to_all_of_a_sample(kind: str) -> None:
    make, layer, x, told, (batch, feature) = RIGHT[kind]
    model, outs = seeded(make).eval(), []

    def record(_layer: nn.Module, _inputs: tuple[Tensor, ...], z: Tensor) -> None:
        outs.append(z.clone())

    target = model.get_submodule(layer)
    target.register_forward_hook(record)  # before the node's
    node = attach(model, layer, 1.0, **({"init_std": 1.0} | told)).train()  # type: ignore[arg-type]
    target.register_forward_hook(record)  # behind it
    torch.manual_seed(1)
    model(x)
    before, after = outs[:2]
    torch.manual_seed(1)
    eps, view = torch.randn(before.shape[batch]), [[1] * before.ndim, [1] * before.ndim]
    view[0][batch], view[1][feature] = -1, -1
    expected = (eps.view(view[0]) * node.w_ni.view(view[1])).expand_as(before)
    # float32 rounding of a difference of numbers of order 1
    torch.testing.assert_close(after - before, expected, atol=1e-5, rtol=1e-5)


class Pictures(nn.Module):
    """Pixels first, samples second, as a vision transformer of sequence-first attention has it."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.mix = nn.Conv2d(3, 4, 3, stride=3), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.patches(x).flatten(2).permute(2, 0, 1)
        return self.mix(h).mean(0)


class Folding(nn.Module):
    """Time steps become samples of a layer; the input may be wrapped in something."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 3)

    def forward(self, x: object) -> Tensor:
        if isinstance(x, PackedSequence):
            return self.mix(x.data).mean(0)
        h = x["x"] if isinstance(x, dict) else x[0] if isinstance(x, list) else x.h  # type: ignore[attr-defined]
        return self.mix(h.flatten(0, 1)).view(len(h), -1, 3).mean(1)


class WithState(ByHand):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        h = super().forward(x)
        return h.sum(), h  # type: ignore[return-value]


class Graph:
    """An input that is no tensor, as those of libraries for graphs."""

    h = randn(N, 5, 4)


WRAPPED: dict[str, object] = {
    "a dictionary": {"x": randn(N, 5, 4)},
    "a list": [randn(N, 5, 4)],
    "a packed sequence": pack_sequence([randn(n, 4) for n in (5, 3, 2)]),
    "an object": Graph(),
}


@pytest.mark.shows("shapes that leave it open")
@pytest.mark.parametrize("kind", WRAPPED)
def test_samples_are_counted_in_an_input_that_is_wrapped_in(kind: str) -> None:
    model = Folding()
    attach(model, "mix", 1.0)
    with pytest.raises(ValueError, match=r"puts out \(\d+, 3\).*[Ss]ay batch_dim="):
        model(WRAPPED[kind])


def test_a_list_of_pictures_has_a_sample_for_each() -> None:
    class Detector(nn.Module):
        def __init__(self, times: int) -> None:
            super().__init__()
            self.mix, self.times = nn.Linear(4, 3), times

        def forward(self, pictures: list[Tensor]) -> Tensor:
            h = torch.stack([p.mean((1, 2)) for p in pictures])
            return self.mix(h.repeat_interleave(self.times, 0))

    for times in (1, 7):
        model = Detector(times)
        attach(model, "mix", 1.0)
        pictures = [randn(4, 3 + k, 5) for k in range(N)]
        if times == 1:
            assert model(pictures).shape == (N, 3)
            continue
        with pytest.raises(ValueError, match=r"puts out \(42, 3\)"):  # boxes, not pictures
            model(pictures)


def test_time_first_is_seen_in_an_output_of_several_parts() -> None:
    model = seeded(WithState)
    attach(model, "enter", 1.0)
    with pytest.raises(ValueError, match=r"turns \(5, 6, 4\) into \(6, 4\)"):
        model(randn(5, N, 4))


@pytest.mark.parametrize("call", ["a batch of one first", "forward by itself"])
def test_an_open_axis_is_asked_for_after(call: str) -> None:
    model = seeded(SequenceFirst)
    attach(model, "enter", 1.0)
    if call == "a batch of one first":
        model(randn(1, N, 4))  # any axis will do
    with pytest.raises(ValueError, match="which axis holds the samples"):
        (model if call == "a batch of one first" else model.forward)(randn(5, N, 4))


def test_one_axis_cannot_hold_both() -> None:
    model = nn.Sequential(nn.Linear(4, N))
    attach(model, "0", 1.0, batch_dim=0, feature_dim=-2)
    with pytest.raises(ValueError, match="axis 0 cannot hold both samples and features"):
        model(randn(N, 4))


LOUD: dict[str, tuple[Callable[[], nn.Module], str, Tensor, dict[str, int]]] = {
    "a map as wide as it has channels": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU()),
        "1",
        randn(N, 3, 8, 8),
        {"size": 8, "init_std": 1},
    ),
    "flattened tokens": (lambda: Tokens(flatten=True), "mix", torch.zeros(N, 5).long(), {}),
    "windows": (lambda: Tokens(windows=2), "mix", torch.zeros(N, 4).long(), {}),
    "positions": (Tokens, "places", torch.zeros(N, 5).long(), {}),
    "as many positions as samples": (Tokens, "places", torch.zeros(N, N).long(), {}),
    "sequence-first attention": (SequenceFirst, "block.linear1", randn(5, N, 4), {}),
    "sequence-first attention, as long": (SequenceFirst, "block.linear1", randn(N, N, 4), {}),
    "time first by hand": (ByHand, "enter", randn(5, N, 4), {}),
    "time first by hand, in a cell": (ByHand, "cell", randn(5, N, 4), {}),
    "time first by hand, as long": (ByHand, "enter", randn(N, N, 4), {}),
    "pixels first": (Pictures, "mix", randn(N, 3, 9, 9), {}),
    "as many pixels as samples first": (Pictures, "mix", randn(9, 3, 9, 9), {}),
    "no batch": (lambda: nn.Sequential(nn.Linear(4, 4)), "0", randn(4), {}),
}


@pytest.mark.shows("shapes that leave it open")
@pytest.mark.parametrize("kind", LOUD)
def test_what_is_not_plain_is_asked_for_with_the_shapes(kind: str) -> None:
    make, layer, x, told = LOUD[kind]
    model = seeded(make)
    attach(model, layer, 1.0, **told)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\(\d+,.*\).*\(\d+,.*\)"):
        model(x)


@pytest.mark.shows("torch.func.vmap")
def test_vmap_over_single_samples_is_refused_and_over_batches_of_one_is_right() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 4)))
    node = attach(model, "0", 1.0, init_std=1.0)
    weights = dict(model.named_parameters())
    with pytest.raises(ValueError, match="no axis of samples"):
        vmap(lambda s: functional_call(model, weights, s), randomness="different")(randn(N, 4))
    out = vmap(lambda s: functional_call(model, weights, s[None])[0], randomness="different")(
        randn(N, 4)
    )
    injected = out - F.linear(randn(N, 4), model[0].weight, model[0].bias)  # type: ignore[index]
    eps = injected / node.w_ni
    assert torch.allclose(eps, eps[:, :1], atol=1e-4) and eps[:, 0].std() > 0.1


def test_another_batch_size_later_does_not_make_a_known_axis_doubtful() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 4)))
    attach(model, "0", 1.0)
    model(randn(N, 5, 4)), model(randn(5, 5, 4))


# ---- the loss behind a layer obeys the same rules


def hand_hessian(model: nn.Module, layer: str, x: Tensor, y: Tensor, view: list[int]) -> Tensor:
    """The mean Hessian by a shift of each sample's features, brute force, samples one by one."""
    target, seen = model.get_submodule(layer), []

    def loss(shift: Tensor, k: int) -> Tensor:
        def add(_layer: nn.Module, _inputs: tuple[Tensor, ...], z: Tensor) -> Tensor:
            seen.append(z.shape[view.index(-1)])
            return z + shift.view(view)

        handle = target.register_forward_hook(add)
        z = model(x[k : k + 1])
        handle.remove()
        return F.cross_entropy(z, y[k : k + 1])

    loss(x.new_zeros([1] * len(view)), 0)
    origin = x.new_zeros(seen[0])
    hessian = torch.autograd.functional.hessian
    with plain_attention():
        each = [hessian(lambda s, k=k: loss(s, k), origin) for k in range(len(x))]
    return torch.stack(each).mean(0)


class Picture(nn.Module):
    def __init__(self, norm: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.conv, self.norm, self.out = nn.Conv2d(2, 8, 3), norm(), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.norm(self.conv(x))).mean((2, 3)))


@pytest.mark.parametrize("norm", [lambda: nn.GroupNorm(2, 8), lambda: LayerNorm2d(8)])
@pytest.mark.parametrize("with_node", [False, True])
def test_local_hessian_has_a_row_per_channel(
    norm: Callable[[], nn.Module], with_node: bool
) -> None:
    model = seeded(lambda: Picture(norm)).double()
    x, y = randn(4, 2, 7, 7).double(), torch.tensor([0, 1, 2, 0])
    if with_node:
        attach(model, "norm", 1.0, size=8)
    elif isinstance(model.norm, LayerNorm2d):
        with pytest.raises(ValueError, match="which axis holds the  features"):
            LocalLoss(model, "norm", x, y, Loss("ce").values)
        return
    local = LocalLoss(model, "norm", x, y, Loss("ce").values)
    expected = hand_hessian(model.eval(), "norm", x, y, [1, -1, 1, 1])
    torch.testing.assert_close(local.mean_hessian(), expected, atol=1e-12, rtol=1e-10)


def test_local_hessian_of_a_sequence_first_network_has_samples_where_the_node_has_them() -> None:
    model = seeded(SequenceFirst).double()
    x, y = randn(5, N, 4).double(), torch.tensor([0, 1, 2, 0, 1, 2])
    attach(model, "enter", 1.0, batch_dim=1)
    local = LocalLoss(model, "enter", x, y, Loss("ce").values)
    assert local.gradient().shape == (N, 4)

    class First(nn.Module):  # the same network, of samples first
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, h: Tensor) -> Tensor:
            return self.inner(h.transpose(0, 1))

    hessian = hand_hessian(First().eval(), "inner.enter", x.transpose(0, 1), y, [1, 1, -1])
    torch.testing.assert_close(local.mean_hessian(), hessian, atol=1e-12, rtol=1e-10)
    trace, _ = local.trace()
    assert trace == pytest.approx(hessian.trace().item(), rel=1e-10)


def test_local_loss_asks_where_the_shapes_leave_it_open() -> None:
    model, y = seeded(SequenceFirst), torch.zeros(N).long()
    with pytest.raises(ValueError, match="which axis holds the samples"):
        LocalLoss(model, "enter", randn(5, N, 4), y, Loss("ce").values)
    LocalLoss(model, "enter", randn(5, N, 4), y, Loss("ce").values, batch_dim=1)


def test_pre_activations_are_those_before_an_activation_in_place() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 3)))
    x, y = randn(N, 4), torch.zeros(N).long()
    local = LocalLoss(model, "0", x, y, Loss("ce").values)
    assert torch.equal(local.pre_activations(), F.linear(x, model[0].weight, model[0].bias))  # type: ignore[index]


def test_local_hessian_goes_through_attention() -> None:
    model = seeded(lambda: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True))
    network = nn.Sequential(nn.Linear(4, 4), model, nn.Flatten(), nn.Linear(20, 3)).double()
    x, y = randn(N, 5, 4).double(), torch.zeros(N).long()
    local = LocalLoss(network, "0", x, y, Loss("ce").values)
    expected = hand_hessian(network.eval(), "0", x, y, [1, 1, -1])
    torch.testing.assert_close(local.mean_hessian(), expected, atol=1e-12, rtol=1e-9)


def test_gradient_of_the_nodes_weights_is_that_of_the_local_loss() -> None:
    model = seeded(lambda: Picture(lambda: nn.GroupNorm(2, 8))).double()
    x, y = randn(4, 2, 7, 7).double(), torch.tensor([0, 1, 2, 0])
    node = attach(model, "norm", 1.0, init_std=1.0)
    node.eps = torch.linspace(-1, 1, 4).double()
    local = LocalLoss(model, "norm", x, y, Loss("ce").values)
    expected = (node.eps[:, None] * local.gradient(node.eps.outer(node.w_ni.detach()))).mean(0)
    by_node = jacrev(lambda w: F.cross_entropy(functional_call(model, {"norm.nin.w_ni": w}, x), y))(
        node.w_ni.detach()
    )
    torch.testing.assert_close(by_node, expected, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("factor", [0.0, 1.0])
def test_extreme_eigenvalues_of_nothing_and_of_the_identity(factor: float) -> None:
    model = nn.Sequential(nn.Linear(4, 80), nn.Identity())
    x, y = randn(N, 4), torch.zeros(N)
    local = LocalLoss(model, "0", x, y, lambda z, _: factor * z.square().sum(-1) / 2)
    # float32 rounding of a multiple of the identity
    assert local.extreme_eigenvalues() == pytest.approx((factor, factor), abs=1e-5)


@pytest.mark.parametrize("size", [4, 80])
def test_a_hessian_that_is_not_finite_is_an_error(size: int) -> None:
    model = nn.Sequential(nn.Linear(4, size), nn.Identity())
    x, y = randn(N, 4), torch.zeros(N)
    local = LocalLoss(model, "0", x, y, lambda z, _: z.square().sum(-1) * torch.nan)
    with pytest.raises(ValueError, match="the local Hessian is not finite"):
        local.extreme_eigenvalues()


def test_targets_that_would_broadcast_are_refused_or_understood() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)))
    x, y = randn(N, 4), torch.linspace(-1, 1, N)
    right = LocalLoss(model, "0", x, y[:, None], Loss("mse").values).values()
    assert torch.equal(LocalLoss(model, "0", x, y, Loss("mse").values).values(), right)
    with pytest.raises(ValueError, match=r"outputs being \(6, 1\) and targets \(6,\)"):
        LocalLoss(model, "0", x, y, lambda z, t: (z - t).square().mean(-1))


def test_a_layer_that_is_not_called_has_no_local_loss() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, h: Tensor) -> Tensor:
            return F.linear(h, self.fc.weight)

    with pytest.raises(ValueError, match="layer 'fc' is not called"):
        LocalLoss(Reader(), "fc", randn(N, 4), torch.zeros(N).long(), Loss("ce").values)
