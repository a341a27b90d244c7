"""Does a NIN make a network robust to spoilt images, beside dropout and weight decay? The rule.

What is asked is what comes of the accuracy on spoilt test images (`nin.networks.corruptions`) at
equal accuracy on clean ones. The rule, fixed before any of it was seen:

1. A network's robust accuracy is the mean over all severities. A NIN is silent in ``eval()``.
2. The peers' frontier at a clean accuracy: the highest robust accuracy that dropout or weight decay
   has, on the line through its strengths from none on, with at least that clean accuracy
   (`nin.runs.frontiers`).
3. The phase of a strength is that of most of its runs; one that loses a run is divergent.
4. Decay and catapult, NIN drawn anew or fixed: four comparisons. In each the NIN leads by the mean,
   over the strengths found in the phase, of robust accuracy less the frontier at the same clean
   accuracy. "More robust" or "less robust" wants a 95 % interval by Student's law, shared by the
   four (Bonferroni), that does not hold zero; else "no difference".
5. A NIN makes networks more robust if it is so in all four, and in part if in some.

A second setting, chosen once the rule was there and before any of it was seen, asks the same of a
narrower network, other seeds and other severities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nin.runs.frontiers import advantage, frontier, half_interval
from nin.runs.phases import Phase
from nin.studies.robustness import BASE, Regularised, Robustness, noisy, robustness
from nin.studies.study import Shelf

K_VALUES = (1e-5, 0.01, 0.06, 0.1, 0.2, 0.3, 0.4, 0.7)
"""All phases, as found at another seed in twice as many epochs; accuracies were not looked at."""
DROPOUTS = (0.1, 0.2, 0.4, 0.6)
WEIGHT_DECAYS = (1e-3, 3e-3, 0.01, 0.03)
"""Up to where clean accuracy is lost: eta times the weight decay times the 1,580 steps is 2.4."""
JUDGED = (Phase.DECAY, Phase.CATAPULT)
FIRST, FIRST_SEEDS = Regularised(BASE), (0, 1, 2, 3, 4)
SECOND_SEVERITIES = tuple(
    (how, size)
    for how, sizes in {
        "noise": (0.15, 0.25),
        "blur": (1.0, 1.6),
        "contrast": (0.5, 0.3),
        "occlusion": (8.0, 12.0),
    }.items()
    for size in sizes
)
"""Between those of the first setting."""
SECOND = replace(FIRST, experiment=replace(BASE, width=64), severities=SECOND_SEVERITIES)
SECOND_SEEDS = (5, 6, 7, 8, 9)

Above = Callable[[Sequence[np.ndarray], float], float]


@dataclass(frozen=True)
class Lead:
    """A kind of NIN in one phase beside its peers at equal clean accuracy.

    Attributes:
        phase: The phase.
        fixed: The kind.
        strengths: How many were found there.
        value: How far it is ahead, in accuracy.
        err: Its standard error over seeds.
        half: Half of its interval.
    """

    phase: Phase
    fixed: bool
    strengths: int
    value: float
    err: float
    half: float

    @property
    def verdict(self) -> str:
        """What the interval says."""
        if not self.strengths:
            return "not found"
        if abs(self.value) <= self.half:
            return "no difference"
        return "more robust" if self.value > 0 else "less robust"


@dataclass(frozen=True)
class Contest:
    """Networks that differ in their regulariser alone, and what became of them.

    Attributes:
        plain: The one without.
        peers: By name, their strengths from none on.
        nins: By whether the NIN is fixed, their strengths.
        found: What became of each, and of the one without.
    """

    plain: Regularised
    peers: Mapping[str, Sequence[Regularised]]
    nins: Mapping[bool, Sequence[Regularised]]
    found: Mapping[Regularised, Robustness]

    def of(self, some: Sequence[Regularised]) -> list[Robustness]:
        """Return what became of some of the networks."""
        return [self.found[c] for c in some]

    @property
    def seeds(self) -> int:
        """How many networks of each kind there are."""
        return len(self.found[self.plain].clean)

    def leads(
        self,
        *peers: str,
        severities: slice | Sequence[int] = slice(None),
        above: Above = frontier,
    ) -> list[Lead]:
        """Return the four comparisons of the rule, or the same beside some of the peers.

        Args:
            *peers: Names of the peers; default: all. ``"none"`` is the network without.
            severities: Places of those that count, in `Regularised.severities`.
            above: As for `nin.runs.frontiers.advantage`.
        """
        known = {**self.peers, "none": [self.plain]}
        paths = [self.of(known[name]) for name in peers or self.peers]
        kinds = [(phase, fixed) for phase in JUDGED for fixed in self.nins]
        return [
            lead(self.of(self.nins[fixed]), fixed, phase, paths, severities, len(kinds), above)
            for phase, fixed in kinds
        ]

    def by_corruption(self) -> dict[str, list[Lead]]:
        """Return the comparisons for each corruption alone."""
        places: dict[str, list[int]] = {}
        for k, (how, _) in enumerate(self.plain.severities):
            places.setdefault(how, []).append(k)
        return {how: self.leads(severities=some) for how, some in places.items()}

    def worst(self) -> tuple[str, Lead]:
        """Return the least of the comparisons for each corruption alone, and the corruption's name.

        Raises:
            ValueError: If none was found.
        """
        each = [(how, x) for how, some in self.by_corruption().items() for x in some]
        if not any(x.strengths for _, x in each):
            raise ValueError("no strength in a judged phase: nothing to compare")
        return min((e for e in each if e[1].strengths), key=lambda e: e[1].value)


def contest(
    plain: Regularised,
    seeds: Sequence[int],
    shelf: Shelf,
    *,
    K: Sequence[float] = K_VALUES,
    dropouts: Sequence[float] = DROPOUTS,
    weight_decays: Sequence[float] = WEIGHT_DECAYS,
) -> Contest:
    """Train and test a network with every regulariser, or read from the records what came of it.

    Args:
        plain: The network without.
        seeds: Seeds of the runs.
        shelf: Where the records lie, and whether they may be made.
        K: Strengths of the noise.
        dropouts: Shares of units left out.
        weight_decays: Rates of decay.

    Raises:
        ValueError: As `nin.studies.robustness.robustness`.
        RecordError: As `nin.studies.robustness.robustness`.
    """
    peers = {
        "dropout": [plain, *(replace(plain, dropout=share) for share in dropouts)],
        "weight decay": [plain, *(replace(plain, weight_decay=rate) for rate in weight_decays)],
    }
    nins = {fixed: noisy(plain, K, fixed) for fixed in (False, True)}
    asked = [c for some in (*peers.values(), *nins.values()) for c in some]
    return Contest(plain, peers, nins, robustness(asked, seeds, shelf))


def lead(
    nins: Sequence[Robustness],
    fixed: bool,
    phase: Phase,
    peers: Sequence[Sequence[Robustness]],
    severities: slice | Sequence[int] = slice(None),
    comparisons: int = 4,
    above: Above = frontier,
) -> Lead:
    """Judge one kind of NIN in one phase by the rule above.

    Args:
        nins: All strengths of that kind.
        fixed: The kind, for the record.
        phase: The phase.
        peers: Of each peer all strengths, from none on.
        severities: Places of those that count, in `Regularised.severities`.
        comparisons: Intervals that share the error rate.
        above: As for `nin.runs.frontiers.advantage`.
    """
    found = [r.points(severities) for r in nins if r.phase is phase]
    if not found:
        return Lead(phase, fixed, 0, *[float("nan")] * 3)
    paths = [np.stack([r.points(severities) for r in peer], 1) for peer in peers]
    value, err = advantage(np.stack(found, 1), paths, above)
    half = half_interval(err, len(found[0]), comparisons)
    return Lead(phase, fixed, len(found), value, err, half)


def answer(leads: Sequence[Lead]) -> str:
    """Return the verdict over all comparisons: ``"yes"``, ``"in part"`` or ``"no"``."""
    more = [c.verdict == "more robust" for c in leads]
    return "yes" if all(more) else "in part" if any(more) else "no"
