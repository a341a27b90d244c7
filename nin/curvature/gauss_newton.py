"""The largest curvature of a noisy loss, by Gauss-Newton; the network cut off at order one.

`LinearInNoise` takes the second order of the loss in the noise for the whole of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vjp, vmap

from nin.curvature.lanczos import top_eigenvalue
from nin.networks.attachment import one_node
from nin.networks.data import Inputs, outputs
from nin.networks.losses import Loss, LossFunction
from nin.networks.models import ACTIVATIONS, MLP

SAMPLES = 500
"""Images behind a `Curve`: its largest eigenvalue lies in the span of few outputs, and settles."""
_EIGENVALUE = 1e-2  # relative accuracy; sigma_eps goes as its root, so twice as good
_VECTORS = 10  # of the Lanczos basis: a loose tolerance needs no more


def top_curvature(
    model: nn.Module,
    loss: Loss | LossFunction,
    x: Inputs,
    y: Tensor,
    of: str = "",
    at: Tensor | None = None,
) -> float:
    """Return the largest eigenvalue of the Gauss-Newton matrix of the batch loss.

    Args:
        model: The network, with its node's ``eps`` set.
        loss: The loss.
        x: Inputs, (batch, ...).
        y: Labels, (batch,).
        of: End of the names of the weights to vary; default all.
        at: Outputs at which the Hessian of the loss is taken, (batch, d); default the network's.

    Raises:
        ValueError: If the outputs are not (batch, d).
    """
    weights = {k: p.detach() for k, p in model.named_parameters()}
    varied = {k: p for k, p in weights.items() if k.endswith(of)}

    def of_weights(part: dict[str, Tensor]) -> Tensor:
        return outputs(lambda *a, **k: functional_call(model, weights | part, a, k), x)

    z, pull = vjp(of_weights, varied)[:2]
    if z.ndim != 2:
        raise ValueError(f"expected outputs of shape (batch, d), not {tuple(z.shape)}")
    push = vjp(lambda r: pull(r)[0], torch.zeros_like(z))[1]  # the transpose of the transpose
    root = symmetric_root(output_hessian(loss, z.detach() if at is None else at, y)).to(z)

    def product(r: Tensor) -> Tensor:
        """Apply R J J^T R to outputs: the same eigenvalues as J^T R R J, in fewer dimensions."""
        back = pull((root @ r.to(z).view_as(z).unsqueeze(-1)).squeeze(-1))[0]
        return (root @ push(back)[0].unsqueeze(-1)).double().flatten() / len(y)

    return top_eigenvalue(product, z.numel(), _EIGENVALUE, _VECTORS)


def output_hessian(loss: Loss | LossFunction, z: Tensor, y: Tensor | None = None) -> Tensor:
    """Return the Hessian of each sample's loss by its outputs, (batch, d, d).

    Args:
        loss: The loss.
        z: Outputs, (batch, d).
        y: Labels, (batch,); default 0, 1, ...
    """
    labels = torch.arange(len(z), device=z.device) if y is None else y
    if isinstance(loss, Loss):
        gradient = loss.gradient
    else:
        gradient = grad(lambda z, y: loss(z.unsqueeze(0), y.unsqueeze(0))[0])
    return vmap(jacrev(gradient))(z.double(), labels)


def symmetric_root(matrices: Tensor) -> Tensor:
    """Return the symmetric root of positive semi-definite matrices, (..., d, d)."""
    values, vectors = torch.linalg.eigh(matrices)
    return (vectors * values.clamp(min=0).sqrt().unsqueeze(-2)) @ vectors.mT


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
            ValueError: If it has no node, or has it elsewhere.
        """
        super().__init__()
        layer, node = one_node(model)
        if layer != "layers.0":
            raise ValueError(f"the network needs its node at layers.0, and has it at {layer}")
        self.model, self.node, self.eps = model.eval(), node, eps

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
