"""Is the noise of a fixed NIN memorised? Few images, some labels wrong, training to zero loss."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nin.networks.data import Dataset
from nin.networks.data import load as load_data
from nin.networks.losses import accuracy
from nin.networks.nodes import find_node
from nin.networks.seeds import generator
from nin.networks.training import epoch_noise, train
from nin.runs.averages import course
from nin.runs.history import CLEAN_QUANTITIES
from nin.studies.experiment import FIG1, Experiment
from nin.studies.records import RESULTS, provenance, read_or_make, record_key
from nin.studies.study import one_thread

MEMORISATION = RESULTS / "memorisation"
BASE = dataclasses.replace(FIG1, epochs=150, evaluations=8)
"""Fig. 1's network; on a twentieth of its images 150 epochs bring the training loss to zero."""
IMAGES = 2000
_END = ("off", "own", "fresh")


@dataclass(frozen=True)
class Memory:
    """What trained networks make of their noise; the runs are alike in all but their seed.

    Attributes:
        step: SGD steps at which `w_ni` and the noisy loss were recorded, (n,).
        w_ni: Norm of the NIWs, (runs, n).
        loss: Noisy training loss of the batch, (runs, n).
        eval_step: SGD steps of the clean quantities, (m,).
        clean: By the names of `nin.runs.history.CLEAN_QUANTITIES`, (runs, m) each.
        end_loss: Training loss at the end, (runs,) each: with the noise ``"off"``; with the
            ``"own"`` eps of each image, those of the last epoch; with ``"fresh"`` ones.
        end_accuracy: Training accuracy likewise.
        made: How it was made.
    """

    step: np.ndarray
    w_ni: np.ndarray
    loss: np.ndarray
    eval_step: np.ndarray
    clean: dict[str, np.ndarray]
    end_loss: dict[str, np.ndarray]
    end_accuracy: dict[str, np.ndarray]
    made: dict[str, str | int | float]


def with_wrong_labels(data: Dataset, images: int, share: float, seed: int = 0) -> Dataset:
    """Return the first images of a data set, some training labels drawn anew among all classes.

    Args:
        data: Fashion-MNIST, in the random order of its split.
        images: How many training and validation images to keep, at least 1.
        share: Of training labels to draw anew, 0 to 1. A tenth of them stay right by chance.
        seed: Of the new labels.

    Raises:
        ValueError: If a number is out of range.
    """
    if not 1 <= images <= len(data.train_x):
        raise ValueError(f"images must be 1 to {len(data.train_x)}, not {images}")
    if not 0 <= share <= 1:
        raise ValueError(f"share of wrong labels must be 0 to 1, not {share}")
    g = generator(seed, "labels")
    labels = data.train_y[:images]
    anew = torch.rand(images, generator=g) < share
    drawn = torch.randint(int(data.train_y.max()) + 1, (images,), generator=g)
    return dataclasses.replace(
        data,
        train_x=data.train_x[:images],
        train_y=torch.where(anew, drawn.to(labels), labels),
        val_x=data.val_x[:images],
        val_y=data.val_y[:images],
    )


def memory(
    base: Experiment,
    seeds: Sequence[int],
    label_noise: float,
    images: int = IMAGES,
    *,
    recompute: bool = False,
    may_train: bool = True,
    folder: Path = MEMORISATION,
) -> Memory:
    """Train with some labels wrong, or read from the record what came of it.

    Args:
        base: The experiment, with its noise strength and kind; its seed is of no account.
        seeds: Seeds of the runs.
        label_noise: Share of training labels drawn anew, the same for all seeds.
        images: Training images.
        recompute: Whether to train even if there is a record.
        may_train: Whether to train what is not on record; else that is an error.
        folder: Where the record lies.

    Raises:
        ValueError: If a number is out of range.
        RecordError: If the record is damaged, missing or cannot be written.
    """
    base = dataclasses.replace(base, seed=0)
    asked = {
        "experiment": dataclasses.asdict(base),
        "seeds": [int(k) for k in seeds],
        "label_noise": float(label_noise),
        "images": int(images),
    }
    key = record_key(asked)
    kind = "fixed" if base.fixed else "redrawn"
    path = Path(folder) / f"{base.loss}-K{base.K:.4g}-{kind}-labels{label_noise:g}-{key}.npz"

    def make() -> dict[str, np.ndarray]:
        return _train(base, seeds, label_noise, images, asked)

    options = {"may_make": may_train, "recompute": recompute}
    return read_or_make(path, make, _parse, "memorisation", **options)


def _train(
    base: Experiment, seeds: Sequence[int], label_noise: float, images: int, asked: object
) -> dict[str, np.ndarray]:
    data = load_data(base.scaling, split_seed=base.split_seed)
    data = with_wrong_labels(data, images, label_noise, base.split_seed)
    made, start = provenance("cpu") | {"threads": 1}, time.perf_counter()
    networks = [dataclasses.replace(base, seed=int(k)).network() for k in seeds]
    with one_thread():
        histories = train(
            networks,
            data,
            loss=base.criterion(),
            eta=base.eta,
            batch_size=base.batch_size,
            epochs=base.epochs,
            seeds=list(seeds),
            precision=base.precision,
            evaluations=base.evaluations,
        )
        ends = np.array([_end(n, base, int(k), data) for n, k in zip(networks, seeds, strict=True)])
    made["seconds"] = round(time.perf_counter() - start, 1)
    found = {name: course(histories, name) for name in ("w_ni", "loss", *CLEAN_QUANTITIES)}
    return {
        "step": found["w_ni"][0],
        "eval_step": found["train_loss"][0],
        **{name: values.astype(np.float32) for name, (_, values) in found.items()},
        "end_loss": ends[:, 0],
        "end_accuracy": ends[:, 1],
        "meta": np.array(json.dumps({"made": made, "asked": asked}, sort_keys=True)),
    }


def _end(network: nn.Module, base: Experiment, seed: int, data: Dataset) -> np.ndarray:
    """Return loss and accuracy on the training images by `_END`, (2, 3)."""
    found = find_node(network)
    if found is None:
        raise ValueError("this network has no node")
    node, n, loss = found[1], len(data.train_x), base.criterion()
    own = epoch_noise(node, seed, base.epochs - 1, n)
    fresh = node.draw(n, generator(seed, "fresh eps"))
    network.train()
    rows = []
    with torch.no_grad():
        for eps in (torch.zeros(n), own, fresh):
            node.eps = eps
            out = network(data.train_x)
            mean = float(loss.values(out, data.train_y).mean())
            rows.append((mean, float(accuracy(out, data.train_y))))
    return np.array(rows).T


def _parse(arrays: dict[str, np.ndarray]) -> Memory:
    def by_noise(rows: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(_END, rows.T, strict=True))

    return Memory(
        step=arrays["step"],
        w_ni=arrays["w_ni"],
        loss=arrays["loss"],
        eval_step=arrays["eval_step"],
        clean={name: arrays[name] for name in CLEAN_QUANTITIES},
        end_loss=by_noise(arrays["end_loss"]),
        end_accuracy=by_noise(arrays["end_accuracy"]),
        made=json.loads(str(arrays["meta"]))["made"],
    )
