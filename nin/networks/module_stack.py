"""R networks of any architecture trained in lock-step by `torch.func`."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from nin.networks.attachment import nodes
from nin.networks.data import Inputs, take
from nin.networks.losses import Loss, LossFunction, share_right

EVALUATION_CHUNK = 1000
"""Samples at a time, to bound the memory of convolutions."""


class ModuleStack:
    """R networks of one architecture, each with nodes at the same layers, or none.

    They train in ``train()`` and are measured in ``eval()``, whatever mode they came in. Parameters
    that need no gradient stay as they are.

    Attributes:
        dtype: That of the networks' parameters.
        optimizer: What takes the steps, for the history.
    """

    def __init__(self, models: Sequence[nn.Module], loss: Loss | LossFunction, eta: float) -> None:
        """Stack the networks' parameters.

        Args:
            models: R networks alike in all but their weights; they are read, not changed.
            loss: What to minimise.
            eta: Learning rate.
        """
        self.loss, self.eta, self.optimizer = loss, eta, f"SGD(lr={eta:g})"
        stateless = [trainable_copy(m) for m in models]
        self.module = stateless[0]
        self.dtype = dtype_of(self.module)
        self.nodes = list(nodes(self.module))
        params, self.buffers = stack_module_state(stateless)
        self.frozen = {n for n, p in self.module.named_parameters() if not p.requires_grad}
        self.params = {name: p.detach() for name, p in params.items()}

    def step(self, x: Inputs, y: Tensor, index: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Take one SGD step in every run.

        Args:
            x: Inputs of all samples, (n, ...).
            y: Their labels or targets, (n, ...).
            index: The samples of each run's batch, (R, batch).
            eps: Their noise, (R, batch); (nodes, R, batch) of several nodes; not used without one.

        Returns:
            Loss and accuracy of the batch, noise on, before the step, (R,) each.
        """
        x, y = take(x, index), y[index]
        gradients, losses, z = self._gradients(self.buffers, x, y, eps)
        for name, p in self.params.items():
            if name not in self.frozen:
                p.sub_(gradients[name], alpha=self.eta)
        return losses, share_right(z, y)

    def try_step(self, x: Inputs, y: Tensor, eps: Tensor) -> None:
        """Do what a step and an evaluation do, and change nothing.

        Raises:
            RuntimeError: If these networks cannot be batched.
        """
        on_gpu = [y.device] if y.device.type == "cuda" else []
        with torch.random.fork_rng(on_gpu):
            self._gradients({name: b.clone() for name, b in self.buffers.items()}, x, y, eps)
            self.evaluate(take(x, (0, slice(2))), y[0, :2])

    def evaluate(self, x: Inputs, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss and accuracy in ``eval()``, (R,) each, of samples that all runs share."""
        runs = len(next(iter(self.params.values())))
        total = torch.zeros(2, runs, dtype=torch.float64, device=y.device)
        self.module.eval()
        with torch.no_grad(), plain_attention():
            for part in torch.arange(len(y), device=y.device).split(EVALUATION_CHUNK):
                xs = take(x, part)
                z = vmap(lambda p, b, xs=xs: self._call({**p, **b}, xs))(self.params, self.buffers)
                labels = y[part].expand(runs, *y[part].shape)
                if isinstance(self.loss, Loss):
                    losses = self.loss.values(z, labels)
                else:
                    losses = vmap(self.loss)(z, labels)
                losses = losses if losses.ndim == 2 else losses.flatten(2).mean(2)
                total[0] += losses.sum(-1)
                total[1] += share_right(z, labels) * len(part)
        self.module.train()
        return total[0] / len(y), total[1] / len(y)

    def norms(self) -> dict[str, Tensor]:
        """Return the Euclidean norms, (R,) each, of the NIWs and of weights of two axes or more."""
        norms = {n: p.flatten(1).norm(dim=1) for n, p in self.params.items() if p.ndim > 2}
        for layer in self.nodes:
            norms[norm_name(layer, self.nodes)] = self.params[f"{layer}.nin.w_ni"].norm(dim=1)
        return norms

    def keep(self, runs: Tensor) -> None:
        """Go on with some of the runs only, given by their places, (R',) int64."""
        self.params = {name: p[runs] for name, p in self.params.items()}
        self.buffers = {name: b[runs] for name, b in self.buffers.items()}

    def write_back(self, run: int, model: nn.Module) -> None:
        """Copy one run's parameters, and buffers such as running means, into a network."""
        trained = {**self.params, **self.buffers}
        with torch.no_grad():
            for name, tensor in (*model.named_parameters(), *model.named_buffers()):
                tensor.copy_(trained[name][run])

    def _gradients(
        self, buffers: dict[str, Tensor], x: Inputs, y: Tensor, eps: Tensor
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        gradient = vmap(grad_and_value(self._loss, has_aux=True), randomness="different")
        by_run = eps.unsqueeze(1) if eps.ndim == 2 else eps.transpose(0, 1)  # (R, nodes, batch)
        with plain_attention():
            gradients, (losses, z) = gradient(self.params, buffers, x, y, by_run)
        return gradients, losses, z

    def _loss(
        self, params: dict, buffers: dict, x: Inputs, y: Tensor, eps: Tensor
    ) -> tuple[Tensor, Tensor]:
        noise = {f"{layer}.nin.eps": eps[k] for k, layer in enumerate(self.nodes)}
        z = self._call({**params, **buffers, **noise}, x)
        losses = self.loss.values(z, y) if isinstance(self.loss, Loss) else self.loss(z, y)
        return losses.mean(), z

    def _call(self, tensors: dict[str, Tensor], x: Inputs) -> Tensor:
        args, kwargs = ((x,), {}) if isinstance(x, Tensor) else ((), dict(x))
        return functional_call(self.module, tensors, args, kwargs)


def trainable_copy(model: nn.Module) -> nn.Module:
    """Return a copy in ``train()`` whose nodes inject what they are given."""
    # Weights that hooks compute at each call, as those of pruning, cannot be copied with their past
    computed = {id(v): v.detach() for m in model.modules() for v in computed_tensors(m).values()}
    copied = copy.deepcopy(model, computed).train()
    for node in nodes(copied).values():
        node.samples = torch.zeros(0)
    return copied


def computed_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return what an earlier call left in a module, with the graph that it came from."""
    return {name: v for name, v in plain_tensors(module).items() if not v.is_leaf}


def plain_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return a module's tensors that are neither parameters nor buffers."""
    return {name: v for name, v in vars(module).items() if isinstance(v, Tensor)}


def dtype_of(model: nn.Module) -> torch.dtype:
    """Return the dtype of a network's real parameters."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)


def norm_name(layer: str, layers: Sequence[str]) -> str:
    """Return what the norm of a node's weights is called among those of all `layers` with one."""
    return "w_ni" if len(layers) == 1 else f"w_ni[{layer}]"


@contextmanager
def plain_attention() -> Iterator[None]:
    """Attend by plain products: the fused kernels have no second derivative and no batching."""
    mha = torch.backends.mha
    fast = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        mha.set_fastpath_enabled(fast)
