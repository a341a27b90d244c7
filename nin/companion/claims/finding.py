"""What a test of a claim finds: a number in each cell of its grid, and one verdict over them all.

The rules by which cells become a verdict are written here and nowhere else.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from nin.runs.averages import mean

Truth = bool | np.bool_
FEW = 4
"""Up to so many values of a number are named one by one; of more, the range."""


class Verdict(StrEnum):
    """What our test of a claim says."""

    REPRODUCED = "reproduced"
    CORRECTED = "reproduced with a correction"
    PARTLY = "reproduced in part"
    DIFFERS = "differs"
    NOT_SEEN = "not seen"
    PROTOCOL = "protocol"
    NOT_COMPUTED = "not computed"


@dataclass(frozen=True)
class Cell:
    """One setting of a claim's grid, and what was measured there.

    Attributes:
        setting: The setting, by the names of the grid's axes; numbers, words or truth values.
        value: The measured number.
        err: One standard error of `value`; 0 where there is none.
        n: How many independent seeds or draws stand behind `value`; windows or steps of one run
            are one.
        holds: Whether the claim holds here, as it is stated.
        mended: Whether it holds here with the correction that the finding names.
    """

    setting: Mapping[str, Any]
    value: float
    err: float
    n: int
    holds: Truth
    mended: Truth = False

    @classmethod
    def of(
        cls, setting: Mapping[str, Any], values: npt.ArrayLike, holds: Truth, mended: Truth = False
    ) -> Cell:
        """Make a cell of the mean of independent values; that of hits is a share."""
        return cls(setting, *mean(values), np.size(values), holds, mended)

    def __post_init__(self) -> None:
        """Take NumPy's numbers and truth values as plain ones; refuse what is no number.

        Raises:
            ValueError: If `value` or `err` is not finite, `err` is negative, or `n` < 1.
        """
        setting = {k: v.item() if isinstance(v, np.generic) else v for k, v in self.setting.items()}
        plain = {"setting": setting, "value": float(self.value), "err": float(self.err)}
        plain |= {"n": int(self.n), "holds": bool(self.holds), "mended": bool(self.mended)}
        for name, value in plain.items():
            object.__setattr__(self, name, value)
        _check_number("a cell", self.value, self.err, self.n)

    @property
    def number(self) -> tuple[float, float, int]:
        """Value, error and n."""
        return self.value, self.err, self.n

    def __str__(self) -> str:
        """Return setting and number as text."""
        where = ", ".join(f"{_name(axis)} {_text(value)}" for axis, value in self.setting.items())
        return f"{where}: {self.value:.3g}" + (f" ± {self.err:.1g}" if self.err else "")


@dataclass(frozen=True)
class Finding:
    """The outcome of one test.

    Attributes:
        verdict: What the numbers mean for the claim, over the whole grid.
        says: A sentence or two that a reader of the ledger understands, without the number.
        value: The number that sums the cells up, in the unit that `quantity` names.
        err: One standard error of `value`; 0 for an exact (symbolic) result.
        n: How many independent seeds or draws stand behind `value`; 0 where the test failed, and
            `says` tells why.
        quantity: What `value` and each cell's number are, with their unit.
        cells: The settings at which the claim was tested.
        stated: What the claim says the number is, or where it would be clearest; infinity for the
            more, the better.
        printed: The number as the paper prints it, where `stated` is a corrected one.
        counted: What n counts.
        proof: The method that shows it for all settings; empty where it was only measured.
    """

    verdict: Verdict
    says: str
    value: float
    err: float
    n: int
    quantity: str
    cells: tuple[Cell, ...] = ()
    stated: float = 1.0
    printed: float | None = None
    counted: str = "seeds"
    proof: str = ""

    @classmethod
    def over(
        cls,
        cells: Sequence[Cell],
        says: str,
        quantity: str,
        *,
        value: tuple[float, float, int] | None = None,
        may: bool = False,
        **about: Any,
    ) -> Finding:
        """Make a finding of all cells of a grid.

        Args:
            cells: One for each setting.
            says: As the attribute.
            quantity: As the attribute.
            value: Value, error and n where the cells' mean is not the number that sums them up.
                The mean counts the cells as runs of the same seeds: n is the smallest of theirs
                and the error is their mean.
            may: Whether the claim is one of possibility, as for `judge`.
            about: The attributes `stated`, `printed`, `counted` and `proof`.
        """
        v, err = (float(np.mean([getattr(c, name) for c in cells])) for name in ("value", "err"))
        number, err, n = value or (v, err, min(c.n for c in cells))
        verdict = judge(cells, may=may)
        return cls(verdict, says, number, err, n, quantity, tuple(cells), **about)

    def __post_init__(self) -> None:
        """Refuse a finding without a usable number.

        Raises:
            ValueError: If `value` or `err` is not finite, `err` is negative, or `n` < 1.
        """
        if self.verdict != Verdict.NOT_COMPUTED:
            _check_number("a finding", self.value, self.err, self.n)

    @property
    def expected(self) -> float | None:
        """The number that the claim leads one to expect; none where it is 0, or ever more."""
        number = self.stated if self.printed is None else self.printed
        return number if self.n and number and math.isfinite(number) else None

    @property
    def grid(self) -> str:
        """The settings over which the claim was tested, in words; empty if there are none."""
        if not self.cells:
            return f"all ({self.proof})" if self.proof else ""
        measured = f"{_grid(self.cells)}; {_counts(self.cells)} {self.counted} each"
        return f"all ({self.proof}), measured at {measured}" if self.proof else measured

    @property
    def worst(self) -> Cell | None:
        """The cell where the claim fares worst: where it fails, and furthest from it."""

        def badness(c: Cell) -> tuple[int, float]:
            return 2 - bool(c.holds or c.mended) - bool(c.holds), _distance(c.value, self.stated)

        return max(self.cells, key=badness, default=None)


def settings(axes: Mapping[str, Iterable[Any]]) -> list[dict[str, Any]]:
    """Return all combinations of the axes' values, a setting each.

    >>> settings({"loss": ["ce", "mse"], "K": [0.1]})
    [{'loss': 'ce', 'K': 0.1}, {'loss': 'mse', 'K': 0.1}]
    """
    return [dict(zip(axes, v, strict=True)) for v in itertools.product(*axes.values())]


def judge(cells: Sequence[Cell], *, may: bool = False) -> Verdict:
    """Return the verdict over a whole grid.

    A claim is reproduced if it holds in all cells, or all need no more than the correction; in
    part if it does in some; it differs if it does in none. A claim of possibility is reproduced if
    it holds in one; that it holds in none is not against it.

    Args:
        cells: One for each setting.
        may: Whether the claim says that something may happen, not that it does.

    Raises:
        ValueError: If there is no cell.
    """
    if not cells:
        raise ValueError("no cell, no verdict: give the settings at which the claim was tested")
    if may:
        return Verdict.REPRODUCED if any(c.holds for c in cells) else Verdict.NOT_SEEN
    if all(c.holds for c in cells):
        return Verdict.REPRODUCED
    good = [c.holds or c.mended for c in cells]
    if all(good):
        return Verdict.CORRECTED
    return Verdict.PARTLY if any(good) else Verdict.DIFFERS


def _grid(cells: Sequence[Cell]) -> str:
    """Name the axes of the cells, those with the same axes together."""
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for c in cells:
        groups.setdefault(tuple(c.setting), []).append(c)
    return "; and ".join(map(_axes, groups.values()))


def _axes(cells: Sequence[Cell]) -> str:
    """Name each axis with the values that occur, and how many of their combinations do."""
    axes = {name: dict.fromkeys(c.setting[name] for c in cells) for name in cells[0].setting}
    words = "; ".join(f"{_name(axis)} {_values(list(values))}" for axis, values in axes.items())
    full = math.prod(len(values) for values in axes.values())
    return words + (f" ({len(cells)} of {full} combinations)" if len(cells) < full else "")


def _values(values: list[Any]) -> str:
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if numbers and len(values) > FEW:
        return f"{_text(min(values))} to {_text(max(values))} ({len(values)} values)"
    return ", ".join(map(_text, sorted(values) if numbers else values))


def _name(axis: str) -> str:
    """Return an axis as the pages write it."""
    return {"batch_size": "|B|", "width": "N_w"}.get(axis, axis)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)


def _counts(cells: Sequence[Cell]) -> str:
    least, most = (f(c.n for c in cells) for f in (min, max))
    return f"{least}" if least == most else f"{least} to {most}"


def _distance(value: float, stated: float) -> float:
    """Return how far a number is from what is stated: by their ratio where it has a meaning."""
    if math.isinf(stated):
        return -value
    if stated == 0:
        return abs(value)
    return abs(math.log(value / stated)) if value / stated > 0 else math.inf


def _check_number(what: str, value: float, err: float, n: int) -> None:
    if not (math.isfinite(value) and math.isfinite(err)) or err < 0 or n < 1:
        raise ValueError(
            f"{what} needs a finite value, err >= 0 and n >= 1, not value={value}, err={err}, n={n}"
        )
