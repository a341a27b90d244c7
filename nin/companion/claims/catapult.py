"""The catapult that the paper invokes, in the model in which Lewkowycz et al. (2020) found it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from nin.companion.claims.finding import Cell, Finding
from nin.companion.claims.ledger import SIGMAS, claim
from nin.linear.wide_net import WideRuns, follow_map, peak_slope, train_wide

WIDTHS = (128, 512, 2048, 8192, 32768, 131072)
"""Three decades; their statements are of the limit."""
SEEDS = tuple(range(20))
"""Of initial weights, other ones at each width."""
LAZY, CATAPULT, DIVERGENT = (0.5, 1.5, 1.9), (2.2, 2.5, 3.0, 3.5, 3.9), (4.1, 5.0)
"""eta times the initial curvature, lambda_0, on either side of their borders, at 2 and 4."""
TARGETS = (0.0, 1.0)
"""y: theirs, for which the map is exact, and another."""
NEAR = 0.05
"""Of a stated exponent or slope: at finite width there are terms of lower order."""
STATEMENTS = {
    "never rises": "below 2 the loss falls in every step",
    "drop ~ 1/N_w": "and the curvature changes by the order of 1/width",
    "peak ~ N_w": "between 2 and 4 the loss rises to the order of the width",
    "time ~ log N_w": "in a time of the order of its logarithm",
    "drop ~ 1": "the curvature falls by an amount that the width leaves alone",
    "ends below 2": "and ends below 2 over the learning rate",
    "diverges": "above 4 all diverges",
    "by the map": "with y = 0 output and curvature follow the map of the noise",
}
"""What they say, by a short name."""


@lru_cache
def wide_runs(eta_lam: float, y: float) -> tuple[WideRuns, ...]:
    """Return the runs at each of `WIDTHS`."""
    return tuple(train_wide(n, eta_lam, SEEDS, y=y) for n in WIDTHS)


def against_width(
    runs: tuple[WideRuns, ...], quantity: str, of: str = "n"
) -> tuple[float, float, int]:
    """Return the slope of a quantity against the log of the width, its error, and the runs counted.

    Runs that diverge have no peak, and do not count.

    Args:
        runs: At several widths.
        quantity: Of `WideRuns`, one number for each run; it is a time, or its logarithm is taken
            and the slope is an exponent.
        of: ``"n"``, the width; or ``"n / loss_0"``, which takes the chance of the initial loss out.
    """
    kept = [~r.diverged for r in runs]
    z = np.concatenate([abs(getattr(r, quantity))[k] for r, k in zip(runs, kept, strict=True)])
    start = [
        r.loss[:, 0][k] if of == "n / loss_0" else 1.0 for r, k in zip(runs, kept, strict=True)
    ]
    size = [np.full(k.sum(), r.width) / s for r, k, s in zip(runs, kept, start, strict=True)]
    z = z if quantity == "peak_step" else np.log(z)
    (slope, _), covariance = np.polyfit(np.log(np.concatenate(size)), z, 1, cov=True)
    return float(slope), float(np.sqrt(covariance[0, 0])), len(z)


def share_by_map(runs: tuple[WideRuns, ...]) -> np.ndarray:
    """Return whether each run's peak, its step and the final curvature are those of the map."""
    found = []
    for r in runs:
        loss, eta_lam = follow_map(r)
        same = (loss.argmax(1) == r.peak_step) & np.isclose(loss.max(1), r.peak, rtol=1e-6)
        found.append(same & np.isclose(eta_lam[:, -1], r.eta_lam[:, -1], rtol=1e-6))
    return np.concatenate(found)


def _fit(
    statement: str, c: float, y: float, found: tuple[float, float, int], stated: float
) -> Cell:
    """Make a cell of a slope against ln N_w, over what is stated."""
    value, err = found[0] / stated, found[1] / abs(stated)
    setting = {"statement": statement, "lambda_0": c, "y": y}
    near = abs(value - 1) < NEAR + SIGMAS * err
    return Cell(setting, value, err, found[2], near)


def _share(statement: str, c: float, y: float, hits: np.ndarray) -> Cell:
    setting = {"statement": statement, "lambda_0": c, "y": y}
    return Cell.of(setting, hits, bool(hits.all()))


def cells_of(y: float) -> list[Cell]:
    """Return a cell for each of their statements and each lambda_0 that it is about."""
    cells = []
    for c in LAZY:
        runs = wide_runs(c, y)
        cells.append(_share("never rises", c, y, ~np.concatenate([r.rises for r in runs])))
        cells.append(_fit("drop ~ 1/N_w", c, y, against_width(runs, "drop"), -1.0))
    for c in CATAPULT:
        runs = wide_runs(c, y)
        below = np.concatenate([~r.diverged & (r.eta_lam[:, -1] < 2) for r in runs])
        late = against_width(runs, "peak_step", of="n / loss_0")
        slope, err, n = against_width(runs, "drop")
        cells += [
            _fit("peak ~ N_w", c, y, against_width(runs, "peak"), 1.0),
            _fit("time ~ log N_w", c, y, late, peak_slope(c)),
            _fit("drop ~ 1", c, y, (1 + slope, err, n), 1.0),  # of n times the drop
            _share("ends below 2", c, y, below),
        ]
    for c in DIVERGENT:
        runs = wide_runs(c, y)
        cells.append(_share("diverges", c, y, np.concatenate([r.diverged for r in runs])))
    if y == 0:
        for c in (*LAZY, *CATAPULT):
            cells.append(_share("by the map", c, y, share_by_map(wide_runs(c, y))))
    return cells


@claim(
    "C45",
    "The recovery from strong noise is the catapult effect of Lewkowycz et al. (2020).",
    "Sec. 3",
    "catapult#fig-catapult",
)
def their_catapult() -> Finding:
    """Test their statements one by one in their own model, and our map of the noise against it."""
    cells = [c for y in TARGETS for c in cells_of(y)]
    mapped = [c.value for c in cells if c.setting["statement"] == "by the map"]
    failed = [str(c) for c in cells if not c.holds]
    return Finding.over(
        cells,
        "With y = 0 their network of two linear layers follows the map of the linear model's noise "
        f"in {np.mean(mapped):.0%} of the runs, and it does what they say at "
        f"{len(cells) - len(failed)} of {len(cells)} settings"
        + (
            f"; not at {'; '.join(failed)}, where narrow networks are lost below 4"
            if failed
            else ""
        )
        + ".",
        "share of runs, or fitted slope against ln N_w over the stated one",
        counted="runs",
    )
