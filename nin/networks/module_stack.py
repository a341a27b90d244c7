"""R networks of any architecture trained in lock-step by `torch.func`."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from nin.networks.losses import Loss, accuracy
from nin.networks.nodes import find_node

_EVALUATION_CHUNK = 1000  # samples at a time, to bound the memory of convolutions


class ModuleStack:
    """R networks of one architecture, each with one node or none, at the same layer.

    They train in ``train()`` and are measured in ``eval()``, whatever mode they came in. Parameters
    that need no gradient stay as they are.
    """

    dtype = torch.float32

    def __init__(self, models: Sequence[nn.Module], loss: Loss, eta: float) -> None:
        """Stack the networks' parameters.

        Args:
            models: R networks alike in all but their weights; they are read, not changed.
            loss: What to minimise.
            eta: Learning rate.
        """
        self.loss, self.eta = loss, eta
        stateless = [copy.deepcopy(m).train() for m in models]
        self.module = stateless[0]
        found = find_node(self.module)
        self.node = found[0] if found else None
        params, self.buffers = stack_module_state(stateless)
        self.frozen = {n for n, p in self.module.named_parameters() if not p.requires_grad}
        self.params = {name: p.detach() for name, p in params.items()}
        if self.node is not None:
            self.buffers.pop(f"{self.node}.eps")

    def step(self, x: Tensor, y: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Take one SGD step in every run; arguments and result as `MLPStack.step`."""
        gradient = vmap(grad_and_value(self._loss, has_aux=True), randomness="different")
        with _batched_attention():
            gradients, (losses, z) = gradient(self.params, self.buffers, x, y, eps)
        for name, p in self.params.items():
            if name not in self.frozen:
                p.sub_(gradients[name], alpha=self.eta)
        return losses, accuracy(z, y)

    def evaluate(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss and accuracy in ``eval()``, (R,) each, of samples that all runs share."""
        runs = len(next(iter(self.params.values())))
        total = x.new_zeros(2, runs, dtype=torch.float64)
        self.module.eval()
        with torch.no_grad(), _batched_attention():
            for xs, ys in zip(x.split(_EVALUATION_CHUNK), y.split(_EVALUATION_CHUNK), strict=True):
                z = vmap(lambda p, b, xs=xs: functional_call(self.module, (p, b), (xs,)))(
                    self.params, self.buffers
                )
                labels = ys.expand(runs, *ys.shape)
                total[0] += self.loss.values(z, labels).sum(-1)
                total[1] += accuracy(z, labels) * len(xs)
        self.module.train()
        return total[0] / len(x), total[1] / len(x)

    def norms(self) -> dict[str, Tensor]:
        """Return the Euclidean norms, (R,) each, of the NIWs and of weights of two axes or more."""
        norms = {n: p.flatten(1).norm(dim=1) for n, p in self.params.items() if p.ndim > 2}
        if self.node is not None:
            norms["w_ni"] = self.params[f"{self.node}.w_ni"].norm(dim=1)
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
                if name in trained:  # all but the node's eps
                    tensor.copy_(trained[name][run])

    def _loss(
        self, params: dict, buffers: dict, x: Tensor, y: Tensor, eps: Tensor
    ) -> tuple[Tensor, Tensor]:
        noise = {} if self.node is None else {f"{self.node}.eps": eps}
        z = functional_call(self.module, (params, {**buffers, **noise}), (x,))
        return self.loss.values(z, y).mean(), z


@contextmanager
def _batched_attention() -> Iterator[None]:
    """Attend by plain products: vmap runs the fused kernels one network at a time, and warns."""
    mha = torch.backends.mha
    fast = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        mha.set_fastpath_enabled(fast)
