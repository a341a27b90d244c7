"""The paper's claims, each with a test that computes its verdict.

One source for the ledger page, ``python -m nin claims`` and the tests: a claim is a function
decorated with `claim` that returns a `Finding`. Nothing here is typed by hand that a computation
can give.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import os
import pkgutil
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from nin.companion import claims
from nin.folders import RESULTS
from nin.networks.data import DataError
from nin.runs.averages import mean
from nin.studies.records import RecordError, source_hash, write_whole

SIGMAS = 5.0
"""A measurement excludes a value that is further away than this many standard errors."""


class Verdict(StrEnum):
    """What our test of a claim says."""

    REPRODUCED = "reproduced"
    CORRECTED = "reproduced with a correction"
    DIFFERS = "differs"
    NOT_TESTED = "not tested"
    NOT_COMPUTED = "not computed"


@dataclass(frozen=True)
class Finding:
    """The outcome of one test.

    Attributes:
        verdict: What the number means for the claim.
        says: One sentence that a reader of the ledger understands, without the number.
        value: The measured number, in the unit that `quantity` names.
        err: One standard error of `value`; 0 for an exact (symbolic) result.
        n: How many independent runs or draws stand behind `value`; 0 where the test failed, and
            `says` tells why.
        quantity: What `value` is, with its unit.
    """

    verdict: Verdict
    says: str
    value: float
    err: float
    n: int
    quantity: str

    @classmethod
    def of(cls, verdict: Verdict, says: str, values: npt.ArrayLike, quantity: str) -> Finding:
        """Make a finding of the mean of independent values; that of hits is a share."""
        return cls(verdict, says, *mean(values), len(np.asarray(values)), quantity)

    def __post_init__(self) -> None:
        """Refuse a finding without a usable number.

        Raises:
            ValueError: If `value` or `err` is not finite, `err` is negative, or `n` < 1.
        """
        if self.verdict == Verdict.NOT_COMPUTED:
            return
        if (
            not (math.isfinite(self.value) and math.isfinite(self.err))
            or self.err < 0
            or self.n < 1
        ):
            raise ValueError(
                f"a finding needs a finite value, err >= 0 and n >= 1, "
                f"not value={self.value}, err={self.err}, n={self.n}"
            )


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, in our words, and the test of it.

    Attributes:
        id: Short and stable, such as ``"C20"``.
        words: The claim, in our words.
        place: Where the paper makes it, such as ``"Fig. 3, Table 1"``.
        page: The book page that shows the evidence, such as ``"figures/fig3_phases_ce"``.
        test: Computes the finding.
    """

    id: str
    words: str
    place: str
    page: str
    test: Callable[[], Finding]

    @cached_property
    def finding(self) -> Finding:
        """The finding, computed once; a test that fails hides no other's verdict."""
        kept = os.environ.get("NIN_FINDINGS")  # the parts of one build share what they compute
        ours = self.test.__module__.startswith(claims.__name__)
        path = Path(kept) / f"{self.id}-{_state()}.json" if kept and ours else None
        if path is not None and path.exists():
            found = json.loads(path.read_text(encoding="utf8"))
            return Finding(**found | {"verdict": Verdict(found["verdict"])})
        found = self._computed()
        if path is not None and found.verdict != Verdict.NOT_COMPUTED:
            write_whole(path, json.dumps(asdict(found)).encode())
        return found

    def _computed(self) -> Finding:
        try:
            return self.test()
        except Exception as error:  # whatever it is, the other claims stand
            says = " ".join(str(error).split()) or "no reason was given"
            if not isinstance(error, RecordError | DataError):
                says = f"{type(error).__name__}: {says}"
            return Finding(Verdict.NOT_COMPUTED, says, math.nan, math.nan, 0, "")

    def __str__(self) -> str:
        """Return claim, verdict and number as text."""
        f = self.finding
        text = f"{self.id} ({self.place}): {self.words}\n    {f.verdict}: {f.says}"
        if f.verdict == Verdict.NOT_COMPUTED:
            return text
        return f"{text}\n    {f.quantity}: {f.value:.4g} +- {f.err:.2g} (n = {f.n})"


@lru_cache(maxsize=1)
def _state() -> str:
    """Return a hash of all that findings follow from: package, libraries, committed records."""
    files = sorted((str(f), f.stat().st_mtime_ns) for f in RESULTS.rglob("*.npz"))
    text = json.dumps([source_hash(), torch.__version__, np.__version__, files])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


_CLAIMS: dict[str, Claim] = {}


def claim(id: str, words: str, place: str, page: str) -> Callable[[Callable[[], Finding]], Claim]:
    """Enter a test into the ledger.

    Args:
        id: The claim's id; entered once only.
        words: The claim, in our words.
        place: Where the paper makes it.
        page: The page that shows the evidence, without suffix, below ``book/``.

    Returns:
        A decorator that turns the test into a `Claim`.

    Raises:
        ValueError: If the id is taken.
    """

    def enter(test: Callable[[], Finding]) -> Claim:
        if id in _CLAIMS:
            raise ValueError(f"claim {id} is already in the ledger: give the new one its own id")
        _CLAIMS[id] = Claim(id, words, place, page, test)
        return _CLAIMS[id]

    return enter


def ledger() -> list[Claim]:
    """Return every claim, in the order of their ids: C3, C14-CE, C20, EQ2."""
    for module in pkgutil.iter_modules(claims.__path__):  # each enters its claims
        importlib.import_module(f"{claims.__name__}.{module.name}")

    def order(c: Claim) -> tuple[str, int, str]:
        letters, digits, rest = re.match(r"(\D*)(\d*)(.*)", c.id).groups()  # type: ignore[union-attr]
        return letters, int(digits or 0), rest

    return sorted(_CLAIMS.values(), key=order)
