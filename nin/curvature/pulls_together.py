"""The pull on the noise weights of several nodes that inject at once, averaged over the noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nin.networks.attachment import NOISE_LAWS, nodes


def pulls_of_nodes(
    model: nn.Module,
    x: Any,
    y: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    pairs: int,
    g: torch.Generator,
) -> np.ndarray:
    """Return ``w_ni . gradient / |w_ni|^2`` of each node in each pair of draws, (nodes, pairs).

    A pair of draws of opposite sign has no kick. The network is passed as it is, in ``train()``
    for the noise to be on.

    Args:
        model: A network with nodes.
        x: Inputs, (batch, ...).
        y: Labels, (batch, ...).
        loss: Loss of the batch, of outputs and labels.
        pairs: Of noise draws of opposite sign.
        g: Draws them.
    """
    found, w = nodes(model), [node.w_ni for node in nodes(model).values()]
    rows = []
    for _ in range(pairs):
        eps = [NOISE_LAWS[n.noise](len(x), g) * n.sigma_eps for n in found.values()]
        total = torch.zeros(len(w))
        for sign in (1, -1):
            for node, noise in zip(found.values(), eps, strict=True):
                node.eps = sign * noise
            gradients = torch.autograd.grad(loss(model(x), y), w)
            along = [float((p.detach() @ d) / p.detach().square().sum())
                     for p, d in zip(w, gradients, strict=True)]  # fmt: skip
            total += torch.tensor(along) / 2
        rows.append(total)
    for node in found.values():
        node.eps = torch.zeros(0)
    return torch.stack(rows, 1).numpy()
