"""Tables of predicted beside measured borders: how far off each method is, and what it misses."""

from __future__ import annotations

from collections.abc import Sequence

from nin.companion.comparisons import Compared
from nin.companion.digits import median_and_range
from nin.companion.readings import LOSS_NAMES
from nin.companion.tables import Cell, Table
from nin.studies.experiments import Experiment


def ratio_table(compared: Compared, losses: Sequence[str]) -> Table:
    """Return how far each method is off, over the networks that have the border both ways.

    Args:
        compared: From `nin.companion.comparisons.compare_all`.
        losses: Which to show.
    """
    rows: list[tuple[Cell, ...]] = []
    for (border, method), (points, lost) in compared.items():
        for loss in losses:
            off = [q.ratio**-2 for q in points if q.loss == loss]
            said = median_and_range(off) if off else ""
            alone = sum(e.loss == loss for e in lost)
            rows.append((border, LOSS_NAMES[loss], method, said, len(off), alone))
    return Table.of_rows(
        "predicted_borders",
        "Predicted over measured $K$, over networks.",
        (
            "border", "loss", "method", "predicted over measured $K$: median (range)", "networks",
            "one-sided",
        ),
        sorted(rows, key=lambda row: [str(cell) for cell in row[:2]]),
        n=3,
    )  # fmt: skip


def missed_table(found: Sequence[tuple[Experiment, str, float, float]]) -> Table:
    """Return the borders that a method misses, as `nin.companion.comparisons.missed` found them."""
    return Table.of_rows(
        "predicted_borders_missed",
        "Borders that training on noise alone misses; – where it predicts none.",
        (
            "loss", "border", r"$\eta$", "$N_w$", "depth", "$K$ measured", "$K$ predicted",
            "predicted over measured",
        ),
        [
            (
                LOSS_NAMES[e.loss], border, e.eta, e.width, e.depth, there**2 / e.unit,
                here**2 / e.unit, (here / there) ** 2,
            )
            for e, border, there, here in found
        ],
        n=5,
    )  # fmt: skip
