"""Steps on a GPU, recorded once and replayed: CUDA graphs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nin.networks.mlp_stack import MLPStack


@dataclass(frozen=True)
class _Recorded:
    """A step as a graph: where it reads batch and noise, and where it leaves what it found."""

    graph: torch.cuda.CUDAGraph
    index: Tensor
    eps: Tensor
    losses: Tensor
    shares: Tensor


class Replayed:
    """An `MLPStack` on a GPU whose steps are replayed: to launch them takes longer than they do.

    A step of a small network is some dozens of products and maps of a few microseconds each. The
    first of a batch size is taken as ever, the second is recorded, and that and all later ones are
    one launch: the same kernels on the same arrays, and so the same bits. Other networks may hold
    a state in Python, which a graph would not see, and are not replayed.

    Attributes:
        dtype: As of an `MLPStack`.
        optimizer: As of an `MLPStack`.
    """

    def __init__(self, stack: MLPStack) -> None:
        """Take a stack whose networks are on a GPU."""
        self.dtype, self.optimizer = stack.dtype, stack.optimizer
        self.evaluate, self.norms, self.write_back = stack.evaluate, stack.norms, stack.write_back
        self._stack = stack
        self._recorded: dict[torch.Size, _Recorded | None] = {}  # None: one step was taken

    def step(self, x: Tensor, y: Tensor, index: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Take one SGD step in every run; see `MLPStack.step`.

        Args:
            x: As there, and the same tensor in all steps.
            y: As there, and the same tensor in all steps.
            index: As there.
            eps: As there.

        Returns:
            As there; the next step of this batch size writes over it.
        """
        size = index.shape
        if size not in self._recorded:
            self._recorded[size] = None
            return self._stack.step(x, y, index, eps)
        recorded = self._recorded[size]
        if recorded is None:
            recorded = self._recorded[size] = self._record(x, y, index, eps)
        recorded.index.copy_(index)
        recorded.eps.copy_(eps)
        recorded.graph.replay()
        return recorded.losses, recorded.shares

    def keep(self, runs: Tensor) -> None:
        """Go on with some of the runs only, given by their places, (R',) int64."""
        self._stack.keep(runs)
        self._recorded.clear()

    def _record(self, x: Tensor, y: Tensor, index: Tensor, eps: Tensor) -> _Recorded:
        """Record a step, and take none."""
        index, eps = index.clone(), eps.clone()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            losses, shares = self._stack.step(x, y, index, eps)
        return _Recorded(graph, index, eps, losses, shares)
