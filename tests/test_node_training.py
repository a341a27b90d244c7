"""A node in ordinary training: recomputed, compiled, copied, resumed, in half precision."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nin.networks.attachment import NoiseInjection, attach, detach, nodes
from nin.networks.seeds import generator

BATCH = 5


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3)
    )  # dropout, so that the generator moves between calls


def x(n: int = BATCH) -> Tensor:
    return torch.randn(n, 4, generator=generator(0, "x"))


class Shared(nn.Module):
    """A network that calls one layer several times, in segments that are recomputed or not."""

    def __init__(self, segment: Callable[..., Tensor] | None, times: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.block = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Dropout(0.2))
        self.out, self.segment, self.times = nn.Linear(4, 3), segment, times

    def forward(self, h: Tensor) -> Tensor:
        for _ in range(self.times):
            h = self.block(h) if self.segment is None else self.segment(self.block, h)
        return self.out(h)


def recomputing(reentrant: bool) -> Callable[..., Tensor]:
    return lambda part, h: checkpoint(part, h, use_reentrant=reentrant)


def gradients(
    make: Callable[[], nn.Module], layer: str, passes: int, select: bool, **options: int
) -> list[Tensor]:
    """The gradients of a loss over several forward passes before one backward."""
    model = make()
    node = attach(model, layer, 1.0, init_std=1.0, n_samples=20 if select else None, **options)
    torch.manual_seed(1)
    total = torch.zeros(())
    for k in range(passes):
        if select:
            node.select(torch.arange(k, k + BATCH))
        total = total + (k + 1) * model(x().requires_grad_()).square().sum()
    if select:
        node.select(torch.arange(BATCH))  # of the pass that comes next, before this backward
    total.backward()
    return [p.grad for p in model.parameters()]  # type: ignore[misc]


# ---- recomputation


@pytest.mark.shows("activation checkpointing")
@pytest.mark.parametrize("select", [False, True])
@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputation_meets_the_noise_of_the_first_time(
    reentrant: bool, times: int, passes: int, select: bool
) -> None:
    plain = gradients(lambda: Shared(None, times), "block.0", passes, select)
    again = gradients(lambda: Shared(recomputing(reentrant), times), "block.0", passes, select)
    for a, b in zip(plain, again, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)  # float32 sums in another order


def slope(
    loss: Callable[[], Tensor], node: NoiseInjection, step: float, at: int | slice = slice(None)
) -> float:
    """Return the central difference of a loss along one NIW, or along all of them together."""
    ends = []
    for moved in (step, -step):
        with torch.no_grad():
            node.w_ni[at] += moved
        ends.append(loss().item())
        with torch.no_grad():
            node.w_ni[at] -= moved
    return (ends[0] - ends[1]) / (2 * step)


@pytest.mark.shows("activation checkpointing")
@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_under_recomputation_is_that_of_finite_differences(reentrant: bool) -> None:
    model = Shared(recomputing(reentrant)).double()
    node = attach(model, "block.0", 1.0, init_std=1.0)

    def loss() -> Tensor:
        torch.manual_seed(2)
        return model(x().double().requires_grad_()).square().sum()

    loss().backward()
    model.segment = None
    for i, grad in enumerate(node.w_ni.grad.tolist()):  # type: ignore[union-attr]
        # central differences: an error of the step's square, and rounding over the step
        assert slope(loss, node, 1e-5, i) == pytest.approx(grad, rel=1e-6, abs=1e-8)


@pytest.mark.shows("shared and repeated layers")
def test_a_layer_called_several_times_in_a_pass_has_one_noise_and_the_next_pass_another() -> None:
    model = Shared(None).eval()  # no dropout
    node = attach(model, "block.0", 1.0, init_std=1.0)
    node.train()
    seen: list[Tensor] = []
    plain = nn.Linear(4, 4)
    plain.load_state_dict(model.block[0].state_dict(), strict=False)
    model.block[0].register_forward_hook(lambda _, i, z: seen.append(z - plain(i[0])))
    model(x()), model(x())
    # float32 rounding of a difference of numbers of order 1
    for k in (1, 2):
        torch.testing.assert_close(seen[k], seen[0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(seen[3], seen[0], atol=0.1)


def test_a_part_of_a_network_may_be_called_by_itself() -> None:
    model = Shared(None)
    attach(model, "block.0", 1.0)
    assert not torch.equal(model.block(x()), model.block(x()))


# ---- compilation


@pytest.mark.shows("torch.compile")
@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_compiled_network_is_one_graph_with_fresh_noise_and_silent_in_evaluation(
    backend: str,
) -> None:
    torch.compiler.reset()
    plain, model = network(), network()
    node = attach(model, "0", 1.0, init_std=1.0)
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    out = compiled(x())
    assert not torch.equal(out, compiled(x()))
    out.square().sum().backward()
    assert node.w_ni.grad.abs().sum() > 0  # type: ignore[union-attr]
    # other kernels: float32 rounding
    torch.testing.assert_close(compiled.eval()(x()), plain.eval()(x()), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_network_injects_what_is_given(backend: str) -> None:
    torch.compiler.reset()
    model = network().eval()
    node = attach(model, "3", 2.0, init_std=1.0, n_samples=9)
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    plain = model(x())
    node.train()
    for first in (0, 3):
        node.select(torch.arange(first, first + BATCH))
        expected = plain + 2 * node.samples[first : first + BATCH].outer(node.w_ni)
        torch.testing.assert_close(compiled(x()), expected, atol=1e-6, rtol=1e-5)  # rounding


@pytest.mark.shows("torch.compile")
def test_a_node_that_comes_or_goes_after_compilation_is_noticed() -> None:
    torch.compiler.reset()
    model = network().eval()
    compiled = torch.compile(model, backend="eager")
    plain = compiled(x())
    attach(model, "0", 1.0, init_std=1.0).train()
    assert not torch.equal(compiled(x()), plain)
    detach(model)
    assert torch.equal(compiled(x()), plain)


@pytest.mark.shows("torch.compile")
@pytest.mark.parametrize("times", [1, 3])
def test_compilation_of_recomputed_segments_is_one_graph_and_meets_the_same_noise(
    times: int,
) -> None:
    torch.compiler.reset()
    model = Shared(recomputing(False), times).double()
    node = attach(model, "block.0", 1.0, init_std=1.0)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)

    def loss() -> Tensor:
        torch.manual_seed(3)
        return compiled(x().double()).square().sum()

    loss().backward()
    # central differences: an error of the step's square, and rounding over the step
    near = pytest.approx(slope(loss, node, 1e-6), rel=1e-6, abs=1e-7)
    assert node.w_ni.grad.sum().item() == near  # type: ignore[union-attr]


# ---- precision


@pytest.mark.shows("half and double precision")
@pytest.mark.parametrize("select", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_layers_output_keeps_its_dtype(dtype: torch.dtype, select: bool) -> None:
    model = network().to(dtype)
    node = attach(model, "0", 1.0, n_samples=9 if select else None)
    for way in (node, network()):  # to(dtype) before attach, and after it
        if way is not node:
            model = way
            node = attach(model, "0", 1.0, n_samples=9 if select else None)
            model.to(dtype)
        if select:
            node.select(torch.arange(BATCH))
        assert model[0](x().to(dtype)).dtype == dtype


@pytest.mark.shows("mixed precision (autocast)")
@pytest.mark.parametrize("select", [False, True])
def test_autocast_gives_the_dtype_that_it_gives_without_a_node(select: bool) -> None:
    model = network()
    node = attach(model, "0", 1.0, n_samples=9 if select else None)
    with torch.autocast("cpu", torch.bfloat16):
        if select:
            node.select(torch.arange(BATCH))
        assert model[0](x()).dtype == model.eval()[0](x()).dtype == torch.bfloat16


def test_strength_is_not_rounded_with_the_network() -> None:
    model = network()
    node = attach(model, "0", 0.1)
    model.half()
    assert node.sigma_eps == 0.1
    assert model.state_dict()["0.nin.sigma_eps"].item() == 0.1


# ---- the life of a node


@pytest.mark.shows("taking a node off")
def test_a_detached_network_is_what_it_was() -> None:
    plain, model = network(), network()
    attach(model, "0", 1.0), attach(model, "3", 1.0)
    detach(model, "0")
    assert list(nodes(model)) == ["3"]
    detach(model)
    assert repr(model) == repr(plain)
    assert list(model.state_dict()) == list(plain.state_dict())
    hooks = [(*m._forward_hooks, *m._forward_pre_hooks) for m in model.modules()]
    assert not any(hooks)
    torch.manual_seed(0)
    out = model(x())
    torch.manual_seed(0)
    assert torch.equal(out, plain(x()))
    with pytest.raises(ValueError, match="this network has no node"):
        detach(model)
    with pytest.raises(ValueError, match="layer '0' has no node"):
        detach(model, "0")


@pytest.mark.shows("taking a node off")
def test_a_deleted_node_injects_no_more_and_may_be_followed_by_one_that_does_once() -> None:
    model = network().eval()
    plain = model(x())
    attach(model, "3", 1.0)
    del model[3].nin
    assert torch.equal(model.train().eval()(x()), plain)
    node = attach(model, "3", 1.0, n_samples=9)
    node.train()
    node.select(torch.arange(BATCH))
    # float32 rounding; a second injection would double it
    torch.testing.assert_close(model(x()) - plain, node.eps.outer(node.w_ni), atol=1e-6, rtol=1e-5)


@pytest.mark.shows("copy.deepcopy and pickle")
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_detaches_by_itself(duplicate: Callable[[nn.Module], nn.Module]) -> None:
    model = network()
    attach(model, "0", 1.0)
    twin = duplicate(model)
    detach(twin)
    assert not any((*m._forward_hooks, *m._forward_pre_hooks) for m in twin.modules())
    assert not torch.equal(model.eval().train()[0](x()), model[0](x()))


def trainer(seed: int = 7) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = network()
    attach(model, "0", 0.5, n_samples=20, seed=seed)
    attach(model, "3", 0.25)
    return model, torch.optim.Adam(model.parameters(), lr=0.1)


def steps(model: nn.Module, optimiser: torch.optim.Optimizer, epochs: range) -> None:
    node = nodes(model)["0"]
    for epoch in epochs:
        if epoch:
            node.redraw()
        for batch in torch.arange(20).split(5):
            node.select(batch)
            optimiser.zero_grad()
            model(x(20)[batch]).square().sum().backward()
            optimiser.step()


@pytest.mark.shows("checkpoints (state_dict)")
def test_resuming_from_a_checkpoint_equals_going_on() -> None:
    model, optimiser = trainer()
    steps(model, optimiser, range(2))
    nodes(model)["3"].sigma_eps = 0.75
    file = io.BytesIO()
    torch.save([model.state_dict(), optimiser.state_dict(), torch.get_rng_state()], file)
    steps(model, optimiser, range(2, 4))
    file.seek(0)
    weights, moments, state = torch.load(file, weights_only=True)
    again, its = trainer()
    again.load_state_dict(weights)
    its.load_state_dict(moments)
    torch.set_rng_state(state)
    steps(again, its, range(2, 4))
    assert nodes(again)["3"].sigma_eps == 0.75
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


@pytest.mark.shows("checkpoints (state_dict)")
def test_strength_and_samples_load_into_a_network_built_anew() -> None:
    model, rebuilt = network(), network()
    node, fresh = attach(model, "0", 0.5, n_samples=9, seed=1), attach(rebuilt, "0", 0.1)
    node.redraw()
    rebuilt.load_state_dict(model.state_dict())
    assert fresh.sigma_eps == 0.5 and torch.equal(fresh.samples, node.samples)
    assert fresh.draws == 1


@pytest.mark.shows("checkpoints (state_dict)")
def test_a_checkpoint_without_the_node_is_refused_with_what_to_do() -> None:
    plain, model = network(), network()
    attach(model, "0", 1.0)
    with pytest.raises(RuntimeError, match=r"load it before nin\.attach, or with strict=False"):
        model.load_state_dict(plain.state_dict())
    lost = model.load_state_dict(plain.state_dict(), strict=False)
    assert lost.missing_keys == ["0.nin.w_ni"] and not lost.unexpected_keys
    with pytest.raises(RuntimeError, match=r"Unexpected key.*0\.nin\.w_ni"):
        plain.load_state_dict(model.state_dict())


@pytest.mark.shows("the meta device")
def test_weights_made_on_no_device_are_made_up_for_later() -> None:
    model = network()
    start = attach(model, "0", 1.0, seed=3).w_ni.detach().clone()
    model.to("meta").to_empty(device="cpu")
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    assert torch.equal(model[0].nin.w_ni, start)


@pytest.mark.shows("changing sigma_eps")
def test_a_new_strength_holds_from_the_next_pass_on() -> None:
    model = network().eval()
    node = attach(model, "3", 1.0, n_samples=9)
    node.train()
    plain, found = model.eval()(x()), []
    for sigma in (1.0, 3.0):
        node.sigma_eps = sigma
        node.train().select(torch.arange(BATCH))
        found.append(model(x()) - plain)
    torch.testing.assert_close(found[1], 3 * found[0], atol=1e-5, rtol=1e-5)  # rounding


def test_a_selection_is_used_once() -> None:
    model = network()
    node = attach(model, "0", 1.0, n_samples=9)
    node.select(torch.arange(BATCH))
    model(x())
    model.eval()(x())
    with pytest.raises(ValueError, match=r"say node\.select\(index\) before a forward pass"):
        model.train()(x())
    node.select(torch.arange(BATCH))
    with pytest.raises(ValueError, match="eps for 5 samples"):
        model(x(6))


def test_a_pass_that_broke_off_leaves_no_noise_to_the_next() -> None:
    class Fragile(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, h: Tensor, breaks: bool) -> Tensor:
            z = self.layer(h)
            if breaks:
                raise KeyboardInterrupt
            return z

    model = Fragile()
    attach(model, "layer", 1.0, init_std=1.0)
    torch.manual_seed(0)
    first = model(x(), False)
    torch.manual_seed(0)
    with pytest.raises(KeyboardInterrupt):
        model(x(), True)
    assert not torch.equal(model(x(), False), first)


@pytest.mark.shows("several nodes")
def test_two_nodes_are_independent_in_weights_and_noise() -> None:
    model = nn.Sequential(nn.Linear(4, 2000), nn.Linear(2000, 2000), nn.Linear(2000, 3)).eval()
    a, b = attach(model, "0", 1.0, n_samples=2000), attach(model, "1", 1.0, n_samples=2000)
    # correlations of 2000 independent pairs: 0 +- 1/sqrt(2000), five of them
    for pair in ([a.w_ni, b.w_ni], [a.samples, b.samples]):
        assert abs(torch.corrcoef(torch.stack(pair).detach())[0, 1].item()) < 5 / 2000**0.5


# ---- where a node cannot be


@pytest.mark.shows("layers that nobody calls")
def test_a_layer_that_is_never_called_is_an_error_of_the_first_pass() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, h: Tensor) -> Tensor:
            return nn.functional.linear(h, self.fc.weight)

    model = Reader()
    attach(model, "fc", 1.0)
    model.eval()(x())
    with pytest.raises(ValueError, match="was not called in a forward pass of the Reader"):
        model.train()(x())


@pytest.mark.shows("lazy layers")
def test_a_lazy_layer_is_refused_until_it_has_its_shape() -> None:
    model = nn.Sequential(nn.LazyLinear(3))
    with pytest.raises(ValueError, match="layer '0' is lazy: send a batch through"):
        attach(model, "0", 1.0)
    model(x())
    attach(model, "0", 1.0)


def test_whole_numbers_take_no_noise() -> None:
    class Tokens(nn.Module):
        def forward(self, h: Tensor) -> Tensor:
            return h.argmax(-1, keepdim=True)

    model = nn.Sequential(Tokens())
    attach(model, "0", 1.0, size=1, init_std=1.0)
    with pytest.raises(ValueError, match=r"puts out real numbers, not torch\.int64"):
        model(x())


@pytest.mark.parametrize(
    ("layer", "shape", "fan_in"),
    [
        (nn.ConvTranspose2d(64, 3, 3), None, 64 * 9),
        (nn.ConvTranspose1d(8, 4000, 5, groups=4), None, 2 * 5),
        (nn.Conv2d(8, 4000, 3, groups=4), None, 2 * 9),
        (nn.Linear(400, 4000), None, 400),
    ],
)
def test_initial_weights_know_the_inputs_of(layer: nn.Module, shape: None, fan_in: int) -> None:
    model = nn.Sequential(layer)
    assert attach(model, "0", 0.0).init_std == pytest.approx(fan_in**-0.5, rel=1e-12)


def test_initial_weights_know_the_inputs_of_a_layer_that_stores_them_first() -> None:
    class Conv1D(nn.Module):  # as in GPT-2
        def __init__(self) -> None:
            super().__init__()
            self.nf, self.weight = 12, nn.Parameter(torch.randn(4, 12))

        def forward(self, h: Tensor) -> Tensor:
            return h @ self.weight

    model = nn.Sequential(Conv1D())
    node = attach(model, "0", 1.0)
    assert len(node.w_ni) == 12 and node.init_std == 0.5
