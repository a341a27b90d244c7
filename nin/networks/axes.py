"""Which axis of a layer's output holds the samples, and which the features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

Shape = tuple[int, ...]
_CHANNELS = ("out_channels", "num_features", "num_channels")
_LAST = ("out_features", "embedding_dim", "nf")


@dataclass(frozen=True)
class Axes:
    """What is known of the axes before a batch is seen; the shapes of the first one must agree.

    Attributes:
        batch: Axis of the samples; None: the first, if the network's input has as many.
        feature: Axis of the features; None: the only one that has their number.
        channels: Whether the layer's kind says (samples, channels, ...), as a convolution's does.
        sequences_first: Whether some part of the network puts time before samples.
    """

    batch: int | None = 0
    feature: int | None = -1
    channels: bool = False
    sequences_first: bool = False

    @classmethod
    def of(cls, model: nn.Module, layer: nn.Module, batch: int | None, feature: int | None) -> Axes:
        """Return what a layer's kind, the network around it, and the user say."""
        channels = any(hasattr(layer, name) for name in _CHANNELS)
        if feature is None and channels:
            feature = 1
        elif feature is None and (
            any(hasattr(layer, name) for name in _LAST) or type(layer) is nn.LayerNorm
        ):
            feature = -1  # a subclass of LayerNorm may turn its axes round
        first = any(getattr(m, "batch_first", True) is False for m in model.modules())
        return cls(batch, feature, channels, first)

    def find(
        self, z: Shape, x: Tensor | None, size: int | None, items: int | None = None
    ) -> tuple[int, int]:
        """Return the axes of samples and features.

        Args:
            z: Shape of the layer's output.
            x: The network's input; None if unknown.
            size: Number of features; None if unknown.
            items: How many inputs there are in a list of which `x` is the first; None: no list.

        Raises:
            ValueError: If the shapes contradict what is known, or leave it open.
        """
        if len(z) < 2:
            raise ValueError(
                f"{_told(z, x)}: there is no axis of samples beside the features. Give it whole "
                "batches; under vmap over samples, batches of one"
            )
        batch = 0 if self.batch is None else self.batch % len(z)
        if self.feature is None:
            places = [a for a in range(len(z)) if a != batch and size in (None, z[a])]
            if len(places) != 1:
                raise ValueError(
                    f"{_told(z, x)}: which axis holds the {size or ''} features? Say "
                    "feature_dim=..."
                )
            feature = places[0]
        else:
            feature = self.feature % len(z)
        if feature == batch:
            raise ValueError(
                f"{_told(z, x)}: axis {batch} cannot hold both samples and features; say others as "
                "batch_dim and feature_dim"
            )
        if self.batch is None and x is not None and x.ndim:
            self.check(z, x, items)
            if not self.channels and self._is_open(z, x, feature):
                raise ValueError(
                    f"{_told(z, x)}: which axis holds the samples? Say batch_dim=0 if it is the "
                    "first, or where else it is"
                )
        return batch, feature

    def check(self, z: Shape, x: Tensor, items: int | None = None) -> None:
        """Refuse an output whose first axis is not as long as the network's input.

        Raises:
            ValueError: If it is not.
        """
        if self.batch is None and x.ndim and z[0] != len(x) and z[0] != items:
            raise ValueError(
                f"the layer puts out {tuple(z)} for an input {tuple(x.shape)}: noise is one number "
                f"per sample, and its first axis does not hold {len(x)} samples. Say batch_dim=... "
                "if another axis does; if samples are folded with time, windows or positions, or "
                "share this layer's output, name another layer"
            )

    def _is_open(self, z: Shape, x: Tensor, feature: int) -> bool:
        """Tell whether the first axis may hold time steps, windows or the like."""
        n = z[0]
        if n == 1:
            return False  # one number for all: any axis will do
        others = [a for a in range(1, len(z)) if a != feature]
        return (
            (self.sequences_first and bool(others))
            or any(z[a] == n for a in others)
            or (_is_sequence(x) and x.shape[1] == n)
        )


def first_tensor(of: object) -> Tensor | None:
    """Return the first tensor in arguments or results that has axes; None if there is none."""
    if isinstance(of, Tensor):
        return of if of.ndim else None
    if isinstance(of, PackedSequence):  # as if padded; its data have no axis of samples
        return torch.empty(int(of.batch_sizes[0]), len(of.batch_sizes), 1, device="meta")
    if isinstance(of, Mapping):
        of = tuple(of.values())
    if isinstance(of, list | tuple):
        for part in of:
            if (found := first_tensor(part)) is not None:
                return found
    return None


def sequence_first(x: Tensor, output: object) -> Shape | None:
    """Return the shape of a network's output, if it has its input's second axis for its first."""
    out = first_tensor(output)
    if out is None or not _is_sequence(x):
        return None
    return tuple(out.shape) if 1 < len(x) != len(out) == x.shape[1] else None


def _told(z: Shape, x: Tensor | None) -> str:
    told = f"the layer puts out {tuple(z)}"
    return told if x is None else f"{told} for an input {tuple(x.shape)}"


def _is_sequence(x: Tensor) -> bool:
    return x.ndim == 3 or (x.ndim == 2 and not x.is_floating_point())
