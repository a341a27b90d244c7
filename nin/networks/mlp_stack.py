"""R of the paper's MLPs trained in lock-step, gradients by hand, updates fused.

Three things bring the step close to its bare matrix products: the weight update is the `beta = 1`
term of the very product that makes the gradient; 1 and eps are two more inputs of a layer, whose
weights are b and w_ni, so that bias and noise are part of the products; and every large array is
allocated once.
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
_MORE = 8  # columns beside a layer's inputs: 1, eps, and zeros, without which products are slower
# Numbers to which a row is filled up: where each begins at a cache line, the last bits of a product
# do not depend on the place of its run.
_ROW = 32
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
        rounding: Of the factors of all products and of what they give: float32, or bfloat16 for
            ``precision="bf16"``; weights are kept and updated in float32.
        dtype: What the inputs must be, and how such numbers are held: `rounding`; float32 on a
            processor that cannot multiply bfloat16, where it would take 70 times as long.
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
        self.rounding = torch.bfloat16 if precision == "bf16" else torch.float32
        device = next(models[0].parameters()).device
        self.dtype = self.rounding if multiplies_bfloat16(device) else torch.float32
        self.activation = _ACTIVATIONS[models[0].activation]
        self.weights: list[Tensor] = []  # per layer (R, d_out, d_in + _MORE): W, b, w_ni, zeros
        self.biased: list[bool] = []  # per layer
        self.node_layer: int | None = None
        for i in range(len(models[0].layers)):
            layers = [m.linear(i) for m in models]
            first = layers[0]
            weight = _rows(len(models), first.out_features, first.in_features, first.weight)
            for of_run, layer in zip(weight, layers, strict=True):
                of_run[:, :-_MORE] = layer.weight.detach()
                if layer.bias is not None:
                    of_run[:, -_MORE] = layer.bias.detach()
                if (node := node_of(layer)) is not None:
                    of_run[:, 1 - _MORE], self.node_layer = node.w_ni.detach(), i
            self.weights.append(weight)
            self.biased.append(layers[0].bias is not None)
        self._forget()

    def step(self, x: Tensor, y: Tensor, index: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Take one SGD step in every run.

        Args:
            x: Inputs of all samples, (n, d_in) of `dtype`.
            y: Their labels, (n,).
            index: The samples of each run's batch, (R, batch).
            eps: Their noise, (R, batch) float32; not used without a node.

        Returns:
            Loss and accuracy of the batch, noise on, before the step, (R,) each.
        """
        b = index.shape[1]
        y, inputs = y[index], self._inputs(b)
        for of_run, samples in zip(inputs[0], index, strict=True):
            self._rounded_(torch.index_select(x, 0, samples, out=of_run[:, :-_MORE]))
        low = self._low_weights()
        logits = self._forward(inputs, low, eps).float()
        losses = self.loss.values(logits, y).mean(-1)
        share = accuracy(logits, y)
        delta = self._rounded_((self.loss.gradient(logits, y) * (self.eta / b)).to(self.dtype))
        for i in reversed(range(len(self.weights))):
            if i:
                back = torch.bmm(delta, low[i][..., :-_MORE], out=self._gradients[b][i - 1])
                self._rounded_(back)
            if self.rounding == torch.float32:
                self.weights[i].baddbmm_(delta.mT, inputs[i], alpha=-1)
            else:  # where a product of all columns is slower than two
                for part in (slice(-_MORE), slice(-_MORE, None)):
                    change = self._rounded_(torch.bmm(delta.mT, inputs[i][..., part]))
                    self.weights[i][..., part].sub_(change)
            if i:
                kept = self._kept[b][i - 1] if self._kept[b] else inputs[i][..., :-_MORE]
                self.activation.backward_(back, kept)
                delta = self._rounded_(back)
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
            inputs = self._inputs(n)
            inputs[0][..., :-_MORE] = xs.to(self.rounding)
            z = self._forward(inputs, low, x.new_zeros(runs, n)).float()
            labels = ys.expand(runs, *ys.shape)
            total[0] += self.loss.values(z, labels).sum(-1)
            total[1] += accuracy(z, labels) * n
        return total[0] / len(x), total[1] / len(x)

    def norms(self) -> dict[str, Tensor]:
        """Return the Euclidean norms, (R,) each, of the NIWs and of each weight matrix."""
        norms = {
            f"layers.{i}.weight": torch.linalg.vector_norm(w[..., :-_MORE], dim=(1, 2))
            for i, w in enumerate(self.weights)
        }
        if self.node_layer is not None:
            norms["w_ni"] = self.weights[self.node_layer][..., 1 - _MORE].norm(dim=1)
        return norms

    def keep(self, runs: Tensor) -> None:
        """Go on with some of the runs only, given by their places, (R',) int64."""
        self.weights = [_copied(w[runs], w.dtype) for w in self.weights]
        self._forget()

    def write_back(self, run: int, model: nn.Module) -> None:
        """Copy one run's parameters into a network."""
        assert isinstance(model, MLP)  # the networks that the stack was made of
        with torch.no_grad():
            for i, weight in enumerate(self.weights):
                layer = model.linear(i)
                layer.weight.copy_(weight[run, :, :-_MORE])
                if layer.bias is not None:
                    layer.bias.copy_(weight[run, :, -_MORE])
                if (node := node_of(layer)) is not None:
                    node.w_ni.copy_(weight[run, :, 1 - _MORE])

    def _forward(self, inputs: list[Tensor], low: list[Tensor], eps: Tensor) -> Tensor:
        """Return the outputs of the last layer, and fill the inputs of all but the first."""
        b = eps.shape[1]
        if self.node_layer is not None:
            inputs[self.node_layer][..., 1 - _MORE] = eps.to(self.rounding)
        for i, weight in enumerate(low[:-1]):
            z = self._rounded_(torch.bmm(inputs[i], weight.mT, out=inputs[i + 1][..., :-_MORE]))
            if self._kept[b]:
                self._kept[b][i].copy_(z)
            self.activation.forward_(z)
            self._rounded_(z)
        return self._rounded_(torch.bmm(inputs[-1], low[-1].mT))

    def _rounded_(self, values: Tensor) -> Tensor:
        """Round numbers in place to `rounding`, where `dtype` is more exact."""
        return values if self.dtype == self.rounding else values.copy_(values.to(self.rounding))

    def _low_weights(self) -> list[Tensor]:
        """Return the weights, rounded."""
        if self.rounding == torch.float32:
            return self.weights
        return [
            self._rounded_(low.copy_(w)) for low, w in zip(self._low, self.weights, strict=True)
        ]

    def _forget(self) -> None:
        """Drop the work arrays: the number of runs changed."""
        rounds = self.rounding != torch.float32
        self._low = [_copied(w, self.dtype) for w in self.weights if rounds]
        self._all_inputs: dict[int, list[Tensor]] = {}
        self._gradients: dict[int, list[Tensor]] = {}
        self._kept: dict[int, list[Tensor]] = {}

    def _inputs(self, b: int) -> list[Tensor]:
        """Return each layer's inputs and 1, eps, for a batch size; the arrays of a first use."""
        if b not in self._all_inputs:
            made = [_rows(len(w), b, w.shape[2] - _MORE, w, self.dtype) for w in self.weights]
            for x, biased in zip(made, self.biased, strict=True):
                x[..., -_MORE] = biased
            hidden = [x[..., :-_MORE] for x in made[1:]]
            self._all_inputs[b] = made
            self._gradients[b] = [torch.empty(x.shape).to(x) for x in hidden]
            kept = self.activation.keeps == "input"
            self._kept[b] = [torch.empty(x.shape).to(x) for x in hidden] if kept else []
        return self._all_inputs[b]


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether products of bfloat16 run as such: on a GPU, or by a processor's own means."""
    if device.type != "cpu":
        return True
    return torch.backends.mkldnn.is_available() and bool(
        torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def _rows(runs: int, n: int, d: int, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return zeros, (runs, n, d + _MORE); in float32 each row begins at a cache line."""
    zeros = like.new_zeros(0, dtype=dtype)
    fill = -(d + _MORE) % _ROW if zeros.dtype == torch.float32 else 0  # bfloat16 would be copied
    return zeros.new_zeros(runs, n, d + _MORE + fill)[..., : d + _MORE]


def _copied(w: Tensor, dtype: torch.dtype) -> Tensor:
    """Return weights in another type, or of other runs, in such rows."""
    return _rows(len(w), w.shape[1], w.shape[2] - _MORE, w, dtype).copy_(w)
