"""The recorder as a callback of Lightning; needs the extra ``trainers``."""

from __future__ import annotations

from typing import Any

import lightning
from torch import Tensor

from nin.networks.recorder import Recorder
from nin.runs.history import History


class NINCallback(lightning.Callback):
    """Records |w_ni| of each node and the noisy loss; `history` returns them."""

    recorder: Recorder | None = None
    _losses: list[Tensor]

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Begin a record, and check the optimiser."""
        self._losses = []
        per_epoch = max(1, int(trainer.num_training_batches) // trainer.accumulate_grad_batches)
        self.recorder = Recorder(pl_module, trainer.optimizers[0], steps_per_epoch=per_epoch)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        """Keep the loss of a part of the batch, which accumulation has divided."""
        self._losses.append(loss.detach())

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Note the step."""
        assert self.recorder is not None  # Lightning has begun the training
        self.recorder.step(float(sum(self._losses)))
        self._losses.clear()

    def history(self) -> History:
        """Return what was recorded."""
        if self.recorder is None:
            raise ValueError("nothing was trained yet")
        return self.recorder.history()
