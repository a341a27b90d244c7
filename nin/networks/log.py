"""A history in the making."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from nin.runs.history import CLEAN_QUANTITIES, History

DENSE_STEPS, STEPS_PER_DECADE = 200, 60
"""The noisy loss is kept at every step up to `DENSE_STEPS`: a catapult takes tens of steps."""


@dataclass
class Log:
    """A history in the making."""

    optimizer: str = ""
    rows: list[tuple[float, ...]] = field(default_factory=list)
    norms: dict[str, list[float]] = field(default_factory=dict)
    evaluations: list[tuple[float, ...]] = field(default_factory=list)
    diverged_step: int | None = None
    last_finite_loss: float = float("nan")

    def see(
        self,
        step: int,
        loss: float,
        share: float | Tensor,
        norms: Mapping[str, Sequence[float] | Tensor] | None,
        i: int,
    ) -> None:
        """Note a step; `norms` are given at the steps to record."""
        if not np.isfinite(loss):
            self.diverged_step = step
            return
        self.last_finite_loss = loss
        if norms is not None:
            self.rows.append((step, loss, float(share)))
            for name, values in norms.items():
                self.norms.setdefault(name, []).append(float(values[i]))

    def history(self, steps_per_epoch: int) -> History:
        """Return what was noted as arrays."""
        step, loss, share = np.array(self.rows, dtype=np.float64).reshape(-1, 3).T
        eval_step, *clean = np.array(self.evaluations, dtype=np.float64).reshape(-1, 5).T
        return History(
            steps_per_epoch=steps_per_epoch,
            step=step.astype(np.int64),
            loss=loss.astype(np.float32),
            accuracy=share.astype(np.float32),
            norms={name: np.array(v, dtype=np.float32) for name, v in self.norms.items()},
            eval_step=eval_step.astype(np.int64),
            **{
                name: values.astype(np.float32)
                for name, values in zip(CLEAN_QUANTITIES, clean, strict=True)
            },
            diverged_step=self.diverged_step,
            last_finite_loss=self.last_finite_loss,
            optimizer=self.optimizer,
        )
