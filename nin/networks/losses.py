"""The two losses of the paper, and what any loss must be: one number for each sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""Loss of each sample, (batch,), from outputs and labels or targets, (batch, ...) each."""
MSE_NORMS: dict[str, Callable[[int], float]] = {
    "mean": lambda d: 1 / d,
    "half_mean": lambda d: 0.5 / d,
    "half_sum": lambda d: 0.5,
    "sum": lambda d: 1.0,
}
"""The factor before the sum of squares over d outputs, by name."""


@dataclass(frozen=True)
class Loss:
    """A loss of outputs z and labels y, per sample.

    Attributes:
        name: ``"ce"``, cross-entropy of logits with labels or given probabilities, or ``"mse"``,
            squared error against one-hot labels or given targets.
        mse_norm: A key of `MSE_NORMS`. Default: the mean over the outputs, the only one that
            comes near the noise variances of Table 1, and the libraries' convention; Sec. 3
            writes the half sum, for one output.

    Raises:
        ValueError: If a name is unknown.
    """

    name: str = "ce"
    mse_norm: str = "mean"

    def __post_init__(self) -> None:  # noqa: D105
        if self.name not in ("ce", "mse"):
            raise ValueError(f"loss must be 'ce' or 'mse', not {self.name!r}")
        if self.mse_norm not in MSE_NORMS:
            raise ValueError(f"mse_norm must be one of {sorted(MSE_NORMS)}, not {self.mse_norm!r}")

    def values(self, z: Tensor, y: Tensor) -> Tensor:
        """Return the loss of each sample.

        Args:
            z: Outputs, (..., d).
            y: Labels, (...) int64, or targets, (..., d); (...) will do where d is 1.

        Returns:
            Losses, (...).

        Raises:
            ValueError: If the labels or targets are not of these shapes, or one output cannot tell
                classes apart.
        """
        if not isinstance(z, Tensor):
            raise ValueError(
                f"a Loss needs outputs in one tensor, and the network returns a {type(z).__name__}"
                ": give the loss as a function of it and the labels, one number for each sample"
            )
        if self.name == "ce" and z.shape[-1] == 1:
            raise ValueError(
                "the cross-entropy of one output is always 0: give two outputs, or a loss such as "
                "binary_cross_entropy_with_logits"
            )
        if self.name == "ce" and y.is_floating_point():
            return -(_targets(z, y) * z.log_softmax(-1)).sum(-1)
        if self.name == "ce":
            return z.logsumexp(-1) - z.gather(-1, _labels(z, y).unsqueeze(-1)).squeeze(-1)
        return (z - _targets(z, y)).square().sum(-1) * self._factor(z)

    def gradient(self, z: Tensor, y: Tensor) -> Tensor:
        """Return the derivative of each sample's loss by its outputs, (..., d)."""
        if self.name == "ce":
            targets = _targets(z, y)
            total = targets.sum(-1, keepdim=True) if y.is_floating_point() else 1
            return torch.softmax(z, -1) * total - targets
        return (z - _targets(z, y)) * (2 * self._factor(z))

    def check_labels(self, d: int, *labels: Tensor) -> None:
        """Refuse labels that are not classes of d outputs; targets are left to `values`.

        Raises:
            ValueError: If some are of another kind or out of range.
        """
        for y in labels:
            if y.is_floating_point() or not y.numel():
                continue
            if y.dtype not in (torch.int64, torch.int32):
                raise ValueError(f"labels must be torch.int64, not {y.dtype}: say y.long()")
            if y.min() < 0 or y.max() >= d:
                raise ValueError(
                    f"labels of {d} outputs are 0 to {d - 1}, not {y.min()} to {y.max()}; to leave "
                    "some out, give a loss function of your own"
                )

    def _factor(self, z: Tensor) -> float:
        return MSE_NORMS[self.mse_norm](z.shape[-1])


def accuracy(z: Tensor, y: Tensor) -> Tensor:
    """Return the share of samples whose largest output is the label's, (...) of (..., batch, d).

    A single output has no largest: NaN.
    """
    if z.shape[-1] == 1:
        return torch.full(z.shape[:-2], float("nan"), device=z.device)
    labels = y.argmax(-1) if y.is_floating_point() else y
    return (z.argmax(-1) == labels).float().mean(-1)


def share_right(z: object, y: Tensor) -> Tensor:
    """Return the accuracy of each run, (R,) of (R, batch, ..., d); NaN without labels to compare.

    Args:
        z: Outputs.
        y: Labels, (R, batch, ...), or targets of the outputs' shape.
    """
    if not isinstance(z, Tensor) or y.shape not in (z.shape, z.shape[:-1]):
        return torch.full((len(y),), float("nan"), device=y.device)
    return accuracy(z, y).reshape(len(z), -1).mean(1)


def loss_by_name(loss: Loss | LossFunction | str) -> Loss | LossFunction:
    """Return the `Loss` of a name, and anything else as it is."""
    return Loss(loss) if isinstance(loss, str) else loss


def values_of(loss: Loss | LossFunction | str) -> LossFunction:
    """Return the function that gives the loss of each sample, of a `Loss`, by its name or as is."""
    loss = loss_by_name(loss)
    return loss.values if isinstance(loss, Loss) else loss


def check_losses(loss: LossFunction, z: Any, y: Tensor) -> None:
    """Refuse a loss that is not one number for each sample, whatever else is in the batch.

    Args:
        loss: Loss of each sample, (batch,), from outputs and `y`.
        z: Outputs of a batch, (batch, ...); what only the loss can take apart is left to it.
        y: Its labels or targets, (batch, ...).

    Raises:
        ValueError: If it fails, there are more or fewer numbers, or they depend on the other
            samples.
    """
    try:
        losses = loss(z, y)
    except (RuntimeError, IndexError, TypeError) as error:
        of = f"outputs {tuple(z.shape)}" if isinstance(z, Tensor) else f"a {type(z).__name__}"
        span = f" from {y.min():g} to {y.max():g}" if y.numel() else ""
        raise ValueError(
            f"the loss cannot take {of} with labels or targets {tuple(y.shape)}, {y.dtype}{span}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    if tuple(losses.shape) != (len(y),):
        raise ValueError(
            f"the loss must be one number for each of the {len(y)} samples, not of shape "
            f"{tuple(losses.shape)}: average nothing (reduction='none')"
        )
    if not isinstance(z, Tensor):
        return
    alone = loss(z[:1], y[:1])[0]
    # far above the rounding of bfloat16, 0.4 %; such losses differ by their own size
    if not torch.isclose(alone, losses[0], rtol=0.02, atol=1e-6, equal_nan=True):
        raise ValueError(
            f"the loss of the first sample is {float(losses[0]):.4g} among the others and "
            f"{float(alone):.4g} alone, outputs being {tuple(z.shape)} and targets "
            f"{tuple(y.shape)}: each sample's loss must be its own; do the shapes broadcast?"
        )


def _labels(z: Tensor, y: Tensor) -> Tensor:
    if y.shape != z.shape[:-1]:
        raise ValueError(
            f"labels {tuple(y.shape)} do not fit outputs {tuple(z.shape)}: expected "
            f"{tuple(z.shape[:-1])}"
        )
    return y


def _targets(z: Tensor, y: Tensor) -> Tensor:
    if not y.is_floating_point():
        if z.shape[-1] == 1:
            raise ValueError("one output cannot be one-hot: give targets as floating-point numbers")
        # one_hot does not pass vmap
        return torch.zeros_like(z).scatter(-1, _labels(z, y).unsqueeze(-1), 1)
    if y.shape == z.shape[:-1] and z.shape[-1] == 1:
        return y.unsqueeze(-1)
    if y.shape != z.shape:
        raise ValueError(f"targets {tuple(y.shape)} do not fit outputs {tuple(z.shape)}")
    return y
