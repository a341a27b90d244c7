"""The loop on a GPU: steps replayed beside the same steps launched kernel by kernel; and all runs.

Both kinds of step take turns of a hundred in one process, each waited for as the loop waits for it.
What to read is the ratio, the median over the turns; TFLOP/s are of the products of all runs. Then
every run on record is trained anew, in lock-step, and its phase compared with that of the record.

    python benchmarks/gpu.py [--rounds 9] [--runs FOLDER] > benchmarks/measured_gpu.txt

The new runs stay in FOLDER, if one is named.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from nin.folders import RESULTS
from nin.networks.mlp_stack import MLPStack
from nin.networks.replayed import Replayed
from nin.networks.seeds import generator
from nin.networks.training import Stack
from nin.runs.phases import classify_phase
from nin.studies.experiments import FIG1, FIG3, Experiment
from nin.studies.records import provenance
from nin.studies.run import RUNS, run_or_load, run_records
from nin.studies.study import images_of

TURN = 100  # steps
NETS = {"Fig. 1, batches of 128": FIG1, "Fig. 3, batches of 1000": FIG3}


def main() -> None:
    """Print the ratios, and the times and phases of all runs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--runs", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("PyTorch sees no GPU here")
    torch.set_num_threads(1)
    made = provenance("cuda")
    print(f"{made['device']}, torch {made['torch']}, commit {made['commit']}, {made['utc']} UTC")
    print(f"\ngpu: steps of runs in lock-step; medians over {options.rounds} turns of {TURN}")
    print(f"{'':32}{'ms launched':>13}{'ms replayed':>13}{'ratio':>7}{'TFLOP/s':>9}")
    for name, e in NETS.items():
        for runs in (1, 4, 16, 48):
            report(f"{name}, R={runs}", e, runs, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        train_all(options.runs or Path(folder))


def report(name: str, e: Experiment, runs: int, rounds: int) -> None:
    """Print how long a step of some runs takes, launched and replayed."""
    models = [dataclasses.replace(e.at(0.1), seed=s).network().cuda() for s in range(runs)]
    stacks: tuple[Stack, Stack] = (
        MLPStack(models, e.criterion(), e.eta, e.precision),
        Replayed(MLPStack(models, e.criterion(), e.eta, e.precision)),
    )
    data = images_of(e).to("cuda")
    g = generator(0, "batches")
    index = torch.randint(e.n_train, (TURN, runs, e.batch_size), generator=g).cuda()
    eps = torch.randn(TURN, runs, e.batch_size, generator=g).cuda()

    def turn(stack: Stack) -> float:
        begun = time.perf_counter()
        for k in range(TURN):
            stack.step(data.train_x, data.train_y, index[k], eps[k])[0].tolist()
        return (time.perf_counter() - begun) / TURN

    times = [[turn(stack) for stack in stacks] for _ in range(rounds + 1)][1:]
    launched, replayed = (statistics.median(t) for t in zip(*times, strict=True))
    ratio = statistics.median(a / b for a, b in times)
    weights = e.width * (e.d_in + (e.depth - 1) * e.width + e.d_out)
    products = (6 * weights - 2 * e.width * e.d_in) * e.batch_size * runs
    print(
        f"{name:32}{1e3 * launched:13.2f}{1e3 * replayed:13.2f}{ratio:7.2f}"
        f"{products / replayed / 1e12:9.1f}",
        flush=True,
    )


def train_all(folder: Path) -> None:
    """Train every run on record anew, and print how long that took and which phases are others."""
    rows: dict[str, list[Experiment]] = defaultdict(list)
    for path in sorted(RESULTS.glob("*.npz")):
        with np.load(path) as record:
            e = Experiment(**json.loads(str(record["meta"]))["asked"])
        rows[f"{e.loss}, depth {e.depth}, {e.epochs} epochs, {e.precision}"].append(e)
    every = [e for runs in rows.values() for e in runs]
    both = run_records(every, RUNS), run_or_load(every, folder=folder, progress=False)
    pairs = dict(zip(every, zip(*both, strict=True), strict=True))
    phases = {e: [classify_phase(r.history).phase for r in pair] for e, pair in pairs.items()}
    print("\nruns: all on record, trained anew")
    print(f"{'':40}{'runs':>5}{'s':>8}{'s on record':>13}{'same phase':>12}")
    for what, runs in {**rows, "all": every}.items():
        before, after = (sum(float(pairs[e][i].made["seconds"]) for e in runs) for i in (0, 1))
        same = sum(len(set(phases[e])) == 1 for e in runs)
        print(f"{what:40}{len(runs):5}{after:8.1f}{before:13,.0f}{same:12}")
    for e, (before_it, after_it) in phases.items():
        if before_it != after_it:
            kind = "fixed" if e.fixed else "re-randomised"
            print(
                f"{e.loss}, depth {e.depth}, {e.epochs} epochs, K = {e.K:.3g}, {kind}, "
                f"seed {e.seed}: {before_it} on record, {after_it} here."
            )


if __name__ == "__main__":
    main()
