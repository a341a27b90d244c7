"""Footnote 3: does the linear model stand for a diagonal linear network, with several nodes too?"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from nin.companion.claims.finding import Cell, Finding, settings
from nin.companion.claims.ledger import claim
from nin.linear import plane
from nin.linear.diagonal import DiagonalRuns, train_diagonal
from nin.linear.model import simulate

Array = np.ndarray
WIRINGS = (
    "one at each coordinate",
    "three at each coordinate",
    "one at each coordinate, one at the outputs",
    "one for all coordinates",
)
"""How the nodes are wired, all independent and of one strength."""
WIDTHS, STRENGTHS, BATCHES = (2, 8), (3.0, 10.0, 18.0), (100, 1000)
"""Coordinates; sigma_eps from the decay to the catapults of Fig. 2 (top); samples."""
MOST = 0.9
"""Share of what two runs of the linear model have in common, from which it stands for a network."""
_DRAWS, _STEPS = 200, 1000


@dataclass(frozen=True)
class Beside:
    """Networks beside linear models of their weights, `draws` of them.

    Attributes:
        runs: Of the networks.
        forecast: Whether the derived border says that the network diverges, (draws,) bool.
        model: Arguments of `simulate`: a linear model of the first weights of each coordinate.
        seed: Of the batches; the models' are the next two.
    """

    runs: DiagonalRuns
    forecast: Array
    model: dict[str, Any] = field(repr=False)
    seed: int

    @property
    def right(self) -> Array:
        """Whether the forecast is right, (draws,) bool."""
        return np.asarray(self.forecast == self.runs.diverged)

    @property
    def same(self) -> Array:
        """Share of coordinates in the phase of their model, (draws,)."""
        return self._shares[0]

    @property
    def again(self) -> Array:
        """The same of the model and itself on other batches, (draws,)."""
        return self._shares[1]

    @cached_property
    def _shares(self) -> tuple[Array, Array]:
        model, again = (simulate(**self.model, seed=self.seed + k).phases() for k in (1, 2))
        return (model == self.runs.phases()).mean(1), (model == again).mean(1)


@lru_cache(maxsize=256)
def beside_models(
    wiring: str,
    width: int,
    sigma_eps: float,
    batch_size: int,
    *,
    draws: int = _DRAWS,
    reading: str = "A",
    seed: int = 31,
) -> Beside:
    """Train networks, and a linear model of the initial weights of each coordinate.

    Args:
        wiring: One of `WIRINGS`.
        width: Coordinates.
        sigma_eps: Standard deviation of each noise.
        batch_size: Samples.
        draws: Networks.
        reading: Of Fig. 2's initial weights, for each coordinate; see `plane.draw_start`.
        seed: Of weights and batches.
    """
    start = plane.draw_start(reading, draws * width, seed)
    v, u, first = (start[name].reshape(draws, width) for name in ("w1", "w0", "u"))
    n, m = np.eye(width) * first[:, :, None], None
    if wiring == WIRINGS[1]:
        more = plane.draw_start(reading, 3 * draws * width, seed + 1)["u"]
        n = np.repeat(np.eye(width), 3, 1) * more.reshape(draws, 1, 3 * width)
    elif wiring == WIRINGS[2]:
        m = plane.draw_start(reading, draws, seed + 1)["u"][:, None]
    elif wiring == WIRINGS[3]:
        n = first[:, :, None]
    options: dict[str, Any] = {
        "sigma_eps": sigma_eps, "eta": plane.ETA, "batch_size": batch_size, "steps": _STEPS,
    }  # fmt: skip
    runs = train_diagonal(v, u, n, m, **options, seed=seed)
    length = np.linalg.norm(n, axis=2)
    lam = plane.ETA * sigma_eps**2 * (v**2 + length**2)
    largest = lam.sum(1) if wiring == WIRINGS[3] else lam.max(1)
    forecast = largest > 4
    if m is not None:
        forecast |= plane.ETA * sigma_eps**2 > 2
    return Beside(runs, forecast, {"w1": v, "u": length, "w0": u, **options}, seed)


@claim(
    "FN3",
    "The linear model stands for a diagonal linear network: with a node or several, each "
    "coordinate behaves as that model.",
    "Footnote 3",
    "diagonal#fig-diagonal",
)
def model_stands_for_coordinates() -> Finding:
    """Compare the phase of each coordinate with that of a linear model of its weights.

    It holds if they agree as often, but for a tenth, as two runs of the model on other batches do;
    with a correction if that is not so, but the derived border of the whole network tells whether
    it diverges in nine of ten draws.
    """
    cells, right = [], dict[str, list[float]]()
    axes = {"nodes": WIRINGS, "coordinates": WIDTHS, "sigma_eps": STRENGTHS, "batch_size": BATCHES}
    for setting in settings(axes):
        found = beside_models(*setting.values())
        agree = found.same / found.again.mean()
        told = float(found.right.mean())
        cells.append(Cell.of(setting, agree, agree.mean() > MOST, told > MOST))
        right.setdefault(setting["nodes"], []).append(told)
    by = {name: [c for c in cells if c.setting["nodes"] == name] for name in WIRINGS}
    parts = [
        f"{name}: {sum(c.holds for c in of)} of {len(of)} settings, forecast right in "
        f"{min(right[name]):.0%} to {max(right[name]):.0%}"
        for name, of in by.items()
    ]
    return Finding.over(
        cells,
        "On average over batches coordinates with nodes of their own do not feel each other, so "
        "each is the model exactly, and several nodes are one of their length. But one coordinate "
        "that diverges takes all with it: the network's border is that of its worst coordinate, or "
        "of a node at the outputs, 2/eta; a node that all coordinates share sees all their weights "
        "at once. " + "; ".join(parts) + ".",
        "share of coordinates in the phase of a linear model of their weights, over that of two "
        "runs of the model",
        counted="draws",
    )
