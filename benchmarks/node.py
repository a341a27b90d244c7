"""What a node costs in a step of training, beside what other probes of curvature cost.

All contenders take turns in one process with one thread; times are the processor's, so that other
work on the machine counts little. What to read are the ratios to the plain network of the same
round, of which the median is told. Memory is what a step has allocated at most, weights included.

    python benchmarks/node.py [--rounds 15]

Contenders:
  node         the network with one node
  nodes        with a node at each of four layers
  dropout      with nn.Dropout behind the layer of the one node, for scale
  curvlinops   the plain step, then one Hutchinson product: the Hessian by all weights times signs
  double back  the same as PyHessian does it: a second backward through the step's gradient
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from nin.networks.attachment import attach
from nin.networks.models import MLP
from nin.networks.module_stack import plain_attention
from nin.networks.small_networks import ResNet, Transformer
from nin.studies.records import provenance

STEPS = 5  # of a contender in a round
LAYERS = {
    "MLP": ("layers.0", "layers.1", "layers.2", "layers.3"),
    "ResNet": ("stem", "block1.conv2", "block2.conv1", "head"),
    "transformer": ("embed", "layers.0.qkv", "layers.1.up", "head"),
}
Step = Callable[[], None]


def main() -> None:
    """Measure every contender for each network and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    # curvlinops makes torch compile in a way that torch itself is giving up.
    warnings.filterwarnings("ignore", "`torch.jit.script`", FutureWarning)
    made = provenance("cpu")
    print(f"{made['device']}, torch {made['torch']}, commit {made['commit']}, {made['utc']} UTC")
    images = torch.randn(128, 1, 28, 28), torch.randint(10, (128,))
    nets = {"MLP": MLP(depth=3), "ResNet": ResNet(32), "transformer": Transformer(64)}
    for name, net in nets.items():
        x = images[0].flatten(1) if name == "MLP" else images[0]
        report(name, net, contenders(net, LAYERS[name], x, images[1]), rounds)


def contenders(net: nn.Module, layers: tuple[str, ...], x: Tensor, y: Tensor) -> dict[str, Step]:
    """Return what is measured, by name, the plain step first."""
    noisy, noisier, dropping = copy.deepcopy(net), copy.deepcopy(net), copy.deepcopy(net)
    attach(noisy, layers[0], sigma_eps=0.1)
    for layer in layers:
        attach(noisier, layer, sigma_eps=0.1)
    drop = nn.Dropout(0.1)
    dropping.get_submodule(layers[0]).register_forward_hook(lambda _m, _x, z: drop(z))
    plain = step_of(net, x, y)
    return {
        "plain": plain,
        "node": step_of(noisy, x, y),
        "nodes": step_of(noisier, x, y),
        "dropout": step_of(dropping, x, y),
        "curvlinops": lambda: (plain(), by_curvlinops(net, x, y))[0],
        "double back": double_back(net, x, y),
    }


def step_of(net: nn.Module, x: Tensor, y: Tensor) -> Step:
    """Return a step of SGD with momentum; its learning rate is 0, so that all steps are alike."""
    optimizer = torch.optim.SGD(net.parameters(), 0.0, 0.9)

    def step() -> None:
        loss = F.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def by_curvlinops(net: nn.Module, x: Tensor, y: Tensor) -> None:
    """Multiply the Hessian by random signs; in ``eval()``, since it takes no running means."""
    import curvlinops  # noqa: PLC0415

    net.eval()
    params = list(net.parameters())
    hessian = curvlinops.HessianLinearOperator(
        net, nn.CrossEntropyLoss(), params, [(x, y)], check_deterministic=False
    )
    signs = torch.randint(2, (sum(p.numel() for p in params),)).mul(2).sub(1).float()
    with plain_attention():
        _ = signs @ (hessian @ signs)
    net.train()


def double_back(net: nn.Module, x: Tensor, y: Tensor) -> Step:
    """Return a step whose gradient is kept and multiplied by random signs, differentiated again."""
    params = list(net.parameters())
    optimizer = torch.optim.SGD(params, 0.0, 0.9)

    def step() -> None:
        with plain_attention():
            loss = F.cross_entropy(net(x), y)
            gradients = torch.autograd.grad(loss, params, create_graph=True)
            signs = [torch.randint_like(p, 2).mul(2).sub(1) for p in params]
            products = torch.autograd.grad(gradients, params, signs)
        sum(float((s * h).sum()) for s, h in zip(signs, products, strict=True))
        for p, g in zip(params, gradients, strict=True):
            p.grad = g.detach()
        optimizer.step()

    return step


def report(name: str, net: nn.Module, steps: dict[str, Step], rounds: int) -> None:
    """Print the medians over rounds of each contender's time over the plain step's."""
    times: dict[str, list[float]] = {contender: [] for contender in steps}
    for step in steps.values():
        step()
    for _ in range(rounds):
        for contender, step in steps.items():
            start = time.process_time()
            for _ in range(STEPS):
                step()
            times[contender].append((time.process_time() - start) / STEPS)
    weights = sum(p.numel() for p in net.parameters())
    memory = {c: 4 * weights + peak(step) for c, step in steps.items()}
    print(f"\n{name}: {weights:,} weights, batch 128; {rounds} rounds of {STEPS} steps")
    print(f"{'':12}{'ms/step':>9}{'/ plain':>10}{'quartiles':>16}{'MB':>9}{'/ plain':>10}")
    for contender, found in times.items():
        ratios = [t / p for t, p in zip(found, times["plain"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(
            f"{contender:12}{1e3 * statistics.median(found):9.2f}{middle:10.3f}"
            f"{low:9.3f} -{high:5.3f}{memory[contender] / 1e6:9.2f}"
            f"{memory[contender] / memory['plain']:10.3f}",
            flush=True,
        )


def peak(step: Step) -> int:
    """Return the bytes that a step has allocated at most."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = profiler.profiler.kineto_results.events()
    moves = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    live = most = 0
    for _, moved in moves:
        live += moved
        most = max(most, live)
    return most


if __name__ == "__main__":
    main()
