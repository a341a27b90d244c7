"""Samples per second of our training loop beside its bound and beside other loops.

Each contender has a process of its own with one thread; two such processes at once, so that the
figures are those of a machine with both cores at work. In each the contender and the bound take
turns of about a second, both warm, from one step of the contender's loop to the next; times are the
processor's. What to read are the ratios to the bound, each the median over the turns of a process:
absolute speeds change with the machine and the hour.

    python benchmarks/run.py [--seconds 20] [--rounds 3] [--only fig1|fig2]

Contenders:
  bound      the bare matrix products of one step, forward and backward, into arrays made before;
             beside eight runs in lock-step, over the weights and inputs of eight
  nin        `nin.train` on one run: batches, noise, loss, update, logs
  nin R=8    the same on eight runs in lock-step, samples of all runs counted
  nin bf16   the same on one run with precision="bf16"
  dataloader the loop one would write first: DataLoader over torchvision's FashionMNIST with
             ToTensor and Normalize, nn.Module, torch.optim.SGD, .item() at each step
  lightning  the same network and data in memory under Lightning's Trainer
  keras      the same under Keras's model.fit, torch backend
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "KERAS_BACKEND": "torch"}
NETS = ("fig1", "fig2")


def main() -> None:
    """Measure every contender for both networks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="per contender and round")
    parser.add_argument("--rounds", type=int, default=3, help="times each contender is measured")
    parser.add_argument("--only", choices=NETS, help="one network only")
    parser.add_argument("--worker", nargs=2, metavar=("NET", "CONTENDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(*options.worker, options.seconds)))
        return
    from nin.studies.records import provenance  # noqa: PLC0415  (its torch is not what a worker measures)

    made = provenance("cpu")
    print(f"{made['device']}, torch {made['torch']}, commit {made['commit']}, {made['utc']} UTC")
    for net in [options.only] if options.only else NETS:
        found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
        for _ in range(options.rounds):
            for name in CONTENDERS:
                found[name] += side_by_side(net, name, options.seconds)
        report(net, found)


def side_by_side(net: str, contender: str, seconds: float) -> list[dict[str, float]]:
    """Run a contender in two processes at once; return what both measured."""
    command = [sys.executable, __file__, "--worker", net, contender, "--seconds", str(seconds)]
    environment = os.environ | THREADS
    workers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
        for _ in range(2)
    ]
    outputs = [worker.communicate()[0] for worker in workers]
    if any(worker.returncode for worker in workers):
        raise SystemExit(f"{contender} failed on {net}")
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def report(net: str, found: dict[str, list[dict[str, float]]]) -> None:
    """Print a contender's median speed per core and its ratios to the bound and the first loop."""
    print(f"\n{net}: {DESCRIPTIONS[net]}; {len(found['nin'])} measurements each")
    print(
        f"{'':12}{'samples/s/core':>16}{'/ bound':>9}{'min - max':>15}{'/ dataloader':>14}{'GB':>7}"
    )
    slow = statistics.median(m["of"] for m in found["dataloader"])
    for name, measured in found.items():
        ratios = [m["of"] for m in measured]
        of_bound = statistics.median(ratios)
        print(
            f"{name:12}{statistics.median(m['speed'] for m in measured):16,.0f}"
            f"{of_bound:9.2f}{min(ratios):8.2f} -{max(ratios):5.2f}{of_bound / slow:14.2f}"
            f"{max(m['gb'] for m in measured):7.2f}",
            flush=True,
        )


def measure(net: str, contender: str, seconds: float) -> dict[str, float]:
    """Let a contender and the bound take turns for `seconds`.

    Returns:
        Samples per second of the contender and what that is of the bound's, medians over the turns,
        and peak memory.
    """
    import torch  # noqa: PLC0415  (only the workers need it)

    torch.set_num_threads(1)
    runs = RUNS.get(contender, 1)
    turns = Turns(bound(net, runs), TURN // runs, seconds)
    with contextlib.suppress(TimeoutError):
        CONTENDERS[contender](net, turns.step)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    samples = TURN * _experiment(net).batch_size
    return {
        "speed": samples / statistics.median(own for own, _ in turns.times),
        "of": statistics.median(least / own for own, least in turns.times),
        "gb": peak,
    }


class Turns:
    """Times a contender's turns and, after each, the bound's turn of as many steps.

    Attributes:
        times: The processor's time of both in each turn, without the first, in which they warm up.
    """

    def __init__(self, bare: Callable[[], object], steps: int, seconds: float) -> None:
        """Take what does a step of the bound, the steps of a turn, and the time for all turns."""
        self.bare, self.steps, self.end = bare, steps, time.perf_counter() + seconds
        self.times: list[tuple[float, float]] = []
        self.left, self.warm, self.begun = steps, False, time.process_time()

    def step(self) -> None:
        """Count a step of the contender; raise `TimeoutError` when it has had its time."""
        self.left -= 1
        if self.left:
            return
        between = time.process_time()
        for _ in range(self.steps):
            self.bare()
        if self.warm:
            self.times.append((between - self.begun, time.process_time() - between))
        if self.times and time.perf_counter() > self.end:
            raise TimeoutError
        self.left, self.warm, self.begun = self.steps, True, time.process_time()


# Each contender below trains without end and calls `after` at each of its steps.


def bound(net: str, runs: int = 1) -> Callable[[], None]:
    """Return what does the matrix products alone of one step of all runs together.

    Each run has weights and inputs of its own. The bound must not be the slower way: one product
    over all runs is 1 to 4 % faster than one after another, from one set of arrays or from eight,
    and rows 16 numbers apart from each other are 2 to 4 % faster than rows whose lengths are powers
    of two.
    """
    import torch  # noqa: PLC0415

    e = _experiment(net)
    sizes = [784, *[e.width] * e.depth, 10]

    def rows(n: int, d: int) -> torch.Tensor:
        return torch.randn(runs, n, d + 16)[..., :d]

    weights, gradients = ([rows(b, a) for a, b in itertools.pairwise(sizes)] for _ in range(2))
    inputs, outputs = ([rows(e.batch_size, size) for size in sizes] for _ in range(2))

    def step() -> None:
        for i, w in enumerate(weights):
            torch.bmm(inputs[i], w.mT, out=outputs[i + 1])
        for i in reversed(range(len(weights))):
            torch.bmm(inputs[i + 1].mT, inputs[i], out=gradients[i])
            if i:
                torch.bmm(inputs[i + 1], weights[i], out=outputs[i])

    return step


def bare(net: str, after: Callable[[], None]) -> None:
    """The bound beside itself."""
    step = bound(net)
    while True:
        step()
        after()


def ours(net: str, after: Callable[[], None], runs: int = 1, precision: str = "float32") -> None:
    """`nin.train` in the middle of a run."""
    from nin.networks.data import load  # noqa: PLC0415
    from nin.networks.log import DENSE_STEPS  # noqa: PLC0415
    from nin.networks.training import train  # noqa: PLC0415

    class Steps:
        def __contains__(self, step: object) -> bool:
            after()
            return False

    class Clock:  # an observer that asks before each step and looks at none
        steps = Steps()

    e, data = _experiment(net), load()
    train(
        [e.network() for _ in range(runs)],
        data,
        loss=e.criterion(),
        eta=e.eta,
        batch_size=e.batch_size,
        epochs=EPOCHS,
        first_epoch=-(-DENSE_STEPS * e.batch_size // len(data.train_x)),
        precision=precision,
        evaluations=0,
        progress=False,
        observer=Clock(),
    )


def dataloader(net: str, after: Callable[[], None]) -> None:
    """The loop one would write first, node included."""
    import torch  # noqa: PLC0415
    from torch.utils.data import DataLoader  # noqa: PLC0415
    from torchvision import transforms  # noqa: PLC0415
    from torchvision.datasets import FashionMNIST  # noqa: PLC0415

    from nin.networks.data import prepare  # noqa: PLC0415

    e = _experiment(net)
    model, criterion = e.network(), _criterion(net)
    to_input = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize(0.286, 0.353), torch.flatten]
    )
    images = FashionMNIST(str(prepare()), transform=to_input)
    loader = DataLoader(images, batch_size=e.batch_size, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=e.eta)
    total = 0.0
    while True:
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
            after()


def lightning(net: str, after: Callable[[], None]) -> None:
    """Lightning's Trainer on tensors in memory."""
    import logging  # noqa: PLC0415
    import warnings  # noqa: PLC0415

    import lightning as pl  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from torch.utils.data import DataLoader, TensorDataset  # noqa: PLC0415

    from nin.networks.data import load  # noqa: PLC0415

    e, data, criterion = _experiment(net), load(), _criterion(net)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")  # its advice on workers does not concern data in memory

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = e.network()

        def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
            x, y = batch
            return criterion(self.model(x), y)

        def on_train_batch_end(self, *_: object) -> None:
            after()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=e.eta)

    loader = DataLoader(
        TensorDataset(data.train_x, data.train_y), batch_size=e.batch_size, shuffle=True
    )
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), loader)


def keras(net: str, after: Callable[[], None]) -> None:
    """Keras's fit, torch backend, on arrays in memory."""
    import keras as k  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    from nin.networks.data import load  # noqa: PLC0415

    e, data = _experiment(net), load()

    class Noise(k.layers.Layer):
        def build(self, shape: tuple[int, ...]) -> None:
            self.w_ni = self.add_weight(shape=(shape[-1],), initializer="random_normal")

        def call(self, z, training: bool = False):
            if not training:
                return z
            return z + e.sigma_eps * k.random.normal((k.ops.shape(z)[0], 1)) * self.w_ni

    layers = [k.layers.Dense(e.width), Noise(), k.layers.ReLU()]
    for _ in range(e.depth - 1):
        layers.append(k.layers.Dense(e.width, activation="relu"))
    model = k.Sequential([k.Input((784,)), *layers, k.layers.Dense(10)])
    is_mse = e.loss == "mse"
    loss = "mse" if is_mse else k.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=k.optimizers.SGD(e.eta), loss=loss)
    y = np.eye(10, dtype="float32")[data.train_y] if is_mse else data.train_y.numpy()
    after_batch = k.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs=None: after())
    x = data.train_x.numpy()
    model.fit(x, y, batch_size=e.batch_size, epochs=EPOCHS, verbose=0, callbacks=[after_batch])


EPOCHS = 1000
"""More than there is time for."""
TURN = 24
"""Steps of a turn: half a second to a second; in lock-step, of all runs together."""
RUNS = {"nin R=8": 8}
"""Runs in lock-step, where there are several."""
CONTENDERS: dict[str, Callable[[str, Callable[[], None]], None]] = {
    "bound": bare,
    "nin": ours,
    "nin R=8": functools.partial(ours, runs=RUNS["nin R=8"]),
    "nin bf16": functools.partial(ours, precision="bf16"),
    "dataloader": dataloader,
    "lightning": lightning,
    "keras": keras,
}
DESCRIPTIONS = {
    "fig1": "784-1024-1024-1024-10, cross-entropy, batch 128",
    "fig2": "784-1024-10, squared error, batch 1000",
}


def _experiment(net: str):
    from nin.studies.experiments import FIG1, FIG2  # noqa: PLC0415

    return {"fig1": FIG1.at(1e-3), "fig2": FIG2.at(1.0)}[net]


def _criterion(net: str):
    """Return the loss as a user of torch would write it."""
    from torch.nn import functional as F  # noqa: PLC0415

    if _experiment(net).loss == "ce":
        return F.cross_entropy
    return lambda z, y: F.mse_loss(z, F.one_hot(y, 10).float())


if __name__ == "__main__":
    main()
