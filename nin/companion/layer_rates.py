"""A network trained by a plain loop: how fast each node's |w_ni| falls, and what it is due to."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from nin.curvature.local import LocalLoss
from nin.curvature.pulls_together import pulls_of_nodes
from nin.networks.attachment import nodes
from nin.networks.losses import Loss
from nin.networks.module_stack import plain_attention
from nin.networks.seeds import generator
from nin.studies.traces import hessian_operator

PAIRS = 64
"""Pairs of noise draws of opposite sign behind a measured pull."""


@dataclass(frozen=True)
class Pulls:
    """What pulls on each node's w_ni at one moment: ``w_ni . gradient / |w_ni|^2``, (layers,) each.

    That is the fall of ln|w_ni| in one step of SGD over its learning rate.

    Attributes:
        layers: Names of the layers.
        measured: In ``train()``, all nodes on, averaged over pairs of draws of opposite sign,
            (layers, pairs).
        eq2: By Eq. (2) with its factor corrected: sigma_eps^2 times the curvature along w_ni, by
            `LocalLoss`, in ``eval()``.
        peer: The same by curvlinops, from the Hessian by the layer's bias.
        blocks: The same for the network in ``train()``: the trace, over samples, of the second
            derivatives of the batch's loss by each one's own noise.
        shared: All second derivatives by two samples' noise, summed: the curvature when all have
            one noise. Equals `blocks` where no sample sees another.
    """

    layers: tuple[str, ...]
    measured: np.ndarray
    eq2: np.ndarray
    peer: np.ndarray
    blocks: np.ndarray
    shared: np.ndarray


def pulls(model: nn.Module, x: Tensor, y: Tensor, *, pairs: int = PAIRS, seed: int = 0) -> Pulls:
    """Measure what pulls on each node's w_ni for one batch, and what Eq. (2) says of it.

    Args:
        model: A network for classes, with nodes at layers that have a bias; it stays as it is.
        x: Inputs, (batch, ...).
        y: Labels, (batch,).
        pairs: Of noise draws of opposite sign.
        seed: Of the draws.
    """
    # Two copies, since a pass in train() moves the running means that eval() uses.
    noisy, quiet = copy.deepcopy(model).train(), copy.deepcopy(model).eval()
    rows = []
    for layer, node in nodes(quiet).items():
        w = node.w_ni.detach()
        local = LocalLoss(quiet, layer, x, y, Loss("ce").values)
        with warnings.catch_warnings(), plain_attention():
            # curvlinops makes torch compile in a way that torch itself is giving up.
            warnings.filterwarnings("ignore", "`torch.jit.script`", FutureWarning)
            peer = w @ torch.as_tensor(hessian_operator(quiet, layer, [(x, y)]) @ w)
        by_noise = _by_noise(noisy, layer, x, y, generator(seed, "signs", layer))
        along = [float(w @ local.mean_product(w)), float(peer), *by_noise]
        rows.append(node.sigma_eps**2 / float(w.square().sum()) * np.array(along))
    measured = pulls_of_nodes(noisy, x, y, F.cross_entropy, pairs, generator(seed, "pulls"))
    return Pulls(tuple(nodes(model)), measured, *np.array(rows).T)


def _by_noise(
    model: nn.Module, layer: str, x: Tensor, y: Tensor, g: torch.Generator, draws: int = 16
) -> tuple[float, float]:
    """Return trace and sum of the second derivatives of the batch's loss by the samples' noise."""
    eps = torch.zeros(len(x), requires_grad=True)
    for name, node in nodes(model).items():
        node.eps = eps if name == layer else torch.zeros(len(x))
    with plain_attention():
        [slope] = torch.autograd.grad(F.cross_entropy(model(x), y), eps, create_graph=True)
        signs = torch.randint(2, (draws, len(x)), generator=g).mul(2).sub(1).float()
        directions = [*signs, torch.ones(len(x))]
        curved = [
            float(v @ torch.autograd.grad(slope, eps, v, retain_graph=True)[0]) for v in directions
        ]
    for node in nodes(model).values():
        node.eps = torch.zeros(0)
    return float(np.mean(curved[:-1])), curved[-1]


@dataclass(frozen=True)
class PlainCourse:
    """Training by a plain loop.

    Attributes:
        layers: Names of the layers with a node.
        size: |w_ni| before each step and at the end, (steps + 1, layers).
        by_sgd: What each step would take off ln|w_ni| at SGD's learning rate of the same number,
            (steps, layers): the pull of that step's own noise.
        by_rule: The same as the optimiser's rule makes of the pull: over 1 - momentum, or each
            entry over the root of Adam's mean square. Less what the logarithm's second order
            gives back: kicks lengthen w_ni as steps of a random walk do.
        moments: The `Pulls` on one batch at the moments asked for.
        loss: Noisy loss of each step, (steps,).
    """

    layers: tuple[str, ...]
    size: np.ndarray
    by_sgd: np.ndarray
    by_rule: np.ndarray
    moments: tuple[Pulls, ...]
    loss: np.ndarray

    @property
    def fall(self) -> np.ndarray:
        """What all steps took off ln|w_ni|, (layers,)."""
        return np.asarray(np.log(self.size[0] / self.size[-1]))

    def over(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the measured pull over a predicted one, all moments together, and its error.

        Args:
            name: ``"eq2"``, ``"peer"`` or ``"blocks"``.
        """
        said = sum(getattr(m, name) for m in self.moments)
        pulled = [m.measured for m in self.moments]
        variance = sum(p.var(1, ddof=1) / p.shape[1] for p in pulled)
        return sum(p.mean(1) for p in pulled) / said, np.sqrt(variance) / abs(said)


def train_plainly(
    model: nn.Module,
    optimizer: Optimizer,
    x: Tensor,
    y: Tensor,
    *,
    steps: int,
    batch_size: int,
    at: Sequence[int] = (),
    samples: int = 128,
    seed: int = 0,
) -> PlainCourse:
    """Train as one does, and watch the nodes.

    Args:
        model: A network for classes, with nodes.
        optimizer: `torch.optim.SGD` or `torch.optim.Adam`.
        x: Inputs, (n, ...).
        y: Labels, (n,).
        steps: How many.
        batch_size: Samples of a step.
        at: Steps before which the pulls are measured, on the first `samples` inputs.
        samples: See `at`.
        seed: Of batches; and of the noise, by PyTorch's own generator.
    """
    found, g = nodes(model), generator(seed, "batches")
    size, by_sgd, by_rule, moments, losses = [], [], [], [], []
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        for step in range(steps):
            if step in at:
                moments.append(pulls(model, x[:samples], y[:samples], seed=step))
            batch = torch.randint(len(x), (batch_size,), generator=g)
            loss = F.cross_entropy(model.train()(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            before = [node.w_ni.detach().clone() for node in found.values()]
            optimizer.step()
            losses.append(loss.item())
            size.append([float(w.norm()) for w in before])
            rows = [
                _step(node.w_ni, w, optimizer)
                for node, w in zip(found.values(), before, strict=True)
            ]
            by_sgd.append([row[0] for row in rows])
            by_rule.append([row[1] for row in rows])
    size.append([float(node.w_ni.detach().norm()) for node in found.values()])
    return PlainCourse(
        tuple(found), np.array(size), np.array(by_sgd), np.array(by_rule), tuple(moments),
        np.array(losses),
    )  # fmt: skip


def _step(p: nn.Parameter, w: Tensor, optimizer: Optimizer) -> tuple[float, float]:
    """Return what the pull takes off ln|w_ni| in a step by SGD and by the optimiser's rule."""
    group, state = optimizer.param_groups[0], optimizer.state[p]
    assert p.grad is not None
    pulled = group["lr"] * p.grad
    if "exp_avg_sq" in state:
        mean_sq = state["exp_avg_sq"] / (1 - group["betas"][1] ** float(state["step"]))
        moved = pulled / (mean_sq.sqrt() + group["eps"])
    else:
        moved = pulled / (1 - group["momentum"])
    size_sq, along = w.square().sum(), float(w @ moved)
    walked = (moved.square().sum() / 2 - along**2 / size_sq) / size_sq
    return float(w @ pulled / size_sq), float(along / size_sq - walked)
