"""The second order in the noise taken for the whole: does a network diverge where it does?"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import grad

from nin.data import Dataset
from nin.experiments import Experiment
from nin.models import ACTIVATIONS, MLP
from nin.nodes import NOISE_LAWS, find_node
from nin.prediction import SAMPLES, top_curvature
from nin.seeds import generator


class LinearInNoise(nn.Module):
    """A network cut off after the first order in eps: f(x, 0) + eps df/d eps.

    Its weights are those of the network itself, and so are their names, behind ``model.``.
    """

    def __init__(self, model: MLP, eps: Tensor) -> None:
        """Cut off the network.

        Args:
            model: A network with its node at the first layer.
            eps: What the node injects, (batch,).

        Raises:
            ValueError: If it has no node there.
        """
        super().__init__()
        found = find_node(model)
        if found is None or found[0] != "layers.0.nin":
            raise ValueError("the network needs a node at layers.0, and has none there")
        self.model, self.node, self.eps = model.eval(), found[1], eps

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, (batch, d_out), of inputs (batch, d_in)."""
        return torch.stack(self.orders(x)).sum(0)

    def orders(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs without noise and their change by it, (batch, d_out) each."""
        act = ACTIVATIONS[self.model.activation]
        z, change = self.model.layers[0](x), self.eps.unsqueeze(-1) * self.node.w_ni
        for i in range(1, len(self.model.layers)):
            change = (grad(lambda v: act(v).sum())(z) * change) @ self.model.linear(i).weight.T
            z = self.model.layers[i](act(z))
        return z, change


def second_order_curvature(
    e: Experiment, sigma_eps: float, data: Dataset, n: int = SAMPLES
) -> float:
    """Return the curvature that decides on divergence, of the loss to second order in the noise.

    It is lambda of `nin.prediction.Curve` at the initial weights, with the network linear in the
    noise and the Hessian of the loss taken at the outputs without noise. A network with linear
    layers alone diverges where it passes 4, `nin.theory.noise_map`.

    Args:
        e: The experiment; its own sigma_eps is of no account.
        sigma_eps: Noise strength.
        data: The first `n` of its training images are used.
        n: Number of images.
    """
    x, y = data.train_x[:n], data.train_y[:n]
    xi = NOISE_LAWS[e.noise](len(x), generator(e.seed, "prediction"))
    xi /= xi.square().mean().sqrt()
    cut = LinearInNoise(e.network(), xi * sigma_eps)
    with torch.no_grad():
        clean = cut.orders(x)[0]
    return e.eta * top_curvature(cut, e.criterion(), x, y, at=clean)
