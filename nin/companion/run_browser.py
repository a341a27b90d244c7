"""The committed runs, thinned for the page that lets a reader browse them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence

import numpy as np

from nin.companion.claims.table1 import swept
from nin.runs.averages import course
from nin.runs.decay_fit import fit_decay
from nin.runs.history import History
from nin.runs.phases import Phase, classify_phase
from nin.runs.times import decay_times, initial_time
from nin.studies.experiments import (
    FIG1_RIGHT,
    FIG1_RIGHT_K,
    FIG1_SWEEP,
    FIG1_SWEEP_K,
    Experiment,
    longer,
)  # fmt: skip
from nin.studies.run import recorded

SEEDS = (0, 1, 2)
DIGITS = 4
RECORDS_PER_DECADE = 16
"""Of the noisy quantities; all of the first ten steps are kept."""


@dataclasses.dataclass(frozen=True)
class Family:
    """Runs of one figure that differ in noise and seed.

    Attributes:
        title: What to call them.
        page: The figure page that trains them.
        strengths: The experiments, by rising noise; their seeds and kinds are of no account.
        kinds: Whether the node is fixed, for each kind that was run.
    """

    title: str
    page: str
    strengths: tuple[Experiment, ...]
    kinds: tuple[bool, ...] = (False,)

    @property
    def K(self) -> list[float]:  # noqa: N802  (the book's symbol)
        """Their noise variances in Table 1's unit."""
        return [float(f"{e.K:.6g}") for e in self.strengths]


FAMILIES = {
    "fig1": Family(
        "Fig. 1 (right): runs of three epochs", "figures/fig1_timescales",
        tuple(FIG1_SWEEP.at(k) for k in FIG1_SWEEP_K), (False, True),
    ),
    "long": Family(
        "Fig. 1 (center and right): runs to the end", "figures/fig1_timescales",
        tuple(longer(FIG1_RIGHT.at(k)) for k in FIG1_RIGHT_K), (False, True),
    ),
    "fig2": Family(
        "Fig. 2: one layer, squared error", "figures/fig2_phases_mse",
        tuple(swept("fig2").values()),
    ),
    "fig3": Family(
        "Fig. 3: one layer, cross-entropy", "figures/fig3_phases_ce",
        tuple(swept("fig3").values()),
    ),
}  # fmt: skip


def _fitted(runs: Sequence[History], quantity: str) -> list[float]:
    try:
        return [float(fit_decay(*course(runs, quantity)).tau)]
    except ValueError:  # too few records in the window, or nothing that falls
        return [float("inf")]


DEFINITIONS: dict[str, Callable[[Sequence[History], str], Sequence[float]]] = {
    "a fall to 1/e": lambda runs, q: list(decay_times(runs, q, np.exp(-1))),
    "a fall to the half, over ln 2": lambda runs, q: list(decay_times(runs, q, 0.5)),
    "the slope at the start": lambda runs, q: list(initial_time(*course(runs, q)).each),
    "the fit of an exponential": _fitted,
}
"""How to tell the decay times of runs that differ in seed; a fit has one for all of them.

All are the same for an exponential that falls to 0.
"""
QUANTITIES = ("w_ni", "train_loss")


def times_by_definition(runs: Sequence[History]) -> dict[str, list[list[float | None]]]:
    """Return the decay times of each quantity by each of `DEFINITIONS`, none where a run diverged.

    Args:
        runs: Alike in all but their seed.

    Returns:
        By quantity, for each definition the times in steps; None where a run does not decay.
    """
    if any(h.diverged_step is not None for h in runs):
        return {q: [[] for _ in DEFINITIONS] for q in QUANTITIES}
    return {q: [_shorts(times(runs, q)) for times in DEFINITIONS.values()] for q in QUANTITIES}


def thinned(history: History) -> dict[str, object]:
    """Return a run's course at fewer steps, each value to `DIGITS` digits, and its phase."""
    at = history.step
    steps = np.unique(np.rint(np.geomspace(1, at[-1] + 1, int(RECORDS_PER_DECADE * 4))) - 1)
    kept = np.unique(np.searchsorted(at, steps[steps <= at[-1]]))
    clean = np.isfinite(history.train_loss)
    return {
        "step": at[kept].tolist(),
        "w_ni": _shorts(history.w_ni[kept] / history.w_ni[0]),
        "loss": _shorts(history.loss[kept]),
        "eval_step": history.eval_step[clean].tolist(),
        "train_loss": _shorts(history.train_loss[clean]),
        "phase": list(Phase).index(classify_phase(history).phase),
    }


def browser_data() -> dict[str, object]:
    """Return all that the page needs, as JSON has it.

    Raises:
        MissingRecordError: If a run of `FAMILIES` is not on record.
    """
    families = {}
    for name, family in FAMILIES.items():
        runs: list[dict[str, object]] = []
        times: list[dict[str, list[list[float | None]]]] = []
        for fixed in family.kinds:
            for e in family.strengths:
                same = [dataclasses.replace(e, seed=seed, fixed=fixed) for seed in SEEDS]
                histories = recorded(same, family.page)
                runs.extend(map(thinned, histories))
                if name == "fig1":
                    times.append(times_by_definition(histories))
        families[name] = {
            "title": family.title,
            "K": family.K,
            "sigma_eps": _shorts([e.sigma_eps for e in family.strengths]),
            "kinds": ["fixed" if fixed else "fresh" for fixed in family.kinds],
            "runs": runs,  # by kind, strength and seed
            "times": times,  # by kind and strength
        }
    return {"families": families, "seeds": SEEDS, "definitions": list(DEFINITIONS)}


def browser_script() -> str:
    """Return the script that holds the runs."""
    data = json.dumps(browser_data(), separators=(",", ":"), allow_nan=False)
    return f"globalThis.ninRuns = {data};\n"


def _short(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None


def _shorts(values: Sequence[float] | np.ndarray) -> list[float | None]:
    return [_short(float(v)) for v in values]
