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
SURGE = 2.0
"""A noisy loss of twice its start has surged: more than batches of 1000 differ by chance."""
THROWN = 10.0
"""|w_ni| that ends at ten times its start is lost: growth there takes it to 10^4 and more at once,
and what can end it is the death of all units."""
LAST = 10
"""Records whose median stands for "the end": one batch is noisy."""
BORDERS = ("decay", "surge", "catapult", "divergent", "lost")
"""What begins at each border: three phases, the surge of the noisy loss, whatever w_ni does, and
runs that do not come back, whatever their loss does."""


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


def linear_phase_index(
    start: np.ndarray, peaks: np.ndarray, end: np.ndarray, diverged: np.ndarray
) -> np.ndarray:
    """Apply the rule to a linear model, where a rise of w1 counts as one of w_ni: positions.

    Args:
        start: |w_ni|, |w1| and the mean noisy loss at step 0, (3, ...).
        peaks: The largest of each.
        end: The last of each.
        diverged: Whether the loss became infinite.
    """
    rise, last = growth(start, peaks), growth(start, end)
    return phase_index(np.maximum(rise[0], rise[1]), last[0], rise[2], last[2], diverged)


def is_lost(w_end: np.ndarray, diverged: np.ndarray) -> np.ndarray:
    """Tell which runs do not come back, whether their loss became infinite or their units died.

    The rule of `classify_phase` asks of a run that it has no more loss than it began with; a dead
    network has not, and is a catapult by that rule.

    Args:
        w_end: Final |w_ni| over its start.
        diverged: Whether the loss became infinite.
    """
    return np.asarray(diverged | (w_end > THROWN))


def has_passed(
    border: str, phase: np.ndarray, w_end: np.ndarray, loss_peak: np.ndarray, diverged: np.ndarray
) -> np.ndarray:
    """Tell which runs are past a border.

    Args:
        border: One of `BORDERS`.
        phase: Positions in ``list(Phase)``, of `phase_index`; what is divergent has surged too.
        w_end: Final |w_ni| over its start.
        loss_peak: Largest noisy loss over its start.
        diverged: Whether the loss became infinite.

    Raises:
        ValueError: If there is no such border.
    """
    if border not in BORDERS:
        raise ValueError(f"border must be one of {BORDERS}, not {border!r}")
    order = list(Phase)
    if border == "surge":
        return (phase == order.index(Phase.DIVERGENT)) | (loss_peak > SURGE)
    if border == "lost":
        return is_lost(w_end, diverged)
    return phase >= order.index(Phase(border))


def classify_phase(history: History, layer: str | None = None) -> PhaseFinding:
    """Find the phase of a run.

    In this order, with `MARGIN` = 1.1 and `DECAYED` = 0.5:

    1. divergent: the loss became infinite, or both |w_ni| and the noisy loss end higher than they
       began;
    2. catapult: both |w_ni| and the noisy loss rose above their start, and one recovered at least;
    3. decay: |w_ni| ends at less than half of its start;
    4. decoupled: it does not.

    In the linear model either weight of the noise path w1 w_ni may drive a catapult, so in 2 a rise
    of |w1| counts as well; in a network a weight of that name is one like any other.

    The border of 3 and 4 moves with the length of the run: it asks whether the half-life is
    shorter. The noisy loss at the end is the median of the last ten records.

    Args:
        history: A run with a NIN, of at least two records or diverged. A loss or |w_ni| that is not
            finite is a divergence, noted in `diverged_step` or not.
        layer: Which node to judge by, where the network has several.

    Returns:
        The phase with its evidence.

    Raises:
        ValueError: If the run has no NIN, has several and none is named, its weights began at 0, or
            its loss below 0, or it is too short to have a course.
    """
    w, loss, diverged_step = _course(history, layer)
    if len(w) < 2:
        if diverged_step is None:
            raise ValueError("this run has fewer than two records: no course to judge")
        nan = float("nan")
        return PhaseFinding(Phase.DIVERGENT, nan, nan, nan, nan, diverged_step)
    if w[0] == 0:
        raise ValueError(
            "|w_ni| began at 0 (init_std=0), and phases are told by its growth and decay: give "
            "the node an init_std > 0"
        )
    if loss[0] < 0:
        raise ValueError(
            f"the noisy loss began at {loss[0]:.3g}, below 0, and phases are told by how many "
            "times it grows: add a constant to it"
        )
    w, loss = w / w[0], growth(loss[0], loss)
    other = 0.0
    if _is_of_linear_model(history):
        w1 = history.norms["w1"][: len(w)]
        other = float(w1.max() / w1[0])
    return judged(w, loss, diverged_step, other)


def judged(
    w: np.ndarray, loss: np.ndarray, diverged_step: int | None = None, other: float = 0.0
) -> PhaseFinding:
    """Apply the rule of `phase_index` to the courses of one run.

    Args:
        w: |w_ni| over its start, (n,).
        loss: The noisy loss over its start, (n,).
        diverged_step: First step whose loss is not finite; None if there is none.
        other: Peak of another weight over its start, where its growth counts too.
    """
    w_peak, w_end = float(w.max()), float(w[-1])
    loss_peak, loss_end = float(loss.max()), float(np.median(loss[-LAST:]))
    diverged = diverged_step is not None
    seen = (np.asarray(n) for n in (max(w_peak, other), w_end, loss_peak, loss_end, diverged))
    phase = list(Phase)[int(phase_index(*seen))]
    return PhaseFinding(phase, w_peak, w_end, loss_peak, loss_end, diverged_step)


def _is_of_linear_model(history: History) -> bool:
    """Tell a history of `nin.linear`: three weights, no accuracy, one loss of infinite data."""
    return (
        history.norms.keys() == {"w_ni", "w1", "w0"}
        and bool(np.isnan(history.accuracy).all())
        and np.array_equal(history.train_loss, history.val_loss, equal_nan=True)
    )


def _course(history: History, layer: str | None) -> tuple[np.ndarray, np.ndarray, int | None]:
    """Return |w_ni| and the noisy loss while both were finite, and the step when one was not."""
    name = "w_ni" if layer is None else f"w_ni[{layer}]"
    if layer is not None and "w_ni" in history.norms and name not in history.norms:
        name = "w_ni"  # the only node needs no name, and may be given one
    if name not in history.norms:
        found = [n for n in history.norms if n.startswith("w_ni[")]
        if not found:
            if history.diverged_step == 0 and not history.norms:  # lost before the first record
                return np.array([]), np.array([]), 0
            if not len(history.step):
                raise ValueError("this run has no records: no course to judge")
            raise ValueError("this run has no NIN: attach one to find its phase")
        layers = ", ".join(n[5:-1] for n in found)
        raise ValueError(f"this run has nodes at {layers}: say layer=... to judge by one of them")
    w, loss = history.norms[name], history.loss
    bad = ~(np.isfinite(w) & np.isfinite(loss))
    if not bad.any():
        return w, loss, history.diverged_step
    first = int(bad.argmax())
    return w[:first], loss[:first], int(history.step[first])


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
