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
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from nin.companion import claims
from nin.companion.claims.finding import Cell, Finding, Verdict
from nin.folders import FINDINGS, RESULTS
from nin.studies.records import RecordError, source_hash, write_whole

SIGMAS = 5.0
"""A measurement excludes a value that is further away than this many standard errors."""
_PLACE = re.compile(
    r"(Sec|App|Fig|Eq|Table|Footnote)s?(\.?) (\(?\w+\)?(?:, \(?\d+\)?)*)", re.IGNORECASE
)


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, in our words, and the test of it.

    Attributes:
        id: Short and stable, such as ``"C20"``.
        words: The claim, in our words.
        place: Where the paper makes it, such as ``"Fig. 3, Table 1"``.
        shown: Where the book shows the evidence: a page and, as a rule, a label on it, such as
            ``"figures/fig3_phases_ce#fig-phases-ce"``.
        test: Computes the finding.
    """

    id: str
    words: str
    place: str
    shown: str
    test: Callable[[], Finding]

    @property
    def page(self) -> str:
        """The page that shows the evidence, without its suffix, below ``book/``."""
        return self.shown.partition("#")[0]

    @property
    def places(self) -> list[str]:
        """The sections, figures and the like that `place` names, each alone.

        >>> Claim("C0", "", "Secs. 4, 5, caption of Fig. 2 (top), Eqs. (2), (8)", "", ...).places
        ['Sec. 4', 'Sec. 5', 'Fig. 2', 'Eq. 2', 'Eq. 8']
        """
        found = ["Abstract"] if "abstract" in self.place else []
        for kind, dot, numbers in _PLACE.findall(self.place):
            found += [f"{kind.capitalize()}{dot} {n}" for n in re.findall(r"\d+|[A-D]", numbers)]
        return found

    @cached_property
    def finding(self) -> Finding:
        """The finding, computed once and kept; a test that fails hides no other's verdict.

        What is kept is of the same source, libraries and records, or is computed again.
        """
        kept = Path(os.environ.get("NIN_FINDINGS") or FINDINGS)
        ours = self.test.__module__.startswith(claims.__name__)
        path = kept / f"{self.id}-{_state()}.json" if ours else None
        if path is not None and path.exists():
            found = json.loads(path.read_text(encoding="utf8"))
            cells = tuple(Cell(**cell) for cell in found["cells"])
            return Finding(**found | {"verdict": Verdict(found["verdict"]), "cells": cells})
        found = self._computed()
        if path is not None and found.verdict != Verdict.NOT_COMPUTED:
            with suppress(OSError):  # it is computed again where nothing can be kept
                write_whole(path, json.dumps(asdict(found)).encode())
        return found

    def _computed(self) -> Finding:
        try:
            return self.test()
        except Exception as error:  # whatever it is, the other claims stand
            from nin.networks.data import DataError  # noqa: PLC0415  (PyTorch takes seconds)

            says = " ".join(str(error).split()) or "no reason was given"
            if not isinstance(error, RecordError | DataError):
                says = f"{type(error).__name__}: {says}"
            return Finding(Verdict.NOT_COMPUTED, says, math.nan, math.nan, 0, "")

    def __str__(self) -> str:
        """Return claim, verdict, number, grid and worst cell as text."""
        f = self.finding
        text = f"{self.id} ({self.place}): {self.words}\n    {f.verdict}: {f.says}"
        if f.verdict == Verdict.NOT_COMPUTED:
            return text
        text = f"{text}\n    {f.quantity}: {f.value:.4g} ± {f.err:.2g} (n = {f.n})"
        return f"{text}\n    grid: {f.grid}\n    worst: {f.worst or 'none'}"


@lru_cache(maxsize=1)
def _state() -> str:
    """Return a hash of all that findings follow from: package, libraries, committed records."""
    files = sorted((str(f), f.stat().st_mtime_ns) for f in RESULTS.rglob("*.npz"))
    text = json.dumps([source_hash(), version("torch"), np.__version__, files])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


_CLAIMS: dict[str, Claim] = {}


def claim(id: str, words: str, place: str, shown: str) -> Callable[[Callable[[], Finding]], Claim]:
    """Enter a test into the ledger.

    Args:
        id: The claim's id; entered once only.
        words: The claim, in our words.
        place: Where the paper makes it.
        shown: Where the book shows the evidence, as for `Claim`.

    Returns:
        A decorator that turns the test into a `Claim`.

    Raises:
        ValueError: If the id is taken.
    """

    def enter(test: Callable[[], Finding]) -> Claim:
        if id in _CLAIMS:
            raise ValueError(f"claim {id} is already in the ledger: give the new one its own id")
        _CLAIMS[id] = Claim(id, words, place, shown, test)
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
