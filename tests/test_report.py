"""The report on a network's nodes: against derivatives of explicit functions, and against training.

The peer of each number is brute force: Hessians by `torch.func.hessian` of a function written out
for the layer at hand, matrix exponentials, finite differences, dense Gauss-Newton matrices, and SGD
by `torch.optim`.
"""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, hessian, jacrev, vmap
from torch.nn.utils import prune

import nin
from nin.curvature.local import DENSE, LocalLoss
from nin.curvature.node_report import report
from nin.networks.attachment import attach, nodes

# torch.func.hessian, the peer of these tests, warns of something else in torch.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is:FutureWarning")
ETA, BATCH = 0.2, 16


def smooth(width: int = 6, act: type[nn.Module] = nn.Tanh) -> tuple[nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, width), act(), nn.Linear(width, 5), act())
    net.append(nn.Linear(5, 3)).double()
    attach(net, "0", sigma_eps=0.7)
    attach(net, "2", sigma_eps=0.3)
    x = torch.randn(20, 4).double()
    with torch.no_grad():  # targets near the outputs: nearly all curvature is positive
        y = (net.eval()(x) + 0.2 * torch.randn(20, 3)).softmax(-1)
        for layer, node in nodes(net).items():  # and so is all that w_ni has
            turned = by_hand(net, int(layer), x, y)[1] @ node.w_ni
            node.w_ni.copy_(turned * node.w_ni.norm() / turned.norm())
    return net.train(), x, y


def by_hand(net: nn.Sequential, layer: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return each sample's gradient, and the mean Hessian, by the output of a layer."""
    plain = [nn.Linear(m.in_features, m.out_features) if isinstance(m, nn.Linear) else m
             for m in net]  # fmt: skip
    for new, old in zip(plain, net, strict=True):
        if isinstance(new, nn.Linear):
            new.weight, new.bias = old.weight, old.bias

    def loss(z: Tensor, label: Tensor) -> Tensor:
        return nn.functional.cross_entropy(nn.Sequential(*plain[layer + 1 :])(z), label)

    z = nn.Sequential(*plain[: layer + 1])(x).detach()
    return vmap(jacrev(loss))(z, y).detach(), vmap(hessian(loss))(z, y).mean(0).detach()


@pytest.mark.parametrize("layer", ["0", "2"])
@pytest.mark.parametrize("width", [6, DENSE + 6])
def test_every_number_is_that_of_brute_force(layer: str, width: int) -> None:
    net, x, y = smooth(width)
    w, sigma = nodes(net)[layer].w_ni.detach(), nodes(net)[layer].sigma_eps
    found = report(net, x, y, nin.Loss("ce"), eta=ETA, batch_size=BATCH)[layer]
    g, H = by_hand(net, int(layer), x, y)
    along = float(w @ H @ w / (w @ w))
    spectrum = torch.linalg.eigvalsh(H)
    mean_sq = float((g @ (w / w.norm())).square().mean())
    expected = {
        "size": float(w.norm()),
        "gradient": float(g.square().sum(1).mean().sqrt()),
        "along": along,
        "rate": ETA * sigma**2 * along,
        "kick": ETA * sigma * np.sqrt(mean_sq / BATCH) / float(w.norm()),
        "floor": np.sqrt(ETA * float(g.square().sum(1).mean()) / (2 * BATCH * along)),
    }
    assert {k: getattr(found, k) for k in expected} == pytest.approx(expected, rel=1e-10)
    # Lanczos stops at 1e-4 of the spectral radius; both ends may be off by it twice.
    ends = [float(spectrum[0]), float(spectrum[-1])]
    assert [found.low, found.high] == pytest.approx(ends, abs=3e-4 * float(spectrum.abs().max()))
    assert abs(found.trace - float(H.trace())) <= max(4.5 * found.trace_err, 1e-10)
    assert (found.trace_err > 0) == (found.features > DENSE)
    # The half-life against a matrix exponential in flow time.
    at = torch.linalg.matrix_exp(-ETA * sigma**2 * found.half_life * H) @ w
    assert float(at.norm() / w.norm()) == pytest.approx(0.5, rel=1e-5)  # tolerance of Krylov's end
    assert found.decay_border(int(1e6)) == pytest.approx(sigma * np.sqrt(found.half_life / 1e6))


def test_the_curvature_along_w_ni_is_that_of_finite_differences() -> None:
    net, x, y = smooth()
    found, node = report(net, x, y, nin.Loss("ce"))["0"], nodes(net)["0"]
    nodes(net)["2"].eval()
    losses, h = [], 1e-3
    for shift in (-h, 0.0, h):  # the same eps for all samples shifts z along w_ni
        node.eps = torch.full((20,), shift).double()
        losses.append(float(nn.functional.cross_entropy(net(x), y).detach()))
    second = (losses[0] - 2 * losses[1] + losses[2]) / h**2
    # The next term of the difference is h^2/12 of the fourth derivative, which is of order 1.
    assert found.along * found.size**2 == pytest.approx(second, rel=1e-5)


def sgd(
    net: nn.Sequential, x: Tensor, y: Tensor, w: Tensor, sigma_eps: float, steps: int
) -> Tensor:
    """Train copies of w_ni, (copies, features), at the first layer by SGD; nothing else moves.

    Each has noise and batches of its own; by hand, without a node.
    """
    for _ in range(steps):
        w = w.detach().requires_grad_()
        batch = torch.randint(len(x), (len(w), BATCH))
        eps = sigma_eps * torch.randn(len(w), BATCH, 1).double()
        z = nn.functional.linear(x, net[0].weight, net[0].bias)[batch] + eps * w.unsqueeze(1)
        outputs = net[3](nn.functional.linear(torch.tanh(z), net[2].weight, net[2].bias))
        logits = net[4](outputs)
        losses = nn.functional.cross_entropy(logits.flatten(0, 1), y[batch].flatten(0, 1))
        w = w - ETA * torch.autograd.grad(losses * len(w), w)[0]
    return w.detach()


def test_rate_and_kick_are_those_of_steps_that_are_taken() -> None:
    net, x, y = smooth()
    nodes(net)["0"].sigma_eps = 0.3
    found = report(net, x, y, nin.Loss("ce"), eta=ETA, batch_size=BATCH)["0"]
    w, copies = nodes(net)["0"].w_ni.detach(), 40_000
    torch.manual_seed(1)
    moved = sgd(net, x, y, w.expand(copies, -1), 0.3, 1)
    moves = (w - moved) @ w / w.square().sum()
    err = float(moves.std()) / copies**0.5
    assert err < 0.1 * found.rate
    assert abs(float(moves.mean()) - found.measured) < 4 * np.hypot(err, found.measured_err)
    # What Eq. (2) leaves out is of the relative order sigma_eps^2 |w|^2, some percent here.
    assert abs(float(moves.mean()) - found.rate) < 4 * err + 0.1 * found.rate
    assert float(moves.std()) == pytest.approx(found.kick, rel=0.1)  # noise squared moves it too


def test_half_of_w_ni_is_left_after_the_predicted_steps() -> None:
    net, x, y = smooth()
    node = nodes(net)["0"]
    node.sigma_eps = 0.5
    found = report(net, x, y, nin.Loss("ce"), eta=ETA, batch_size=BATCH)["0"]
    node.sigma_eps = float(0.5 * np.sqrt(found.half_life / 200))  # a half-life of 200 steps,
    with torch.no_grad():
        node.w_ni.mul_(0.1 / (node.sigma_eps * found.size))  # and noise too weak for higher orders
    found = report(net, x, y, nin.Loss("ce"), eta=ETA, batch_size=BATCH)["0"]
    assert found.half_life == pytest.approx(200, rel=1e-6)
    torch.manual_seed(2)
    start = node.w_ni.detach().expand(4000, -1)
    mean = sgd(net, x, y, start, node.sigma_eps, 200).mean(0)  # over copies, whose kicks cancel
    kicked = found.kick * 200**0.5 / 4000**0.5
    assert float(mean.norm()) / found.size == pytest.approx(0.5, abs=0.01 + 4 * kicked)


def test_at_the_floor_w_ni_neither_grows_nor_shrinks() -> None:
    net, x, y = smooth()
    nodes(net)["0"].sigma_eps = 0.3
    found = report(net, x, y, nin.Loss("ce"), eta=ETA, batch_size=BATCH)["0"]
    unit, copies, drifts = nodes(net)["0"].w_ni.detach() / found.size, 100_000, []
    torch.manual_seed(3)
    for size in (found.floor / 2, found.floor, 2 * found.floor):
        moved = sgd(net, x, y, (size * unit).expand(copies, -1), 0.3, 1)
        change = moved.square().sum(1) - size**2
        drifts.append((float(change.mean()), float(change.std()) / copies**0.5))
    (below, err), (at, at_err), (above, above_err) = drifts
    assert below > 4 * err and above < -4 * above_err
    assert abs(at) < 4 * at_err + 0.05 * abs(above)  # the noise's next order, some percent


def test_borders_are_where_the_dense_curvature_crosses_its_thresholds() -> None:
    net, x, y = smooth(act=nn.Softplus)  # noise through tanh has no such border
    found = report(net, x, y, nin.Loss("mse"), eta=ETA, borders=True, seed=3)["0"]
    quiet = copy.deepcopy(net).eval()
    node = nodes(quiet)["0"].train()
    xi = torch.randn(20, generator=nin.networks.generator(3, "prediction"))
    node.eps = (xi / xi.square().mean().sqrt()) * found.divergent
    weights = {k: p.detach() for k, p in quiet.named_parameters()}
    blocks = jacrev(lambda part: functional_call(quiet, part, (x,)))(weights)
    J = torch.cat([b.flatten(2) for b in blocks.values()], 2)
    dense = torch.einsum("iap,iaq->pq", J, J) * (2 / 3) / len(x)
    lam = ETA * float(torch.linalg.eigvalsh(dense)[-1])
    # Straight lines between strengths that differ by a factor of 2, and Lanczos to a hundredth.
    assert lam == pytest.approx(4.0, rel=0.15)
    assert found.surge <= found.catapult <= found.divergent < np.inf
    none = report(net, x, y, nin.Loss("mse"), eta=ETA)["0"]
    assert np.isnan(none.surge) and none.along == found.along


def test_a_loss_of_ones_own_is_as_good_as_a_named_one() -> None:
    net, x, y = smooth()

    def own(z: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(z, y, reduction="none")

    one, other = (report(net, x, y, loss, eta=ETA, borders=True) for loss in (own, nin.Loss("ce")))
    for layer in nodes(net):  # rounding, and Lanczos on it
        expected = dataclasses.astuple(other[layer])[:-1]
        assert dataclasses.astuple(one[layer])[:-1] == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_convolutions_with_norms_and_attention_are_reported() -> None:
    torch.manual_seed(0)
    conv = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5),
        nn.Flatten(), nn.Linear(4 * 36, 3),
    )  # fmt: skip
    block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    attention = nn.Sequential(nn.Linear(3, 8), block, nn.Flatten(), nn.Linear(8 * 5, 3))
    for net, layer, x in (
        (conv, "0", torch.randn(12, 1, 6, 6)),
        (attention, "1.linear1", torch.randn(12, 5, 3)),
    ):
        node, y = attach(net, layer, sigma_eps=0.5), torch.arange(12) % 3
        found = report(net, x, y, nin.Loss("ce"), eta=ETA, borders=True)[layer]
        local = LocalLoss(net, layer, x, y, nin.Loss("ce").values)
        w = node.w_ni.detach()
        along = float(w @ local.hessian().mean(0) @ w / w.square().sum())
        assert found.along == pytest.approx(along, rel=1e-4)  # float32
        assert 0 < found.surge <= found.divergent  # behind a norm noise of any strength is harmless


def test_reporting_leaves_the_network_and_its_noise_as_they_were() -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    node = attach(net, "0", sigma_eps=0.5, n_samples=20)
    before, state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    report(net, torch.randn(20, 4, generator=torch.Generator().manual_seed(0)),
           torch.arange(20) % 3, nin.Loss("ce"), eta=ETA, borders=True)  # fmt: skip
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert net.training and node.training and len(node.samples) == 20


def test_the_table_has_a_row_per_quantity_with_its_unit_and_a_column_per_node() -> None:
    net, x, y = smooth(DENSE + 6)
    found = nin.report(net, x, y, nin.Loss("ce"), eta=ETA, batch_size=BATCH)
    says, heading, *rows = str(found).splitlines()
    assert says == "SGD, eta = 0.2, batches of 16; 20 samples"
    assert heading.split() == ["quantity", "unit", "0", "2"]
    table = {row.split()[0]: row for row in rows if not row.startswith("- ")}
    assert "±" in table["trace"] and "loss/z²" in table["trace"] and "steps" in table["half_life"]
    assert "surge" not in table  # nobody asked
    assert "surge" in str(nin.report(net, x, y, nin.Loss("ce"), eta=ETA, borders=True))
    lines = found._repr_markdown_().splitlines()
    assert lines[2:4] == ["| quantity | unit | 0 | 2 |", "|:--|:--|--:|--:|"]
    assert [line.split()[1] for line in lines[4 : 4 + len(table)]] == list(table)


def unknown_of(net: nn.Module, x: Tensor, y: Tensor, sigma_eps: float | None = None) -> str:
    [node] = nodes(net).values()
    if sigma_eps is not None:
        node.sigma_eps = sigma_eps
    [found] = report(net, x, y, nin.Loss("ce")).nodes.values()
    return " ".join(found.unknown)


def test_what_cannot_be_known_is_said() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(64, 4), torch.randint(3, (64,))
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.1))
    net.append(nn.Linear(6, 3))
    attach(net, "0", sigma_eps=0.01)
    said = unknown_of(net, x, y)
    assert "BatchNorm does in train()" in said and "Dropout does in train()" in said
    assert "BatchNorm" not in unknown_of(net.eval(), x, y)
    nin.detach(net)
    attach(net.train(), "4", sigma_eps=0.01)  # behind both, where its noise does not meet them
    assert "train()" not in unknown_of(net, x, y)
    nin.detach(net)
    attach(net, "0", sigma_eps=0.01)
    assert "the node is silent" in unknown_of(net, x, y, 0.0)
    # Units that respond to one side only: kinks, which no second derivative sees, make the pull.
    relu = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    attach(relu, "0", sigma_eps=20.0)
    assert "times as hard as the curvature says" in unknown_of(relu, x, y)
    # A linear network with a squared error is bilinear in w_ni and eps: Eq. (2) is exact.
    plain = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3))
    node = attach(plain, "0", sigma_eps=1.0)
    found = report(plain, x, y, nin.Loss("mse"))["0"]
    assert found.unknown == () and abs(found.measured - found.rate) < 4 * found.measured_err
    # Two samples whose curvatures differ in sign leave it open; one sample says nothing of others.
    assert "not even the sign" in " ".join(
        report(plain, x[:1], y[:1], nin.Loss("mse"))["0"].unknown
    )
    assert node.w_ni.grad is None


def test_a_negative_curvature_has_no_floor_and_never_halves() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Identity())
    attach(net, "0", sigma_eps=0.5)

    def hill(z: Tensor, y: Tensor) -> Tensor:
        return -z.square().sum(1)

    found = report(net, torch.randn(8, 2), torch.zeros(8), hill)["0"]
    assert found.along == pytest.approx(-2) and found.rate == pytest.approx(-0.5)
    assert found.half_life == found.floor == np.inf
    assert any("the curvature along w_ni is negative" in one for one in found.unknown)


def test_what_is_mostly_flat_never_halves_and_that_is_said() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Identity())
    node = attach(net, "0", sigma_eps=0.5)
    with torch.no_grad():
        node.w_ni.copy_(torch.tensor([1.0, 2.0]))

    def valley(z: Tensor, y: Tensor) -> Tensor:
        return z[:, 0].square()

    found = report(net, torch.randn(8, 2), torch.zeros(8), valley)["0"]
    assert found.rate == pytest.approx(0.25 * 2 / 5) and found.half_life == np.inf
    assert any("most of it lies along directions that are flat" in one for one in found.unknown)


def test_silent_nodes_never_halve() -> None:
    net, x, y = smooth()
    nodes(net)["0"].sigma_eps = 0.0
    found = report(net, x, y, nin.Loss("ce"))["0"]
    assert (found.rate, found.kick, found.half_life, found.measured) == (0, 0, np.inf, 0)


def test_a_compiled_network_is_reported_as_the_network_that_it_wraps() -> None:
    net, x, y = smooth()
    compiled = torch.compile(net, backend="eager")
    compiled(x)
    found, plain = (report(m, x, y, nin.Loss("ce"), eta=ETA) for m in (compiled, net))
    assert str(found) == str(plain) and list(found.nodes) == ["0", "2"]


class InADict(nn.Module):
    """Returns outputs as the models of many libraries do."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.inner(x)}


def test_outputs_in_a_dict_need_a_loss_that_takes_them_out() -> None:
    net, x, y = smooth()

    def inside(out: dict[str, Tensor], y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(out["logits"], y, reduction="none")

    found = report(InADict(net), x, y, inside)["inner.0"]  # type: ignore[arg-type]
    assert found.along == pytest.approx(report(net, x, y, nin.Loss("ce"))["0"].along, rel=1e-12)
    with pytest.raises(ValueError, match="the network returns a dict: give the loss as a function"):
        report(InADict(net), x, y, nin.Loss("ce"))


def test_bad_input_is_named() -> None:
    net, x, y = smooth()
    for eta in (0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="expected a finite eta > 0 and batch_size >= 1"):
            report(net, x, y, nin.Loss("ce"), eta=eta)
    with torch.no_grad():
        nodes(net)["2"].w_ni.zero_()
    with pytest.raises(ValueError, match="w_ni of layer '2' is 0"):
        report(net, x, y, nin.Loss("ce"))
    with pytest.raises(ValueError, match="has no node"):
        report(nn.Linear(4, 3), x, y, nin.Loss("ce"))
    words = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9))
    attach(words, "1", sigma_eps=0.5, batch_dim=0)
    tokens = torch.randint(9, (6, 5))

    def per_sample(z: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(z.mT, y, reduction="none").mean(1)

    with pytest.raises(ValueError, match=r"outputs of shape \(batch, d\)"):
        report(words, tokens, tokens, per_sample, borders=True)
    assert report(words, tokens, tokens, per_sample)["1"].along > 0
    with pytest.raises(ValueError, match="there are no samples to report on"):
        report(net, x[:0], y[:0], "ce")
    with pytest.raises(ValueError, match=r"inputs must be a tensor, or tensors by .* a ndarray"):
        report(smooth()[0], x.numpy(), y, "ce")
    with pytest.raises(ValueError, match=r"targets \(20,\), torch\.int64 from 7 to 7"):
        report(smooth()[0], x, torch.full((20,), 7), "ce")


class Scaled(nn.Module):
    """A network of two inputs."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, by: Tensor) -> Tensor:
        return self.inner(x * by)


def test_inputs_by_name_are_as_good_as_one_tensor() -> None:
    net, x, y = smooth()
    by = torch.full((20, 1), 2.0).double()
    found = report(Scaled(net), {"by": by, "x": x / 2}, y, "ce", borders=True)["inner.0"]
    expected = report(net, x, y, nin.Loss("ce"), borders=True)["0"]
    for one in ("along", "trace", "measured", "catapult"):
        assert getattr(found, one) == pytest.approx(getattr(expected, one), rel=1e-9)


def test_samples_on_the_second_axis_are_counted_there() -> None:
    class TimeFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = smooth()[0]

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x).mean(0)

    net, (_, x, y) = TimeFirst(), smooth()
    for node in nodes(net).values():
        node.axes = dataclasses.replace(node.axes, batch=1)
    told = report(net, torch.stack([x, x, x]), y, "ce")
    assert told.batch_size == told.samples == 20
    expected = report(smooth()[0], x, y, "ce")["2"]  # the mean of three equal steps is one of them
    assert told["inner.2"].along == pytest.approx(expected.along, rel=1e-9)


def test_a_pruned_network_is_reported_and_left_as_it_was() -> None:
    net, x, y = smooth()
    prune.l1_unstructured(net[2], "weight", 0.5)
    masked, (plain, _, _) = copy.deepcopy(net.state_dict()), smooth()
    with torch.no_grad():
        plain[2].weight.copy_(masked["2.weight_orig"] * masked["2.weight_mask"])
    found = report(net, x, y, "ce", borders=True)["0"]
    expected = report(plain, x, y, "ce", borders=True)["0"]
    assert found.along == pytest.approx(expected.along, rel=1e-9)
    assert found.catapult > 0  # of fewer weights than the plain one has
    assert torch.equal(net[2].weight, plain[2].weight)
