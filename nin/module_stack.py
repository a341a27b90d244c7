"""R networks of any architecture trained in lock-step by `torch.func`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from nin.losses import Loss, accuracy
from nin.nodes import find_node

_EVALUATION_CHUNK = 1000  # samples at a time, to bound the memory of convolutions


class ModuleStack:
    """R networks of one architecture, each with one node or none, at the same layer."""

    dtype = torch.float32

    def __init__(self, models: Sequence[nn.Module], loss: Loss, eta: float) -> None:
        """Stack the networks' parameters.

        Args:
            models: R networks alike in all but their weights; they are read, not changed.
            loss: What to minimise.
            eta: Learning rate.
        """
        self.loss, self.eta, self.module = loss, eta, models[0]
        found = find_node(models[0])
        self.node = found[0] if found else None
        params, self.buffers = stack_module_state(list(models))
        self.params = {name: p.detach() for name, p in params.items()}
        if self.node is not None:
            self.buffers.pop(f"{self.node}.eps")

    def step(self, x: Tensor, y: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Take one SGD step in every run; arguments and result as `MLPStack.step`."""
        gradient = vmap(grad_and_value(self._loss, has_aux=True), randomness="different")
        gradients, (losses, z) = gradient(self.params, self.buffers, x, y, eps)
        for name, p in self.params.items():
            p.sub_(gradients[name], alpha=self.eta)
        return losses, accuracy(z, y)

    def evaluate(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss and accuracy in ``eval()``, (R,) each, of samples that all runs share."""
        training = self.module.training
        self.module.eval()
        runs = len(next(iter(self.params.values())))
        total = x.new_zeros(2, runs, dtype=torch.float64)
        with torch.no_grad():
            for xs, ys in zip(x.split(_EVALUATION_CHUNK), y.split(_EVALUATION_CHUNK), strict=True):
                z = vmap(lambda p, b, xs=xs: functional_call(self.module, (p, b), (xs,)))(
                    self.params, self.buffers
                )
                labels = ys.expand(runs, *ys.shape)
                total[0] += self.loss.values(z, labels).sum(-1)
                total[1] += accuracy(z, labels) * len(xs)
        self.module.train(training)
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
        """Copy one run's parameters into a network."""
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(self.params[name][run])

    def _loss(
        self, params: dict, buffers: dict, x: Tensor, y: Tensor, eps: Tensor
    ) -> tuple[Tensor, Tensor]:
        noise = {} if self.node is None else {f"{self.node}.eps": eps}
        z = functional_call(self.module, (params, {**buffers, **noise}), (x,))
        return self.loss.values(z, y).mean(), z
