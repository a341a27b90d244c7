"""An experiment's network before its first step, as the theory of one step sees it."""

from __future__ import annotations

import torch
from torch import Tensor

from nin.curvature.local import LocalLoss, local_loss
from nin.networks.attachment import one_node
from nin.networks.data import Dataset
from nin.studies.experiments import Experiment


def initial_loss(
    e: Experiment, data: Dataset, samples: int, dtype: torch.dtype = torch.float32
) -> tuple[LocalLoss, Tensor]:
    """Return the local loss of an untrained network and its noise weights, (features,).

    Args:
        e: The experiment; its noise strength is of no account.
        data: The first `samples` of its training images are used.
        samples: Number of images.
        dtype: Of weights and images.
    """
    model = e.network().to(dtype)
    w_ni = one_node(model)[1].w_ni.detach()
    x, y = data.train_x[:samples].to(dtype), data.train_y[:samples]
    return local_loss(model, e.layer, x, y, e.criterion()), w_ni
