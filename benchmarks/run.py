"""Samples per second of our training loop beside its bound and beside other loops.

Everything is measured in one run, in turn, each contender in a process of its own with one thread;
two processes at once, so that the figures are those of a machine with both cores at work. What to
read are the ratios: absolute speeds change with the machine and the hour.

    python benchmarks/run.py [--seconds 5] [--rounds 3] [--only fig1|fig2]

Contenders:
  bound      the bare matrix products of one step, forward and backward, into arrays made before
  nin        `nin.train` on one run: batches, noise, loss, update, logs
  nin R=4    the same on four runs in lock-step, samples of all runs counted
  nin bf16   the same on one run with precision="bf16"
  dataloader the loop one would write first: DataLoader over torchvision's FashionMNIST with
             ToTensor and Normalize, nn.Module, torch.optim.SGD, .item() at each step
  lightning  the same network and data in memory under Lightning's Trainer
  keras      the same under Keras's model.fit, torch backend
"""

from __future__ import annotations

import argparse
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
    parser.add_argument("--seconds", type=float, default=5.0, help="per contender and round")
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
        speeds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
        memory = dict.fromkeys(CONTENDERS, 0.0)
        for _ in range(options.rounds):
            for name in CONTENDERS:
                for result in side_by_side(net, name, options.seconds):
                    speeds[name].append(result["samples_per_second"])
                    memory[name] = max(memory[name], result["peak_gb"])
        report(net, speeds, memory)


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


def report(net: str, speeds: dict[str, list[float]], memory: dict[str, float]) -> None:
    """Print a contender's median speed per core and its ratios to the bound and the first loop."""
    median = {name: statistics.median(values) for name, values in speeds.items()}
    print(f"\n{net}: {DESCRIPTIONS[net]}; {len(speeds['nin'])} measurements each")
    print(
        f"{'':12}{'samples/s/core':>16}{'min - max':>18}{'/ bound':>9}{'/ dataloader':>14}{'GB':>7}"
    )
    for name, values in speeds.items():
        print(
            f"{name:12}{median[name]:16,.0f}{min(values):9,.0f} -{max(values):7,.0f}"
            f"{median[name] / median['bound']:9.2f}{median[name] / median['dataloader']:14.2f}"
            f"{memory[name]:7.2f}",
            flush=True,
        )


def measure(net: str, contender: str, seconds: float) -> dict[str, float]:
    """Warm a contender up, time it for `seconds`, return its speed and peak memory."""
    import torch  # noqa: PLC0415  (only the workers need it)

    torch.set_num_threads(1)
    run = CONTENDERS[contender](net)
    run()
    samples, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        samples += run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"samples_per_second": samples / elapsed, "peak_gb": peak}


# Each contender below returns a function that trains some whole pieces and returns their samples.


def bound(net: str) -> Callable[[], int]:
    """The step's matrix products alone."""
    import torch  # noqa: PLC0415

    e = _experiment(net)
    sizes = [784, *[e.width] * e.depth, 10]
    weights = [torch.randn(b, a) for a, b in itertools.pairwise(sizes)]
    gradients = [torch.empty_like(w) for w in weights]
    inputs = [torch.randn(e.batch_size, size) for size in sizes]
    outputs = [torch.empty_like(x) for x in inputs]

    def run() -> int:
        for _ in range(10):
            for i, w in enumerate(weights):
                torch.mm(inputs[i], w.T, out=outputs[i + 1])
            for i in reversed(range(len(weights))):
                torch.mm(inputs[i + 1].T, inputs[i], out=gradients[i])
                if i:
                    torch.mm(inputs[i + 1], weights[i], out=outputs[i])
        return 10 * e.batch_size

    return run


def ours(net: str, runs: int = 1, precision: str = "float32") -> Callable[[], int]:
    """`nin.train` as it is, over a part of the data that makes short epochs."""
    from nin.networks.training import train  # noqa: PLC0415

    e, data = _experiment(net), _data()
    models = [e.network() for _ in range(runs)]

    def run() -> int:
        train(
            models,
            data,
            loss=e.criterion(),
            eta=e.eta,
            batch_size=e.batch_size,
            epochs=1,
            precision=precision,
            evaluations=0,
            progress=False,
        )
        return runs * len(data.train_x)

    return run


def dataloader(net: str) -> Callable[[], int]:
    """The loop one would write first, node included."""
    import torch  # noqa: PLC0415
    from torch.utils.data import DataLoader, Subset  # noqa: PLC0415
    from torchvision import transforms  # noqa: PLC0415
    from torchvision.datasets import FashionMNIST  # noqa: PLC0415

    from nin.networks.data import prepare  # noqa: PLC0415

    e = _experiment(net)
    model, criterion = e.network(), _criterion(net)
    to_input = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize(0.286, 0.353), torch.flatten]
    )
    images = FashionMNIST(str(prepare()), transform=to_input)
    loader = DataLoader(Subset(images, range(SUBSET)), batch_size=e.batch_size, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=e.eta)

    def run() -> int:
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        return SUBSET

    return run


def lightning(net: str) -> Callable[[], int]:
    """Lightning's Trainer on tensors in memory."""
    import logging  # noqa: PLC0415
    import warnings  # noqa: PLC0415

    import lightning as pl  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from torch.utils.data import DataLoader, TensorDataset  # noqa: PLC0415

    e, data, criterion = _experiment(net), _data(), _criterion(net)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")  # its advice on workers does not concern data in memory

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = e.network()

        def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
            x, y = batch
            return criterion(self.model(x), y)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=e.eta)

    module = Module()
    loader = DataLoader(
        TensorDataset(data.train_x, data.train_y), batch_size=e.batch_size, shuffle=True
    )

    def run() -> int:
        trainer = pl.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, loader)
        return len(data.train_x)

    return run


def keras(net: str) -> Callable[[], int]:
    """Keras's fit, torch backend, on arrays in memory."""
    import keras as k  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    e, data = _experiment(net), _data()

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
    x = data.train_x.numpy()

    def run() -> int:
        model.fit(x, y, batch_size=e.batch_size, epochs=1, verbose=0)
        return len(x)

    return run


SUBSET = 10_000
"""Training samples in use: an epoch is then short enough to repeat, long beside its start."""
CONTENDERS: dict[str, Callable[[str], Callable[[], int]]] = {
    "bound": bound,
    "nin": ours,
    "nin R=4": lambda net: ours(net, runs=4),
    "nin bf16": lambda net: ours(net, precision="bf16"),
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


def _data():
    from nin.networks.data import Dataset, load  # noqa: PLC0415

    data = load()
    return Dataset(data.train_x[:SUBSET], data.train_y[:SUBSET], data.val_x[:100], data.val_y[:100])


if __name__ == "__main__":
    main()
