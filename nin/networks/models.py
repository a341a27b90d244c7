"""The paper's multi-layer perceptrons with its initialisation (App. B)."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nin.networks.seeds import generator

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "softplus": F.softplus,
    "linear": lambda z: z,
    "relu_squared": lambda z: F.relu(z).square(),
    "square": lambda z: z.square() / 2,
}
"""The last two grow faster than linearly: no network of the paper's, but its theory allows them."""
INITS = ("normal", "truncated")


class MLP(nn.Module):
    """A fully connected network: depth hidden layers of equal width.

    Weights start as N(0, 1/d_l) with d_l the fan-in, biases as 0 (App. B). That "b = 0" is read
    as a starting value, biases then being trained, as in the libraries of the time; `bias=False`
    is the other reading.
    """

    def __init__(
        self,
        d_in: int = 784,
        width: int = 1024,
        depth: int = 1,
        d_out: int = 10,
        activation: str = "relu",
        bias: bool = True,
        init: str = "normal",
        seed: int = 0,
    ) -> None:
        """Make the network.

        Args:
            d_in: Inputs per sample.
            width: N_w, neurons of each hidden layer.
            depth: Number of hidden layers, >= 1.
            d_out: Outputs.
            activation: A key of `ACTIVATIONS`.
            bias: Whether the layers have (trained) biases.
            init: ``"normal"``, or ``"truncated"``: a normal law cut at two standard deviations
                and rescaled to the same variance.
            seed: Of the initial weights.

        Raises:
            ValueError: If a size is not positive, or a name unknown.
        """
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {sorted(ACTIVATIONS)}, not {activation!r}")
        if init not in INITS:
            raise ValueError(f"init must be one of {INITS}, not {init!r}")
        sizes = [d_in, *[width] * depth, d_out]
        if depth < 1 or min(sizes) < 1:
            raise ValueError(f"depth and all sizes must be >= 1, not depth={depth}, sizes={sizes}")
        self.activation = activation
        g = generator(seed, "weights")
        layers = []
        for fan_in, fan_out in pairwise(sizes):
            layer = nn.Linear(fan_in, fan_out, bias=bias, device="meta").to_empty(device="cpu")
            _initialise(layer.weight, 1 / math.sqrt(fan_in), init, g)
            if bias:
                nn.init.zeros_(layer.bias)
            layers.append(layer)
        self.layers = nn.ModuleList(layers)

    def linear(self, i: int) -> nn.Linear:
        """Return layer i, from 0, the one that reads the inputs."""
        layer = self.layers[i]
        assert isinstance(layer, nn.Linear)  # for the type checker: __init__ puts nothing else
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs (logits), (batch, d_out), of inputs (batch, d_in)."""
        act = ACTIVATIONS[self.activation]
        for layer in self.layers[:-1]:
            x = act(layer(x))
        return self.layers[-1](x)


def _initialise(weight: Tensor, std: float, init: str, g: torch.Generator) -> None:
    if init == "truncated":
        # The variance of a standard normal law cut at +-2 is 0.8796**2.
        wide = std / 0.87962566
        nn.init.trunc_normal_(weight, 0, wide, -2 * wide, 2 * wide, g)
    else:
        nn.init.normal_(weight, 0, std, g)
