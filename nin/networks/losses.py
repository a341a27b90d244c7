"""The two losses of the paper, with every normalisation of the squared error it may have meant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

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
        name: ``"ce"``, cross-entropy of logits, or ``"mse"``, squared error against one-hot labels
            or given targets.
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
            y: Labels, (...) int64, or for ``"mse"`` targets, (..., d).

        Returns:
            Losses, (...).
        """
        if self.name == "ce":
            return z.logsumexp(-1) - z.gather(-1, y.unsqueeze(-1)).squeeze(-1)
        return (z - _targets(z, y)).square().sum(-1) * self._factor(z)

    def gradient(self, z: Tensor, y: Tensor) -> Tensor:
        """Return the derivative of each sample's loss by its outputs, (..., d)."""
        if self.name == "ce":
            return torch.softmax(z, -1) - _targets(z, y)
        return (z - _targets(z, y)) * (2 * self._factor(z))

    def _factor(self, z: Tensor) -> float:
        return MSE_NORMS[self.mse_norm](z.shape[-1])


def accuracy(z: Tensor, y: Tensor) -> Tensor:
    """Return the share of samples whose largest output is the label's, (...) of (..., batch, d)."""
    labels = y.argmax(-1) if y.is_floating_point() else y
    return (z.argmax(-1) == labels).float().mean(-1)


def _targets(z: Tensor, y: Tensor) -> Tensor:
    if y.is_floating_point():
        return y
    return torch.zeros_like(z).scatter(-1, y.unsqueeze(-1), 1)  # one_hot does not pass vmap
