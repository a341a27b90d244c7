"""What a training run leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

Array = np.ndarray
CLEAN_QUANTITIES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
"""The fields of a `History` measured with eps = 0, in the order they are measured."""


@dataclass(frozen=True)
class History:
    """The course of one run.

    At step t the noisy quantities belong to batch t (noise on) and the norms to the weights
    before that batch's update. The clean ones have eps = 0 and take the whole data set.

    Attributes:
        steps_per_epoch: SGD steps per epoch.
        step: Steps at which the noisy quantities and norms were recorded, (n,) int64.
        loss: Noisy training loss of the batch, (n,).
        accuracy: Accuracy of the same batch, noise on, (n,).
        norms: Euclidean norms, (n,) each: ``"w_ni"``, or ``"w_ni[layer]"`` of each node where there
            are several, and each weight matrix by its name.
        eval_step: Steps at which the clean quantities were recorded, (m,) int64.
        train_loss: Clean training loss, (m,).
        train_accuracy: Clean training accuracy, (m,).
        val_loss: Clean validation loss, (m,).
        val_accuracy: Clean validation accuracy, (m,).
        diverged_step: First step whose loss was not finite, or None. The run ends with it: nothing
            was recorded later, and of that step at most a clean evaluation, finite or not.
        last_finite_loss: The noisy loss of the last step that had a finite one, whether or not
            that step was recorded.
        optimizer: What took the steps, such as ``"SGD(lr=0.1)"``; empty where nobody noted it.
    """

    steps_per_epoch: int
    step: Array
    loss: Array
    accuracy: Array
    norms: dict[str, Array] = field(repr=False)
    eval_step: Array
    train_loss: Array
    train_accuracy: Array
    val_loss: Array
    val_accuracy: Array
    diverged_step: int | None
    last_finite_loss: float
    optimizer: str = ""

    @property
    def w_ni(self) -> Array:
        """Norm of the NIWs, (n,)."""
        return self.norms["w_ni"]

    @property
    def epoch(self) -> Array:
        """`step` in epochs, (n,)."""
        return self.step / self.steps_per_epoch

    @property
    def eval_epoch(self) -> Array:
        """`eval_step` in epochs, (m,)."""
        return self.eval_step / self.steps_per_epoch

    def until(self, epochs: float) -> History:
        """Return the beginning of the run: what was recorded up to the end of an epoch.

        Its `last_finite_loss` is the last on record there.

        Args:
            epochs: Where it ends, > 0; a run that is no longer than that is returned whole.

        Raises:
            ValueError: If `epochs` is not > 0.
        """
        if not epochs > 0:
            raise ValueError(f"epochs must be > 0, not {epochs}")
        end = epochs * self.steps_per_epoch
        seen, asked = self.step < end, self.eval_step <= end
        if seen.all() and asked.all():
            return self
        lost = self.diverged_step is not None and self.diverged_step < end
        return replace(
            self,
            norms={name: norm[seen] for name, norm in self.norms.items()},
            **{name: getattr(self, name)[seen] for name in ("step", "loss", "accuracy")},
            **{name: getattr(self, name)[asked] for name in ("eval_step", *CLEAN_QUANTITIES)},
            diverged_step=self.diverged_step if lost else None,
            last_finite_loss=float(self.loss[seen][-1]),
        )


def log_spaced_steps(total: int, dense: int, per_decade: int) -> Array:
    """Return steps from 0 to `total`: all up to `dense`, then evenly spaced in their logarithm.

    >>> log_spaced_steps(1000, dense=4, per_decade=2).tolist()
    [0, 1, 2, 3, 4, 13, 40, 126, 400, 1000]
    """
    dense = min(dense, total)
    n = max(0, int(np.ceil(per_decade * np.log10(max(total, 1) / max(dense, 1)))))
    sparse = np.rint(max(dense, 1) * 10 ** (np.arange(1, n + 1) / per_decade))
    steps = np.concatenate([np.arange(dense + 1), np.minimum(sparse, total)])
    return np.unique(steps).astype(np.int64)
