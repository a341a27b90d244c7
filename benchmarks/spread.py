"""What a second process brings: units per second of two workers over twice those of one.

One worker and two take turns, both warm: each process has one thread, and has read its data once
before the clock starts. The efficiency is of the clock on the wall, best rounds; other work on the
machine takes from it, so the load is told, and beside it what the processor alone says: its seconds
for a unit with one worker over those with two.

    python benchmarks/spread.py [--rounds 3]

Units:
  runs       an epoch of Fig. 2's network
  searches   the border of divergence of a network of 256 neurons, from its closed form
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from nin.studies.borders.search import find_borders
from nin.studies.experiments import FIG2, Experiment
from nin.studies.records import provenance
from nin.studies.study import Shelf, images_of, train_runs
from nin.studies.sweep import spread

UNITS = 8


def main() -> None:
    """Measure both kinds of unit and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    made = provenance("cpu")
    print(f"{made['device']}, torch {made['torch']}, commit {made['commit']}, {made['utc']} UTC")
    with workers(1) as one, workers(2) as two:
        rows = {name: compare(unit, one, two, rounds) for name, unit in KINDS.items()}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"\nspread: {UNITS} units, best of {rounds}; {os.cpu_count()} cores, load {load:.1f}")
    print(f"{'':12}{'units/s':>10}{'with two':>10}{'efficiency':>12}{'by processor':>14}")
    for name, row in rows.items():
        print(f"{name:12}{row[0]:10.2f}{row[1]:10.2f}{row[1] / row[0] / 2:12.2f}{row[2]:14.2f}")


@contextmanager
def workers(n: int) -> Iterator[Executor]:
    """Start processes that have read the data."""
    with ProcessPoolExecutor(n, mp_context=multiprocessing.get_context("spawn")) as executor:
        spread(warm, range(4 * n), executor=executor, progress=False)
        yield executor


def warm(_: int) -> None:
    """Read the images, unless that was done, and let the other workers have their turn."""
    images_of(FIG2)
    time.sleep(1)


def compare(
    unit: Callable[[int], float], one: Executor, two: Executor, rounds: int
) -> tuple[float, float, float]:
    """Return units per second of one worker and of two, and the ratio by the processor's time."""
    spent: dict[Executor, list[tuple[float, float]]] = {one: [], two: []}
    for _ in range(rounds):
        for executor, found in spent.items():
            began = time.perf_counter()
            own = spread(unit, range(UNITS), executor=executor, progress=False)
            found.append((time.perf_counter() - began, sum(own)))
    (alone, cpu_alone), (beside, cpu_beside) = (
        [min(column) for column in zip(*found, strict=True)] for found in spent.values()
    )
    return UNITS / alone, UNITS / beside, cpu_alone / cpu_beside


def run(seed: int) -> float:
    """Train for an epoch; return the processor's seconds."""
    return timed(lambda: train_runs([replace(FIG2.at(1.0), seed=seed, epochs=1, evaluations=1)]))


def search(seed: int) -> float:
    """Find a border anew; return the processor's seconds."""
    with tempfile.TemporaryDirectory() as folder:
        shelf = Shelf(Path(folder), "", workers=1, progress=False)
        return timed(lambda: find_borders([SMALL], ["divergent"], [seed], 84, shelf))


def timed(call: Callable[[], object]) -> float:
    """Return the processor's seconds of a call."""
    began = time.process_time()
    call()
    return time.process_time() - began


SMALL: Experiment = replace(FIG2, width=256, batch_size=128)
KINDS: dict[str, Callable[[int], float]] = {"runs": run, "searches": search}

if __name__ == "__main__":
    main()
