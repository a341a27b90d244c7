"""R networks trained one after another by autograd: any network, loss and optimiser."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from nin.networks.attachment import NoiseInjection, nodes
from nin.networks.data import Inputs, outputs, take
from nin.networks.losses import Loss, LossFunction, share_right, values_of
from nin.networks.module_stack import (
    EVALUATION_CHUNK,
    dtype_of,
    norm_name,
    trainable_copy,
)

_TOLD = ("lr", "momentum", "nesterov", "weight_decay", "betas")
MakeOptimizer = Callable[[Iterable[dict[str, Any]]], Any]
"""Takes two groups of parameters, the second the NIWs; returns an optimiser, or it and a schedule.
"""


class LoopStack:
    """R networks, each with an optimiser of its own; what `ModuleStack` is to `torch.func`.

    Attributes:
        dtype: That of the networks' parameters.
        optimizer: What takes the steps, for the history.
    """

    def __init__(
        self, models: Sequence[nn.Module], loss: Loss | LossFunction, make: MakeOptimizer
    ) -> None:
        """Copy the networks and make their optimisers.

        Args:
            models: R networks; they are read, not changed.
            loss: What to minimise.
            make: Makes an optimiser.
        """
        self.values = values_of(loss)
        self.models = [trainable_copy(m) for m in models]
        self.dtype = dtype_of(self.models[0])
        made = [make(_groups(m)) for m in self.models]
        pairs = [_pair(m) for m in made]
        check_optimizer(nodes(self.models[0]), pairs[0][0])
        self.optimisers: list[Optimizer] = [optimiser for optimiser, _ in pairs]
        self.schedules = [schedule for _, schedule in pairs]
        self.optimizer = describe(*pairs[0])

    def step(self, x: Inputs, y: Tensor, index: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step in every run; arguments and result as `ModuleStack.step`."""
        of_nodes = eps.unsqueeze(0) if eps.ndim == 2 else eps
        found = []
        for r, model in enumerate(self.models):
            for node, noise in zip(nodes(model).values(), of_nodes[:, r], strict=False):
                node.eps = noise
            self.optimisers[r].zero_grad()
            labels = y[index[r]]
            z = outputs(model, take(x, index[r]))
            loss = self.values(z, labels).mean()
            loss.backward()
            self.optimisers[r].step()
            if self.schedules[r] is not None:
                self.schedules[r].step()
            found.append((loss.detach(), _share(z, labels)))
        losses, shares = zip(*found, strict=True)
        return torch.stack(losses), torch.stack(shares)

    def evaluate(self, x: Inputs, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss and accuracy in ``eval()``, (R,) each, of samples that all runs share."""
        total = torch.zeros(2, len(self.models), dtype=torch.float64, device=y.device)
        with torch.no_grad():
            for r, model in enumerate(self.models):
                model.eval()
                for part in torch.arange(len(y), device=y.device).split(EVALUATION_CHUNK):
                    z = outputs(model, take(x, part))
                    total[0, r] += self.values(z, y[part]).mean() * len(part)
                    total[1, r] += _share(z, y[part]) * len(part)
                model.train()
        return total[0] / len(y), total[1] / len(y)

    def norms(self) -> dict[str, Tensor]:
        """Return the Euclidean norms, (R,) each, of the NIWs and of weights of two axes or more."""
        layers = list(nodes(self.models[0]))
        names = {n: n for n, p in self.models[0].named_parameters() if p.ndim > 1}
        names |= {norm_name(layer, layers): f"{layer}.nin.w_ni" for layer in layers}
        return {
            name: torch.stack([m.get_parameter(at).detach().norm() for m in self.models])
            for name, at in names.items()
        }

    def keep(self, runs: Tensor) -> None:
        """Go on with some of the runs only, given by their places, (R',) int64."""
        for kind in ("models", "optimisers", "schedules"):
            setattr(self, kind, [getattr(self, kind)[r] for r in runs.tolist()])

    def write_back(self, run: int, model: nn.Module) -> None:
        """Copy one run's parameters and buffers into a network."""
        own = self.models[run]
        trained = dict([*own.named_parameters(), *own.named_buffers()])
        with torch.no_grad():
            for name, tensor in (*model.named_parameters(), *model.named_buffers()):
                tensor.copy_(trained[name])


def describe(optimizer: Optimizer, schedule: object = None) -> str:
    """Return an optimiser in a line.

    >>> describe(torch.optim.SGD([torch.zeros(1)], lr=0.1, momentum=0.9))
    'SGD(lr=0.1, momentum=0.9)'
    """
    told = {k: optimizer.defaults[k] for k in _TOLD if optimizer.defaults.get(k)}
    text = f"{type(optimizer).__name__}({', '.join(f'{k}={v}' for k, v in told.items())})"
    return text if schedule is None else f"{text}, {type(schedule).__name__}"


def check_optimizer(found: dict[str, NoiseInjection], optimizer: Optimizer) -> None:
    """Warn of an optimiser that leaves a w_ni as it is, or pulls it to 0 by itself."""
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    for layer, node in found.items():
        group = groups.get(id(node.w_ni))
        if not node.w_ni.requires_grad:
            warnings.warn(
                f"w_ni of layer {layer!r} is frozen (requires_grad=False) and will never move",
                stacklevel=3,
            )
        elif group is None:
            warnings.warn(
                f"the optimiser does not hold w_ni of layer {layer!r}, which will never move: "
                "attach before making the optimiser",
                stacklevel=3,
            )
        elif group.get("weight_decay"):
            warnings.warn(
                f"the optimiser decays w_ni of layer {layer!r} by weight_decay="
                f"{group['weight_decay']}, noise or not: give w_ni a group with weight_decay=0",
                stacklevel=3,
            )


def _pair(made: Any) -> tuple[Optimizer, Any]:
    """Return an optimiser and its schedule or None, of what the user's function returned.

    Raises:
        ValueError: If that is something else.
    """
    optimizer, schedule = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(optimizer, Optimizer):
        raise ValueError(
            "optimizer= must return a torch.optim.Optimizer, or one with its schedule, not a "
            f"{type(made).__name__}"
        )
    if isinstance(schedule, ReduceLROnPlateau):
        raise ValueError("a schedule is stepped at each batch, and ReduceLROnPlateau cannot be")
    return optimizer, schedule


def _groups(model: nn.Module) -> list[dict[str, Any]]:
    """Return the parameters that train: the network's own, and the NIWs, which do not decay."""
    niws = [node.w_ni for node in nodes(model).values() if node.w_ni.requires_grad]
    ids = {id(p) for p in niws}
    own = [p for p in model.parameters() if p.requires_grad and id(p) not in ids]
    groups: list[dict[str, Any]] = [{"params": own}, {"params": niws, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _share(z: object, y: Tensor) -> Tensor:
    z = z.detach().unsqueeze(0) if isinstance(z, Tensor) else z
    return share_right(z, y.unsqueeze(0))[0]
