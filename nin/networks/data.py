"""Fashion-MNIST in memory: found or fetched, verified, split and scaled.

The four IDX files are verified by SHA-256 whatever they came from, since archives of the same
data differ in their compression. Where they come from is `SOURCES`, in order.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nin.folders import DATA

SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
DEBIAN_DATA = Path("/usr/share/datasets/fashion-mnist")
SCALINGS = ("std", "variance", "pixel")
CLASSES, SIDE = 10, 28
"""Kinds of clothing; pixels along an edge of an image."""
N_TRAIN = 42_000
"""60 % of the 70,000 images (App. B)."""
ORIGINAL_TRAIN = 60_000
"""Training images by the data set's own split; its test images follow."""
BLOCKS = {784: 1, 196: 2, 49: 4}
"""Inputs by which an image can be given: means over blocks of so many pixels along an edge."""
_PATIENCE = 20.0  # seconds without a word from a server, before the next source is tried


Inputs = Tensor | Mapping[str, Tensor]
"""What a network reads: a tensor, or tensors by the names of its arguments; samples come first."""


class DataError(RuntimeError):
    """Fashion-MNIST is missing or damaged; the message says what to do."""


@dataclass(frozen=True)
class Dataset:
    """Training and validation samples as tensors; your own work as well as Fashion-MNIST.

    Attributes:
        train_x: Training inputs, (n_train, ...); Fashion-MNIST: (42000, 784) float32. Integers
            are tokens. A network of several arguments has a dictionary of tensors.
        train_y: Training labels, (n_train, ...) int64, or targets, (n_train, ..., d_out) float32.
        val_x: Validation inputs, (n_val, ...).
        val_y: Validation labels or targets.
    """

    train_x: Any  # Inputs; the rooms above have one tensor
    train_y: Tensor
    val_x: Any
    val_y: Tensor

    def __post_init__(self) -> None:
        """Check that there are as many inputs as labels.

        Raises:
            ValueError: If there are not, or they are no tensors.
        """
        for part in ("train", "val"):
            x, y = getattr(self, f"{part}_x"), getattr(self, f"{part}_y")
            named = {f"{part}_y": y} | (
                {f"{part}_x[{k!r}]": v for k, v in x.items()}
                if isinstance(x, Mapping)
                else {f"{part}_x": x}
            )
            for name, value in named.items():
                if not isinstance(value, Tensor):
                    raise ValueError(f"{name} must be a tensor, not a {type(value).__name__}")
                if not value.ndim or len(value) != len(y):
                    raise ValueError(
                        f"{name} is {tuple(value.shape)} for {len(y)} labels or targets in "
                        f"{part}_y: samples come first, as many in each"
                    )

    def to(self, device: torch.device | str) -> Dataset:
        """Return the same data on another device."""
        x, val_x = (each(part, lambda v: v.to(device)) for part in (self.train_x, self.val_x))
        return Dataset(x, self.train_y.to(device), val_x, self.val_y.to(device))


def each(x: Inputs, call: Callable[[Tensor], Tensor]) -> Inputs:
    """Return inputs with a function applied to their tensor, or to each of their tensors."""
    return call(x) if isinstance(x, Tensor) else {name: call(v) for name, v in x.items()}


def take(x: Inputs, index: Tensor | int | slice | tuple[int, slice]) -> Inputs:
    """Return the inputs at places of their first axis."""
    if isinstance(index, Tensor):  # a third of the time of v[index]
        rows = index.flatten()
        return each(x, lambda v: v.index_select(0, rows).view(*index.shape, *v.shape[1:]))
    return each(x, lambda v: v[index])


def outputs(model: nn.Module | Callable[..., Tensor], x: Inputs) -> Tensor:
    """Return what a network makes of inputs.

    Raises:
        ValueError: If they are neither a tensor nor tensors by names.
    """
    if isinstance(x, Tensor):
        return model(x)
    if not isinstance(x, Mapping):
        raise ValueError(
            "inputs must be a tensor, or tensors by the names of the network's arguments, not a "
            f"{type(x).__name__}"
        )
    return model(**x)


def load(
    scaling: str = "std",
    folder: str | Path | None = None,
    split_seed: int = 0,
    d_in: int = SIDE**2,
    d_out: int = CLASSES,
) -> Dataset:
    """Load Fashion-MNIST, split 60/40 and scaled as in App. B.

    The 70,000 images are shuffled once with `split_seed` and the first 42,000 train; the paper
    does not say how it split. Mean and standard deviation are those of the training part.

    Args:
        scaling: See `scale`; App. B says only that the mean is subtracted and the variance divided
            by.
        folder: Where the files lie, or shall lie; default ``$NIN_DATA``, then `nin.folders.DATA`.
        split_seed: Seed of the shuffle before the split.
        d_in: Inputs per image, a key of `BLOCKS`: all pixels, or the means of square blocks.
        d_out: Classes, 2 to 10: the first so many, 7,000 images each, which are split alike.

    Returns:
        The data set, on the CPU.

    Raises:
        ValueError: If `scaling` is unknown, or there are no such inputs or classes.
        DataError: If the files cannot be had, or one is damaged.
    """
    if scaling not in SCALINGS:
        raise ValueError(f"scaling must be one of {SCALINGS}, not {scaling!r}")
    if d_in not in BLOCKS or not 2 <= d_out <= CLASSES:
        raise ValueError(
            f"images have {', '.join(map(str, BLOCKS))} inputs and 2 to {CLASSES} classes, "
            f"not {d_in} and {d_out}"
        )
    x, y = every_image(folder)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(split_seed))
    order = order[y[order] < d_out]
    x, y = x[order].float().div_(255), y[order]
    if (block := BLOCKS[d_in]) > 1:
        x = nn.functional.avg_pool2d(x.unsqueeze(1), block)
    x, n = x.flatten(1), N_TRAIN * d_out // CLASSES
    scale(x, scaling, n)
    return Dataset(x[:n], y[:n], x[n:], y[n:])


def every_image(folder: str | Path | None = None) -> tuple[Tensor, Tensor]:
    """Return all images of Fashion-MNIST, (70000, 28, 28) uint8, and their labels, (70000,) int64.

    Its own training images come first, `ORIGINAL_TRAIN` of them.

    Args:
        folder: Where the files lie, or shall lie; see `load`.

    Raises:
        DataError: If the files cannot be had, or one is damaged.
    """
    raw = prepare(folder) / "FashionMNIST" / "raw"
    x, y = (
        np.concatenate([np.fromfile(raw / f"{part}-{what}", np.uint8, offset=head)
                        for part in ("train", "t10k")])
        for what, head in (("images-idx3-ubyte", 16), ("labels-idx1-ubyte", 8))
    )  # fmt: skip
    return torch.from_numpy(x).view(-1, SIDE, SIDE), torch.from_numpy(y).long()


def scale(x: Tensor, scaling: str, n_train: int) -> None:
    """Shift and scale inputs in place, by moments of their training part alone.

    Args:
        x: Inputs, (n, d) float32; pixels in [0, 1].
        scaling: ``"std"``: (x - mean) / std, over all samples and pixels. ``"variance"``:
            (x - mean) / std**2, as App. B has it in print; that makes inputs 2.8 times larger.
            ``"pixel"``: each pixel by its own mean and std, the other way to read "the mean"; a
            pixel that never changes in the training part becomes 0.
        n_train: How many samples, from the first, are the training part.
    """
    train = x[:n_train]
    if scaling == "pixel":
        varies = train.amax(0) > train.amin(0)  # its std is not exactly 0 in float32
        mean, factor = train.mean(0), torch.where(varies, 1 / train.std(0), 0)
        x.sub_(mean).mul_(factor)
    else:
        std = train.std().item()
        x.sub_(train.mean().item()).div_(std if scaling == "std" else std**2)


def prepare(folder: str | Path | None = None) -> Path:
    """Make sure that the four verified files are there, fetching them if need be.

    Args:
        folder: Where the files lie, or shall lie; default ``$NIN_DATA``, then `nin.folders.DATA`.

    Returns:
        The root folder that `torchvision.datasets.FashionMNIST` takes.

    Raises:
        DataError: If the files cannot be had, one is damaged, or the folder cannot be written.
    """
    root = Path(folder or os.environ.get("NIN_DATA") or DATA).expanduser()
    raw = root / "FashionMNIST" / "raw"
    missing = [name for name in SHA256 if not (raw / name).exists()]
    if missing:
        _fetch(root, raw, missing)
    for name, digest in SHA256.items():
        try:
            content = (raw / name).read_bytes()
        except OSError as error:
            raise DataError(f"cannot read {raw / name}: {error}") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise DataError(
                f"{raw / name} is damaged: its SHA-256 is not {digest[:12]}... . "
                "Delete it and run `python -m nin data`."
            )
    return root


def _fetch(root: Path, raw: Path, missing: list[str]) -> None:
    """Copy the missing files from the first source that has all of them, intact."""
    tried = []
    for where, place in _sources(root):
        with tempfile.TemporaryDirectory() as tmp:
            try:
                found = place(Path(tmp))
                contents = {name: _read(found, name) for name in missing}
            except (RuntimeError, OSError, HTTPException, EOFError, zlib.error) as error:
                why = " ".join(str(error).split()) or type(error).__name__
                tried.append(f"  {where}: {why}")
                continue
        bad = [n for n, c in contents.items() if hashlib.sha256(c).hexdigest() != SHA256[n]]
        if bad:
            tried.append(f"  {where}: damaged {', '.join(bad)}")
            continue
        try:
            raw.mkdir(parents=True, exist_ok=True)
            for name, content in contents.items():
                partial = raw / f".{name}.{os.getpid()}"
                try:
                    partial.write_bytes(content)
                    partial.replace(raw / name)
                finally:
                    partial.unlink(missing_ok=True)
        except OSError as error:
            raise DataError(
                f"cannot write Fashion-MNIST to {raw}: {error}. Name a folder that you may write "
                "to: `python -m nin data --folder DIR` or NIN_DATA=DIR."
            ) from error
        return
    raise DataError(
        "Fashion-MNIST was not found; tried\n" + "\n".join(tried) + "\n"
        "Any of these helps: `apt-get install dataset-fashion-mnist`; a network for torchvision's "
        f"download; or put {', '.join(SHA256)} (or their .gz) into a folder DIR and say "
        "`python -m nin data --folder DIR`, or NIN_DATA=DIR."
    )


def _sources(root: Path) -> Iterator[tuple[str, Callable[[Path], Path]]]:
    """Yield each place to look, with what gives its folder, filled for this if need be."""
    yield f"the folder {root / 'FashionMNIST/raw'}", lambda _: root / "FashionMNIST" / "raw"
    yield f"the folder {root}", lambda _: root
    if root != DATA:
        yield f"the usual {DATA}", lambda _: DATA / "FashionMNIST" / "raw"
    yield f"Debian's dataset-fashion-mnist in {DEBIAN_DATA}", lambda _: DEBIAN_DATA
    yield "torchvision's download", _torchvision_download
    yield "`apt-get download dataset-fashion-mnist`", _apt_download


def _read(folder: Path, name: str) -> bytes:
    """Read an IDX file, plain or gzipped, from a folder.

    Raises:
        OSError: If it is not there, or not readable as gzip.
    """
    if (folder / name).exists():
        return (folder / name).read_bytes()
    return gzip.decompress((folder / f"{name}.gz").read_bytes())


def _torchvision_download(tmp: Path) -> Path:
    """Let torchvision download; return the folder it fills.

    Raises:
        RuntimeError, OSError, HTTPException: What torchvision or its server says of a failure.
    """
    from torchvision.datasets import FashionMNIST  # noqa: PLC0415  (a second, and seldom needed)

    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)  # torchvision waits for ever
    try:
        FashionMNIST(str(tmp), download=True)
    finally:
        socket.setdefaulttimeout(patience)
    return tmp / "FashionMNIST" / "raw"


def _apt_download(tmp: Path) -> Path:
    """Fetch and unpack Debian's package without installing it or being root.

    Raises:
        OSError: If there is no apt, with its last words if it fails.
    """
    steps = [
        ["apt-get", "download", "dataset-fashion-mnist"],
        ["dpkg-deb", "--extract", "dataset-fashion-mnist.deb", "."],
    ]
    for step in steps:
        done = subprocess.run(step, cwd=tmp, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError((done.stderr.strip() or f"exit status {done.returncode}").split("\n")[-1])
        for package in tmp.glob("*.deb"):
            package.rename(tmp / "dataset-fashion-mnist.deb")
    return tmp / DEBIAN_DATA.relative_to("/")
