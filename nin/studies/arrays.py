"""A run's history as named arrays, as records hold it."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from nin.runs.history import History

NEVER = -1
"""The step of a divergence that did not happen, in an array of whole numbers."""


def history_arrays(h: History) -> dict[str, ArrayLike]:
    """Return a history as named arrays; ``norm/NAME`` are the norms."""
    arrays: dict[str, Any] = {k: v for k, v in vars(h).items() if k != "norms"}
    arrays["diverged_step"] = NEVER if h.diverged_step is None else h.diverged_step
    return arrays | {f"norm/{name}": values for name, values in h.norms.items()}


def history_of(arrays: dict[str, Any]) -> History:
    """Invert `history_arrays`."""
    arrays = {k: v for k, v in arrays.items() if k != "made"}
    norms = {k[5:]: arrays.pop(k) for k in list(arrays) if k.startswith("norm/")}
    never = int(arrays["diverged_step"])
    arrays["diverged_step"] = None if never == NEVER else never
    arrays["steps_per_epoch"] = int(arrays["steps_per_epoch"])
    arrays["last_finite_loss"] = float(arrays["last_finite_loss"])
    arrays["optimizer"] = str(arrays.get("optimizer", ""))
    return History(norms=norms, **arrays)
