"""What is remembered of fixed noise, as tables: by the linear model and by networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from nin.companion.tables import Table
from nin.linear.fixed_noise import fit_fixed_noise
from nin.runs.averages import mean, middle
from nin.studies.experiments import Experiment
from nin.studies.memorisation import Memory

_QUANTITIES: dict[str, tuple[str, Callable[[Memory], np.ndarray]]] = {
    "lowest": (r"$|w_{\rm NI}|$, lowest", lambda m: m.w_ni.min(1) / m.w_ni[:, 0]),
    "end": (r"$|w_{\rm NI}|$, end", lambda m: m.w_ni[:, -1] / m.w_ni[:, 0]),
    "off": ("loss, noise off, $10^{-3}$", lambda m: 1e3 * m.end_loss["off"]),
    "own": ("loss, own noise, $10^{-3}$", lambda m: 1e3 * m.end_loss["own"]),
    "costs": (
        "loss, fresh − own, $10^{-3}$",
        lambda m: 1e3 * (m.end_loss["fresh"] - m.end_loss["own"]),
    ),
    "hits": ("accuracy, own noise", lambda m: m.end_accuracy["own"]),
    "takes": (
        "accuracy, own − fresh",
        lambda m: m.end_accuracy["own"] - m.end_accuracy["fresh"],
    ),
}


def memory_table(
    name: str, memories: Mapping[tuple[Experiment, float], Memory], columns: str
) -> Table:
    """Return how trainings end, each quantity as its mean over seeds with its standard error.

    Args:
        name: Of the CSV file.
        memories: By experiment and share of labels drawn anew.
        columns: Which: ``lowest`` and ``end`` of |w_ni|; ``off`` and ``own`` for the loss with
            this noise; what fresh noise ``costs`` in loss; ``hits`` for the accuracy with the own
            noise; what fresh noise ``takes`` off it.
    """
    heads, of = zip(*(_QUANTITIES[column] for column in columns.split()), strict=True)
    rows = [
        (f"{share:.0%}", "fixed" if e.fixed else "anew", *(_mean(quantity(m)) for quantity in of))
        for (e, share), m in memories.items()
    ]
    runs = len(next(iter(memories.values())).w_ni)
    caption = (
        r"How trainings end: $|w_{\rm NI}|$ over its start; loss and accuracy on all training "
        f"images (n = {runs} seeds, standard error). The NIN is fixed or drawn anew."
    )
    return Table.of_rows(name, caption, ("wrong labels", "NIN", *heads), rows, n=2)


def _mean(values: np.ndarray) -> float | tuple[float, float]:
    """Return mean and error, or the one value that all have."""
    return float(values[0]) if np.ptp(values) == 0 else mean(values)


def fresh_over_own(m: Memory) -> tuple[float, float]:
    """Return the loss with fresh noise over that with the own: geometric mean and its error.

    Args:
        m: Trained networks; their scatter is that of the logarithm.
    """
    value, err = middle(m.end_loss["fresh"] / m.end_loss["own"])
    return value, value * err


def fixed_noise_table(cases: Iterable[tuple[int, float, float]], sets: int = 5000) -> Table:
    """Return what fixed noise is worth to the linear model, in units of what is predicted.

    Args:
        cases: m, s and sigma_eps of `nin.linear.fixed_noise.fit_fixed_noise`.
        sets: Independent sets of samples of each.
    """
    rows = []
    for m, s, sigma_eps in cases:
        weight, worth = fit_fixed_noise(sets, m, s, sigma_eps)
        rows.append((m, s, sigma_eps, float(np.sqrt((weight**2).mean())), mean(worth)))
    caption = (
        r"Least squares with noise that each sample keeps: root mean square of $w^{(1)}w_{\rm NI}$"
        r" over $s/(\sigma_\epsilon m^{1/2})$, and what the noise is worth over $s^2/m$ "
        f"(n = {sets} sets of samples, standard error)."
    )
    heads = ("$m$", "$s$", r"$\sigma_\epsilon$", "weight over predicted", "worth over predicted")
    return Table.of_rows("fixed_noise", caption, heads, rows, n=3)
