"""The recorder as a callback of Hugging Face's Trainer; needs the extra ``trainers``."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import TrainerCallback

from nin.networks.recorder import Recorder
from nin.runs.history import History


class NINTrainerCallback(TrainerCallback):
    """Records |w_ni| of each node and the noisy loss; `history` returns them."""

    def __init__(self) -> None:
        """Wait for a training to begin."""
        self.recorder: Recorder | None = None
        self._losses: list[float] = []
        self._handle: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin a record, check the optimiser, and listen to the network's loss."""
        model, optimizer = kwargs["model"], kwargs.get("optimizer")
        optimizer = getattr(optimizer, "optimizer", optimizer)  # as accelerate wraps it
        per_epoch = max(1, round(state.max_steps / state.num_train_epochs))
        self.recorder = Recorder(model, optimizer, steps_per_epoch=per_epoch)
        self._handle = model.register_forward_hook(self._listen)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note the step."""
        assert self.recorder is not None  # the Trainer has begun the training
        self.recorder.step(sum(self._losses) / len(self._losses))
        self._losses.clear()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop listening."""
        self._handle.remove()

    def history(self) -> History:
        """Return what was recorded."""
        if self.recorder is None:
            raise ValueError("nothing was trained yet")
        return self.recorder.history()

    def _listen(self, model: nn.Module, _args: Any, out: Any) -> None:
        if model.training:
            loss: Tensor | None = out.get("loss") if isinstance(out, dict) else out[0]
            if loss is None or loss.numel() != 1:
                raise ValueError(
                    "the network returns no loss to record: where the Trainer computes it itself "
                    "(label_smoothing_factor, compute_loss_func), use nin.Recorder in a "
                    "training_step of your own"
                )
            self._losses.append(float(loss))
