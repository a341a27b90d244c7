"""The plain loop of the page on one's own network: against dense derivatives and its own steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from nin.companion.layer_rates import pulls, train_plainly
from nin.companion.works_with import shown_by_tests, works_with_table
from nin.networks.attachment import attach, nodes
from nin.networks.small_networks import ResNet, Transformer

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is:FutureWarning")
N = 24


def images() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return torch.randn(N, 1, 28, 28, generator=g), torch.randint(10, (N,), generator=g)


def small(norm: bool) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 5, 4), nn.BatchNorm2d(3) if norm else nn.Identity())
    net.extend([nn.Tanh(), nn.Flatten(), nn.Linear(3 * 36, 10)])
    attach(net, "0", sigma_eps=0.05)
    attach(net, "4", sigma_eps=0.05)
    return net


@pytest.mark.parametrize("norm", [False, True])
def test_pulls_are_those_of_the_dense_hessian_by_the_noise(norm: bool) -> None:
    net, (x, y) = small(norm), images()
    found = pulls(net, x, y, pairs=400)

    def loss(eps: torch.Tensor, mode: bool, layer: int) -> torch.Tensor:
        """Write the batch's loss out by hand, in train() or eval(), with noise at one layer."""
        w = [node.w_ni.detach() for node in nodes(net).values()]
        noise = [eps.unsqueeze(1) * w[k] * (k == layer) for k in range(2)]
        z = nn.functional.conv2d(x, net[0].weight, net[0].bias, 4) + noise[0][..., None, None]
        if norm and mode:
            z = (z - z.mean((0, 2, 3), keepdim=True)) / (
                z.var((0, 2, 3), keepdim=True, unbiased=False) + net[1].eps
            ).sqrt()
        elif norm:
            z = z / (1 + net[1].eps) ** 0.5  # running moments as they were made
        logits = torch.tanh(z).flatten(1) @ net[4].weight.T + net[4].bias + noise[1]
        return nn.functional.cross_entropy(logits, y)

    for k, node in enumerate(nodes(net).values()):
        scale = 0.05**2 / float(node.w_ni.detach().square().sum())
        H = {m: torch.func.hessian(loss)(torch.zeros(N), m, k).detach() for m in (True, False)}
        assert found.eq2[k] == pytest.approx(scale * float(H[False].trace()), rel=1e-3)
        assert found.peer[k] == pytest.approx(found.eq2[k], rel=1e-3)
        # 16 random signs: the error is that of the entries off the diagonal.
        off = H[True] - torch.diag(H[True].diagonal())
        spread = scale * float(off.norm()) * (2 / 16) ** 0.5
        assert abs(found.blocks[k] - scale * float(H[True].trace())) < 4.5 * spread + 1e-7
        assert found.shared[k] == pytest.approx(scale * float(H[True].sum()), abs=1e-6, rel=1e-3)
        err = found.measured[k].std() / 400**0.5
        assert abs(found.measured[k].mean() - scale * float(H[True].trace())) < 4.5 * err
    assert (abs(found.shared[0]) < 1e-3 * found.blocks[0]) == norm  # a common shift is normed away


def test_measuring_pulls_leaves_the_network_as_it_was() -> None:
    net, (x, y) = small(True), images()
    before, state = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    pulls(net, x, y, pairs=2)
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state) and net.training


@pytest.mark.parametrize("rule", ["momentum", "adam"])
def test_what_the_rule_makes_of_the_pulls_adds_up_to_the_fall(rule: str) -> None:
    net, (x, y) = small(False), images()
    if rule == "momentum":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(net.parameters(), 0.02, 0.9)
    else:
        optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for node in nodes(net).values():
        node.sigma_eps = 0.3
    course = train_plainly(net, optimizer, x, y, steps=400, batch_size=8)
    assert course.size.shape == (401, 2) and course.by_rule.shape == (400, 2)
    # The memory of the last ten steps is still to come, and Adam's mean square is a running one.
    kick = course.by_rule.std(0) * 10**0.5
    assert np.all(abs(course.by_rule.sum(0) - course.fall) < 0.1 * abs(course.fall) + 4 * kick)
    ratio = course.by_sgd.sum(0) / course.fall
    assert np.all(ratio < 0.2)  # SGD without either would take a tenth of that, or less


def test_training_plainly_is_training_without_watching() -> None:
    (x, y), sizes = images(), []
    for at in ((), (1, 3)):
        net = small(True)
        sgd = torch.optim.SGD(net.parameters(), 0.02, 0.9)
        course = train_plainly(net, sgd, x, y, steps=5, batch_size=8, at=at, samples=16)
        assert len(course.moments) == len(at)
        sizes.append(course.size)
    assert np.array_equal(*sizes)


@pytest.mark.parametrize(
    ("net", "layers"),
    [
        (ResNet(4), ("stem", "block1.conv2", "head")),
        (Transformer(8, 2), ("embed", "layers.0.qkv", "layers.1.up", "head")),
    ],
    ids=["resnet", "transformer"],
)
def test_the_pages_networks_take_nodes_and_give_ten_outputs(
    net: nn.Module, layers: tuple[str, ...]
) -> None:
    x, y = images()
    for layer in layers:
        attach(net, layer, sigma_eps=0.1)
    assert net(x).shape == (N, 10)
    found = pulls(net, x, y, pairs=2)
    assert found.layers == layers and np.allclose(found.eq2, found.peer, rtol=1e-2)  # float32


def test_the_table_of_what_works_says_what_marked_tests_are_called() -> None:
    table = works_with_table()
    assert "| DistributedDataParallel | each rank injects" in table
    facts = [fact for rows in shown_by_tests().values() for fact in rows]
    assert len(facts) > 20 and all("test_" not in fact for fact, _ in facts)
    assert all(fact in table for fact, _ in facts)


def test_a_table_needs_marked_tests(tmp_path) -> None:
    (tmp_path / "test_node_x.py").write_text("def test_nothing(): pass\n", encoding="utf8")
    with pytest.raises(FileNotFoundError, match="marked 'shows'"):
        works_with_table(tmp_path)
