"""The four phases, and the rule that finds the phase of a run from its history (Sec. 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from nin.runs.history import History

MARGIN = 1.1
"""A rise by less than this factor does not count: seeds differ by a few percent."""
DECAYED = 0.5
"""|w_ni| has decayed when half is gone: any noise makes it creep down in the end."""
_LAST = 10  # records at the end, whose median stands for "the end": one batch is noisy


class Phase(StrEnum):
    """The phases in order of growing noise."""

    DECOUPLED = "decoupled"
    DECAY = "decay"
    CATAPULT = "catapult"
    DIVERGENT = "divergent"


@dataclass(frozen=True)
class PhaseFinding:
    """A run's phase and what it was judged by.

    Attributes:
        phase: The phase.
        w_peak: Largest norm of w_ni over its initial one; this and the next three are NaN where
            the run diverged before its second record.
        w_end: Final norm of w_ni over its initial one.
        loss_peak: Largest noisy loss over its initial one.
        loss_end: Final noisy loss over its initial one.
        diverged_step: First step without a finite loss, or None.
    """

    phase: Phase
    w_peak: float
    w_end: float
    loss_peak: float
    loss_end: float
    diverged_step: int | None

    @property
    def evidence(self) -> str:
        """What speaks for the phase, in a sentence."""
        if np.isnan(self.w_peak):
            return f"the loss was no longer finite at step {self.diverged_step}"
        numbers = (
            f"|w_ni| peaked at {self.w_peak:.3g} and ended at {self.w_end:.3g} times its start, "
            f"the noisy loss at {self.loss_peak:.3g} and {self.loss_end:.3g} times"
        )
        if self.diverged_step is not None:
            return f"the loss was no longer finite at step {self.diverged_step}; before, {numbers}"
        return numbers


def growth(start: np.ndarray, later: np.ndarray) -> np.ndarray:
    """Return later over start, elementwise; 1 where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):  # x/0 is infinite growth
        return np.where((start == 0) & (later == 0), 1.0, np.divide(later, start))


def phase_index(
    peak: np.ndarray,
    w_end: np.ndarray,
    loss_peak: np.ndarray,
    loss_end: np.ndarray,
    diverged: np.ndarray,
) -> np.ndarray:
    """Apply the rule of `classify_phase` to numbers or arrays: positions in ``list(Phase)``.

    Args:
        peak: Largest rise of w_ni over its start; of the linear model's w1, if that rose more.
        w_end: Final |w_ni| over its start.
        loss_peak: Largest noisy loss over its start.
        loss_end: Final noisy loss over its start.
        diverged: Whether the loss became infinite.
    """
    grew = (peak > MARGIN) & (loss_peak > MARGIN)
    lost = diverged | (grew & (w_end > MARGIN) & (loss_end > MARGIN))
    return np.select([lost, grew, w_end < DECAYED], [3, 2, 1], 0)


def classify_phase(history: History) -> PhaseFinding:
    """Find the phase of a run.

    In this order, with `MARGIN` = 1.1 and `DECAYED` = 0.5:

    1. divergent: the loss became infinite, or both |w_ni| and the noisy loss end higher than they
       began;
    2. catapult: both |w_ni| and the noisy loss rose above their start, and one recovered at least;
    3. decay: |w_ni| ends at less than half of its start;
    4. decoupled: it does not.

    In the linear model either weight of the noise path w1 w_ni may drive a catapult, so in 2 a rise
    of |w1| counts as well; a network's histories have no norm of that name.

    The border of 3 and 4 moves with the length of the run: it asks whether the half-life is
    shorter. The noisy loss at the end is the median of the last ten records.

    Args:
        history: A run with a NIN, of at least two records or diverged.

    Returns:
        The phase with its evidence.

    Raises:
        ValueError: If the run has no NIN, or is too short to have a course.
    """
    if "w_ni" not in history.norms:
        raise ValueError("this run has no NIN: attach one to find its phase")
    if len(history.step) < 2:
        if history.diverged_step is None:
            raise ValueError("this run has fewer than two records: no course to judge")
        nan = float("nan")
        return PhaseFinding(Phase.DIVERGENT, nan, nan, nan, nan, history.diverged_step)
    w, loss = history.w_ni / history.w_ni[0], history.loss / history.loss[0]
    w_peak, w_end = float(w.max()), float(w[-1])
    loss_peak, loss_end = float(loss.max()), float(np.median(loss[-_LAST:]))
    w1 = history.norms.get("w1")
    peak = w_peak if w1 is None else max(w_peak, float(w1.max() / w1[0]))
    diverged = history.diverged_step is not None
    numbers = (np.asarray(n) for n in (peak, w_end, loss_peak, loss_end, diverged))
    phase = list(Phase)[int(phase_index(*numbers))]
    return PhaseFinding(phase, w_peak, w_end, loss_peak, loss_end, history.diverged_step)


def most_common_phase(histories: Sequence[History]) -> tuple[Phase, int]:
    """Return the phase that most runs are in, and how many; of equals, the one of more noise.

    Raises:
        ValueError: If there is no run.
    """
    if not histories:
        raise ValueError("no run, no phase: give at least one history")
    found = [classify_phase(h).phase for h in histories]
    phase = max(reversed(Phase), key=found.count)
    return phase, found.count(phase)
