"""R of the paper's MLPs trained in lock-step, gradients by hand, updates fused.

Three things bring the step close to its bare matrix products: the weight update is the `beta = 1`
term of the very product that makes the gradient; bias and noise are one pass, b + eps w_ni, to
which a layer's product is added, and their gradients one product with the inputs (1, eps); and
every large array is allocated once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nin.networks.attachment import node_of
from nin.networks.losses import Loss, accuracy
from nin.networks.models import MLP

_EVALUATION_CHUNK = 2000  # samples at a time: its activations fit in cache, and in 20 MB
_aten = torch.ops.aten


@dataclass(frozen=True)
class _Activation:
    """An activation in place, and the derivative times an incoming gradient, in place too.

    `backward` sees what `keeps` says: the activation's output, or its input.
    """

    forward_: Callable[[Tensor], object]
    backward_: Callable[[Tensor, Tensor], object]
    keeps: str = "output"


_ACTIVATIONS = {
    "relu": _Activation(
        lambda z: z.relu_(), lambda d, h: _aten.threshold_backward.grad_input(d, h, 0, grad_input=d)
    ),
    "tanh": _Activation(
        lambda z: z.tanh_(), lambda d, h: _aten.tanh_backward.grad_input(d, h, grad_input=d)
    ),
    "sigmoid": _Activation(
        lambda z: z.sigmoid_(), lambda d, h: _aten.sigmoid_backward.grad_input(d, h, grad_input=d)
    ),
    "gelu": _Activation(
        lambda z: z.copy_(F.gelu(z)), lambda d, z: d.copy_(_aten.gelu_backward(d, z)), "input"
    ),
    "softplus": _Activation(
        lambda z: z.copy_(F.softplus(z)),
        lambda d, z: d.copy_(_aten.softplus_backward(d, z, 1, 20)),
        "input",
    ),
    "linear": _Activation(lambda z: z, lambda d, h: d),
    "relu_squared": _Activation(
        lambda z: z.relu_().square_(), lambda d, z: d.mul_(z.relu_()).mul_(2), "input"
    ),
    "square": _Activation(lambda z: z.square_().mul_(0.5), lambda d, z: d.mul_(z), "input"),
}


class MLPStack:
    """R MLPs of one architecture with a node each (or none) at the same layer.

    Attributes:
        dtype: What the inputs must be: float32, or bfloat16 for ``precision="bf16"``, where the
            products run in bfloat16 and the weights are kept and updated in float32.
        optimizer: What takes the steps, for the history.
    """

    def __init__(self, models: Sequence[MLP], loss: Loss, eta: float, precision: str) -> None:
        """Stack the networks' parameters.

        Args:
            models: R networks alike in all but their weights; they are read, not changed.
            loss: What to minimise.
            eta: Learning rate.
            precision: ``"float32"`` or ``"bf16"``.
        """
        self.loss, self.eta, self.optimizer = loss, eta, f"SGD(lr={eta:g})"
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.activation = _ACTIVATIONS[models[0].activation]
        self.weights: list[Tensor] = []  # per layer (R, d_out, d_in)
        self.shifts: list[Tensor] = []  # per layer (R, 2, d_out): b and w_ni, 0 where there is none
        self.trained: list[Tensor] = []  # per layer (2, 1): 1 where it has b, where it has w_ni
        self.node_layer: int | None = None
        for i in range(len(models[0].layers)):
            layers = [m.linear(i) for m in models]
            self.weights.append(torch.stack([x.weight.detach() for x in layers]))
            shift = self.weights[i].new_zeros(len(models), 2, layers[0].out_features)
            trained = shift.new_zeros(2, 1)
            for r, layer in enumerate(layers):
                if layer.bias is not None:
                    trained[0], shift[r, 0] = 1, layer.bias.detach()
                if (node := node_of(layer)) is not None:
                    trained[1], shift[r, 1], self.node_layer = 1, node.w_ni.detach(), i
            self.shifts.append(shift)
            self.trained.append(trained)
        self._forget()

    def step(self, x: Tensor, y: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Take one SGD step in every run.

        Args:
            x: Inputs, (R, batch, d_in) of `dtype`.
            y: Labels, (R, batch).
            eps: Noise, (R, batch) float32; not used without a node.

        Returns:
            Loss and accuracy of the batch, noise on, before the step, (R,) each.
        """
        b = x.shape[1]
        sources = self._sources(eps)
        low = self._low_weights()
        inputs, z = self._forward(x, sources, low, self._buffers(b))
        logits = z.float()
        losses = self.loss.values(logits, y).mean(-1)
        share = accuracy(logits, y)
        delta = (self.loss.gradient(logits, y) * (self.eta / b)).to(self.dtype)
        for i in reversed(range(len(self.weights))):
            if i:
                back = torch.bmm(delta, low[i], out=self._gradients[b][i - 1])
            self._update(i, delta, inputs[i], sources)
            if i:
                kept = inputs[i] if self.activation.keeps == "output" else self._kept[b][i - 1]
                self.activation.backward_(back, kept)
                delta = back
        return losses, share

    def evaluate(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss and accuracy with eps = 0, (R,) each.

        Args:
            x: Inputs that all runs share, (n, d_in) of `dtype`.
            y: Labels, (n,).
        """
        runs, low = len(self.weights[0]), self._low_weights()
        total = x.new_zeros(2, runs, dtype=torch.float64)
        for xs, ys in zip(x.split(_EVALUATION_CHUNK), y.split(_EVALUATION_CHUNK), strict=True):
            n = len(xs)
            sources = self._sources(torch.zeros(runs, n, device=x.device))
            z = self._forward(xs.expand(runs, n, -1), sources, low, self._buffers(n))[1].float()
            labels = ys.expand(runs, *ys.shape)
            total[0] += self.loss.values(z, labels).sum(-1)
            total[1] += accuracy(z, labels) * n
        return total[0] / len(x), total[1] / len(x)

    def norms(self) -> dict[str, Tensor]:
        """Return the Euclidean norms, (R,) each, of the NIWs and of each weight matrix."""
        norms = {f"layers.{i}.weight": w.flatten(1).norm(dim=1) for i, w in enumerate(self.weights)}
        if self.node_layer is not None:
            norms["w_ni"] = self.shifts[self.node_layer][:, 1].norm(dim=1)
        return norms

    def keep(self, runs: Tensor) -> None:
        """Go on with some of the runs only, given by their places, (R',) int64."""
        self.weights = [w[runs] for w in self.weights]
        self.shifts = [s[runs] for s in self.shifts]
        self._forget()

    def write_back(self, run: int, model: nn.Module) -> None:
        """Copy one run's parameters into a network."""
        assert isinstance(model, MLP)  # the networks that the stack was made of
        with torch.no_grad():
            for i, weight in enumerate(self.weights):
                layer = model.linear(i)
                layer.weight.copy_(weight[run])
                if layer.bias is not None:
                    layer.bias.copy_(self.shifts[i][run, 0])
                if (node := node_of(layer)) is not None:
                    node.w_ni.copy_(self.shifts[i][run, 1])

    def _forward(
        self, x: Tensor, sources: Tensor, low: list[Tensor], z: list[Tensor]
    ) -> tuple[list[Tensor], Tensor]:
        """Return the inputs of each layer and the outputs of the last."""
        b, inputs, eps = x.shape[1], [x], sources[..., 1:]
        for i, weight in enumerate(low):
            bias, w_ni = self.shifts[i].to(self.dtype).split(1, 1)
            torch.addcmul(bias, eps, w_ni, out=z[i])
            z[i].baddbmm_(inputs[i], weight.mT)
            if i < len(low) - 1:
                if self.activation.keeps == "input":
                    self._kept[b][i].copy_(z[i])
                self.activation.forward_(z[i])
                inputs.append(z[i])
        return inputs, z[-1]

    def _update(self, i: int, delta: Tensor, x: Tensor, sources: Tensor) -> None:
        """Subtract eta times the gradient, which `delta` carries already, from layer i."""
        if self.dtype == torch.float32:
            self.weights[i].baddbmm_(delta.mT, x, alpha=-1)
        else:
            self.weights[i].sub_(torch.bmm(delta.mT, x))
        self.shifts[i].addcmul_(torch.bmm(sources.mT, delta), self.trained[i], value=-1)

    def _sources(self, eps: Tensor) -> Tensor:
        """Return the inputs (1, eps) of the rows b and w_ni, (R, batch, 2)."""
        return torch.stack([torch.ones_like(eps), eps], -1).to(self.dtype)

    def _low_weights(self) -> list[Tensor]:
        """Return the weights in `dtype`."""
        return [w.to(self.dtype) for w in self.weights]

    def _forget(self) -> None:
        """Drop the work arrays: the number of runs changed."""
        self._outputs: dict[int, list[Tensor]] = {}
        self._gradients: dict[int, list[Tensor]] = {}
        self._kept: dict[int, list[Tensor]] = {}

    def _buffers(self, b: int) -> list[Tensor]:
        """Return the output arrays of each layer for a batch size, made at its first use."""
        if b not in self._outputs:
            z = [w.new_empty(len(w), b, w.shape[1], dtype=self.dtype) for w in self.weights]
            self._outputs[b] = z
            self._gradients[b] = [torch.empty_like(h) for h in z[:-1]]
            if self.activation.keeps == "input":
                self._kept[b] = [torch.empty_like(h) for h in z[:-1]]
        return self._outputs[b]
