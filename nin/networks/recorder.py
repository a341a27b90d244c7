"""A history of a training loop of one's own."""

from __future__ import annotations

import csv
from pathlib import Path
from types import TracebackType
from typing import Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from nin.networks.attachment import nodes
from nin.networks.log import DENSE_STEPS, STEPS_PER_DECADE, Log
from nin.networks.loop_stack import check_optimizer, describe
from nin.networks.module_stack import norm_name
from nin.runs.history import CLEAN_QUANTITIES, History, log_spaced_steps

_GRID = frozenset(log_spaced_steps(10**9, DENSE_STEPS, STEPS_PER_DECADE).tolist())


class Writer(Protocol):
    """What draws curves, such as TensorBoard's `SummaryWriter`."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> object:
        """Take a number."""


class Recorder:
    """Fills a `History` from any training loop; say `step` before each step of the optimiser.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    >>> from nin.networks.attachment import attach
    >>> node = attach(net, "0", sigma_eps=0.5)
    >>> optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> with Recorder(net, optimiser) as recorder:
    ...     for _ in range(10):
    ...         loss = net(torch.randn(16, 4)).square().mean()
    ...         optimiser.zero_grad()
    ...         loss.backward()
    ...         recorder.step(loss)
    ...         optimiser.step()
    >>> len(recorder.history().w_ni)
    10
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None = None,
        *,
        steps_per_epoch: int = 1,
        writer: Writer | None = None,
    ) -> None:
        """Begin a record.

        Args:
            model: The network, with its nodes attached; maybe wrapped.
            optimizer: What trains it; if given, it must hold each w_ni and should not decay it.
            steps_per_epoch: For courses by epoch.
            writer: Where to draw what is recorded as well.

        Raises:
            ValueError: If the network has no node, or an argument is not what it must be.
        """
        self.nodes = nodes(model)
        if not self.nodes:
            raise ValueError("this network has no node: `nin.attach` one to a layer")
        if steps_per_epoch < 1:
            raise ValueError(f"steps_per_epoch must be >= 1, not {steps_per_epoch}")
        self.model, self.writer, self.steps_per_epoch = model, writer, steps_per_epoch
        self.next_step = 0
        self.log = Log()
        if optimizer is not None:
            if not hasattr(optimizer, "param_groups"):
                raise ValueError(
                    f"expected a torch.optim.Optimizer, not a {type(optimizer).__name__}; of "
                    "several, that which holds w_ni"
                )
            self.log.optimizer = describe(optimizer)
            check_optimizer(self.nodes, optimizer)

    def __enter__(self) -> Recorder:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End; the history stays."""

    def step(self, loss: Tensor | float, accuracy: float = float("nan")) -> None:
        """Note the loss of a batch, noise on, and the norms before the step that follows it.

        The early steps are recorded all, later ones evenly in their logarithm, as in `nin.train`.
        Once the loss is not finite, nothing is noted any more.

        Args:
            loss: Mean loss of the batch.
            accuracy: Of the same batch, if known.

        Raises:
            ValueError: If the loss is not one number.
        """
        if isinstance(loss, Tensor) and loss.numel() != 1:
            raise ValueError(
                f"expected the mean loss of the batch, one number, not {tuple(loss.shape)}"
            )
        step, self.next_step = self.next_step, self.next_step + 1
        if self.log.diverged_step is not None:
            return
        norms = self._norms() if step in _GRID else None
        value = float(loss.detach() if isinstance(loss, Tensor) else loss)
        self.log.see(step, value, accuracy, norms, 0)
        if self.writer is not None and norms is not None:
            for name, (norm,) in {"loss": [value], **norms}.items():
                self.writer.add_scalar(f"nin/{name}", norm, step)

    def evaluate(self, **clean: float) -> None:
        """Note clean quantities of this moment, by their names in `History`.

        Args:
            **clean: Any of `train_loss`, `train_accuracy`, `val_loss`, `val_accuracy`, measured in
                ``eval()``.

        Raises:
            ValueError: If a name is another.
        """
        if unknown := clean.keys() - set(CLEAN_QUANTITIES):
            raise ValueError(f"expected some of {CLEAN_QUANTITIES}, not {sorted(unknown)}")
        values = (float(clean.get(name, "nan")) for name in CLEAN_QUANTITIES)
        self.log.evaluations.append((self.next_step, *values))

    def history(self) -> History:
        """Return what was noted so far."""
        return self.log.history(self.steps_per_epoch)

    def to_csv(self, path: str | Path) -> None:
        """Write a row per recorded step: step, loss, accuracy and norms."""
        with Path(path).open("w", newline="", encoding="utf8") as file:
            rows = csv.writer(file)
            rows.writerow(["step", "loss", "accuracy", *self.log.norms])
            columns = zip(*self.log.norms.values(), strict=True)
            rows.writerows(
                (*row, *norms) for row, norms in zip(self.log.rows, columns, strict=True)
            )

    def _norms(self) -> dict[str, list[float]]:
        layers = list(self.nodes)
        found = {norm_name(n, layers): node.w_ni for n, node in self.nodes.items()}
        found |= {n: p for n, p in self.model.named_parameters() if p.ndim > 1}
        return {name: [float(p.detach().norm())] for name, p in found.items()}
