"""Updates of the linear model's three weights per second of one core, drawing included.

    python benchmarks/linear.py [--runs 100000] [--steps 100] [--rounds 5]

Contenders, all in Wishart mode from the same initial weights, one thread:
  nin        `nin.linear.model.simulate`, from arguments to result
  numpy      a loop over steps; each draws and moves all runs as arrays, by the same compiled step
  python     a loop over runs and steps in plain Python, on fewer runs

And what bounds it: the compiled loop with nothing to draw, and with one number a step. Times are
those of the processor, so that other work on the machine counts little; the best round counts.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import time
from collections.abc import Callable

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import numpy as np

from nin.linear.model import simulate, step

ETA, M, SIGMA_EPS, BATCH = 0.01, 1.0, 5.0, 100


def start(runs: int) -> np.ndarray:
    """Return initial (w1, u, w0), (3, runs), of Fig. 2 (top)."""
    return np.random.default_rng(0).normal(size=(3, runs)) * [[1.0], [0.1], [0.1]]


def ours(runs: int, steps: int, noise: str = "wishart") -> None:
    """Simulate with the package."""
    w1, u, w0 = start(runs)
    simulate(
        w1=w1, u=u, w0=w0, sigma_eps=SIGMA_EPS, eta=ETA, batch_size=BATCH, steps=steps, noise=noise
    )


def numpy_loop(runs: int, steps: int) -> None:
    """Simulate all runs at once, step by step."""
    g, weights = np.random.default_rng(0), start(runs)
    with np.errstate(over="ignore", invalid="ignore"):  # runs that diverge
        for _ in range(steps):
            xx, across = g.chisquare(BATCH, runs), g.standard_normal(runs)
            ee = across**2 + g.chisquare(BATCH - 1, runs)
            moments = (
                xx / BATCH,
                SIGMA_EPS * np.sqrt(xx) * across / BATCH,
                SIGMA_EPS**2 * ee / BATCH,
            )
            weights = step(*weights, M, ETA, *moments)


def python_loop(runs: int, steps: int) -> None:
    """Simulate number by number."""
    for initial in start(runs).T.tolist():
        weights = initial
        for _ in range(steps):
            xx, across = random.gammavariate(BATCH / 2, 2), random.gauss()
            ee = across**2 + random.gammavariate((BATCH - 1) / 2, 2)
            moments = (
                xx / BATCH,
                SIGMA_EPS * math.sqrt(xx) * across / BATCH,
                SIGMA_EPS**2 * ee / BATCH,
            )
            weights = step(*weights, M, ETA, *moments)
            if not max(map(abs, weights)) < 1e60:
                break


def speed(f: Callable[..., None], runs: int, steps: int, rounds: int, *more: str) -> float:
    """Return the updates per second of the best round, after one to compile."""
    f(10, 1, *more)
    seconds = []
    for _ in range(rounds):
        began = time.process_time()
        f(runs, steps, *more)
        seconds.append(time.process_time() - began)
    return runs * steps / min(seconds)


def main() -> None:
    """Measure the contenders and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    o = parser.parse_args()
    rows = {
        "nin": speed(ours, o.runs, o.steps, o.rounds),
        "numpy": speed(numpy_loop, o.runs, o.steps, o.rounds),
        "python": speed(python_loop, max(1, o.runs // 1000), o.steps, o.rounds),
        "one number a step": speed(ours, o.runs, o.steps, o.rounds, "eq3"),
        "no random numbers": speed(ours, o.runs, o.steps, o.rounds, "none"),
    }
    print(f"linear model: {o.runs} runs, {o.steps} steps, |B| = {BATCH}, best of {o.rounds}")
    print(f"{'':20}{'updates/s/core':>16}{'ns/update':>11}{'/ python':>10}")
    for name, value in rows.items():
        print(f"{name:20}{value:16,.0f}{1e9 / value:11.1f}{value / rows['python']:10.1f}")
    drawing = 1 - rows["nin"] / rows["no random numbers"]
    print(
        f"drawing normal and chi-squared numbers takes {drawing:.0%} of the time; memory is not a"
    )
    print("bound: a run's weights stay in registers from its first step to its last.")


if __name__ == "__main__":
    main()
