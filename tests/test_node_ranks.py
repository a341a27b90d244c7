"""A node on two ranks of DistributedDataParallel: real processes, talking by gloo."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from nin.networks.attachment import attach
from nin.networks.seeds import generator

SIZES = (4, 3)  # of the batches of the two ranks: uneven


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))


def x(rank: int) -> Tensor:
    return torch.randn(SIZES[rank], 4, generator=generator(0, "x", rank))


def index(rank: int) -> Tensor:
    return torch.arange(SIZES[rank]) + 4 * rank


def select_and_step(rank: int) -> dict[str, Tensor]:
    model = network()
    node = attach(model, "0", 1.0, init_std=1.0, n_samples=7)
    wrapped = DistributedDataParallel(model)
    node.select(index(rank))
    wrapped(x(rank)).square().sum().backward()
    return {"grad": node.w_ni.grad, "samples": node.samples}  # type: ignore[dict-item]


def train_a_little(rank: int) -> dict[str, Tensor]:
    model = network()
    node = attach(model, "0", 1.0, init_std=1.0)
    wrapped = DistributedDataParallel(model)
    optimiser = torch.optim.SGD(wrapped.parameters(), lr=0.1)
    torch.manual_seed(rank)  # as one does for Dropout
    first: list[Tensor] = []
    handle = model[0].register_forward_hook(
        lambda layer, i, z: first.append(z - nn.functional.linear(i[0], layer.weight, layer.bias))
    )
    for _ in range(3):
        optimiser.zero_grad()
        wrapped(x(rank)).square().sum().backward()
        optimiser.step()
    handle.remove()
    return {"w_ni": node.w_ni.detach(), "injected": first[0][:3].detach()}


def attach_too_late(rank: int) -> dict[str, Tensor]:
    model = network()
    wrapped = DistributedDataParallel(model)
    with pytest.raises(ValueError, match="wrapped in DistributedDataParallel already"):
        attach(wrapped, "module.0", 1.0)
    attach(model, "0", 1.0)  # which cannot see what holds the network
    with pytest.raises(ValueError, match="attached after DistributedDataParallel took"):
        wrapped(x(rank))
    return {"refused": torch.tensor(True)}


CALLS = (select_and_step, train_a_little, attach_too_late)


def work(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    try:
        for call in CALLS:
            torch.save(call(rank), Path(folder) / f"{call.__name__}-{rank}.pt")
            dist.barrier()
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Tensor]]]:
    """What each call returned on the two ranks, by its name: processes take seconds to start."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    mp.spawn(work, (port, str(folder)), nprocs=2)  # type: ignore[no-untyped-call]
    return {
        call.__name__: [
            torch.load(folder / f"{call.__name__}-{rank}.pt", weights_only=True)
            for rank in range(2)
        ]
        for call in CALLS
    }


@pytest.mark.shows("DistributedDataParallel")
def test_each_rank_injects_the_values_it_selected_and_gradients_are_averaged(
    found: dict[str, list[dict[str, Tensor]]],
) -> None:
    a, b = found["select_and_step"]
    assert torch.equal(a["samples"], b["samples"])  # a sample has the same on all ranks
    assert torch.equal(a["grad"], b["grad"])
    model, expected = network(), torch.zeros(8)
    node = attach(model, "0", 1.0, init_std=1.0).eval()  # silent
    for rank in range(2):  # the same by hand: z + eps w_ni, each rank with its own statistics
        z = model[0](x(rank))
        eps = a["samples"][index(rank)]
        w = node.w_ni.detach().clone().requires_grad_()
        model[3](model[2](model[1](z + eps.outer(w)))).square().sum().backward()
        expected += w.grad / 2
    torch.testing.assert_close(a["grad"], expected, rtol=1e-4, atol=1e-5)  # float32 rounding


@pytest.mark.shows("DistributedDataParallel")
def test_ranks_with_seeds_of_their_own_draw_noise_of_their_own_and_share_the_weights(
    found: dict[str, list[dict[str, Tensor]]],
) -> None:
    a, b = found["train_a_little"]
    assert torch.equal(a["w_ni"], b["w_ni"])
    start = attach(network(), "0", 1.0, init_std=1.0).w_ni
    assert not torch.equal(a["w_ni"], start)
    ratios = [torch.linalg.norm(r["injected"], dim=1) / start.norm() for r in (a, b)]
    for rank, ratio in enumerate(ratios):  # |eps|, drawn from the seed of the rank
        torch.manual_seed(rank)
        eps = torch.randn(SIZES[rank])[:3]
        torch.testing.assert_close(ratio, eps.abs(), rtol=1e-4, atol=1e-5)


@pytest.mark.shows("DistributedDataParallel")
def test_a_node_that_comes_after_the_wrapper_is_refused(
    found: dict[str, list[dict[str, Tensor]]],
) -> None:
    assert found["attach_too_late"] == [{"refused": True}] * 2
