"""TODO."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import torch

from nin.networks.data import Dataset
from nin.networks.data import load as load_data
from nin.networks.training import train
from nin.studies.experiment import Experiment
from nin.studies.records import RunRecord, provenance


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch use one thread: with more, the order of sums, and so the bits, may differ."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@lru_cache(maxsize=2)
def training_data(scaling: str, split_seed: int) -> Dataset:
    """Return Fashion-MNIST, read once per process, without its validation part."""
    data = load_data(scaling, split_seed=split_seed)
    return dataclasses.replace(data, val_x=data.val_x[:1], val_y=data.val_y[:1])


def train_together(
    experiments: Sequence[Experiment], *, device: str = "cpu", progress: bool | None = None
) -> list[RunRecord]:
    """Train experiments that differ in noise and seed only in lock-step, without any record.

    Args:
        experiments: Alike in all but `sigma_eps`, `seed`, `noise` and `fixed`.
        device: Where to train.
        progress: Whether to show a bar.

    Returns:
        A record for each; ``made["seconds"]`` is its share of the time.

    Raises:
        ValueError: If the experiments differ in anything else.
    """
    if len({_lockstep_group(e) for e in experiments}) != 1:
        raise ValueError("only runs that differ in noise and seed alone train in lock-step")
    e = experiments[0]
    data = _data(e.scaling, e.split_seed).to(device)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # with more, the summation order, and so the bits, depend on the cores
    try:
        made = provenance(device)
        start = time.perf_counter()
        histories = train(
            [x.network().to(device) for x in experiments],
            data,
            loss=e.criterion(),
            eta=e.eta,
            batch_size=e.batch_size,
            epochs=e.epochs,
            seeds=[x.seed for x in experiments],
            precision=e.precision,
            evaluations=e.evaluations,
            progress=progress,
        )
    finally:
        torch.set_num_threads(threads)
    made["seconds"] = round((time.perf_counter() - start) / len(experiments), 1)
    if len(experiments) > 1:
        made["lockstep"] = len(experiments)
    return [RunRecord(x, h, made) for x, h in zip(experiments, histories, strict=True)]


def _lockstep_group(e: Experiment) -> Experiment:
    """Return what runs must share to train in lock-step."""
    return dataclasses.replace(e, sigma_eps=0.0, seed=0, noise="gaussian", fixed=False)


@lru_cache(maxsize=1)
def _data(scaling: str, split_seed: int) -> Dataset:
    """Return Fashion-MNIST, read once per process."""
    return load_data(scaling, split_seed=split_seed)
