"""Fashion-MNIST: where it comes from, and that it is whole, split and scaled as it says."""

from __future__ import annotations

import gzip
import hashlib
import os
import resource
import shutil
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nin.networks import data

NAMES = list(data.SHA256)
PEER = "torchvision.datasets.FashionMNIST"  # by name: a second to import, in each process of tests


def parts_by_torchvision(root: Path) -> list[Any]:
    from torchvision.datasets import FashionMNIST  # noqa: PLC0415

    return [FashionMNIST(str(root), train=train) for train in (True, False)]


@pytest.fixture(scope="session")
def plain() -> Path:
    """The folder of the four real files."""
    return data.prepare() / "FashionMNIST" / "raw"


@pytest.fixture(scope="session")
def zipped(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the four files, gzipped as fast as can be."""
    folder = tmp_path_factory.mktemp("zipped")
    for name in NAMES:
        content = gzip.compress((plain / name).read_bytes(), compresslevel=1)
        (folder / f"{name}.gz").write_bytes(content)
    return folder


@pytest.fixture
def nowhere(plain: Path, zipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Fashion-MNIST, network or packages; the folder where it shall lie.

    (The real files are asked for here so that they are found before the machine loses them.)
    """
    monkeypatch.delenv("NIN_DATA", raising=False)
    monkeypatch.setattr(data, "DATA", tmp_path / "project")
    monkeypatch.setattr(data, "DEBIAN_DATA", Path("/usr/share/datasets") / f"none{os.getpid()}")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        refused = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    monkeypatch.setattr(f"{PEER}.mirrors", [refused])
    monkeypatch.setenv("APT_CONFIG", str(apt_settings(tmp_path / "apt", repository=None)))
    return tmp_path / "asked"


def apt_settings(folder: Path, repository: Path | None) -> Path:
    """Write settings by which apt knows one repository in a folder, or none at all."""
    for made in ("lists/partial", "cache/archives/partial", "parts"):
        (folder / made).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(
        f"deb [trusted=yes] file:{repository} ./\n" * bool(repository)
    )
    settings = folder / "apt.conf"
    settings.write_text(
        f'Dir::State::lists "{folder}/lists"; Dir::State::status "{folder}/status";\n'
        f'Dir::Cache "{folder}/cache"; Dir::Etc::sourcelist "{folder}/sources.list";\n'
        f'Dir::Etc::sourceparts "{folder}/parts"; APT::Sandbox::User "";\n'
    )
    return settings


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder over HTTP; yield the address and the list of requests, which fills."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, _format: str, *words: object) -> None:
            asked.append(str(words[0]))

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", asked
        finally:
            server.shutdown()
            thread.join()


def link(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in source.iterdir():
        if not file.name.startswith("."):
            (folder / file.name).symlink_to(file)


def is_whole(root: Path) -> bool:
    raw = root / "FashionMNIST" / "raw"
    digests = {n: hashlib.sha256((raw / n).read_bytes()).hexdigest() for n in NAMES}
    return digests == data.SHA256 and sorted(p.name for p in raw.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("kind", ["plain", "zipped"])
def test_files_in_the_named_folder_are_taken(
    kind: str, nowhere: Path, request: pytest.FixtureRequest
) -> None:
    link(request.getfixturevalue(kind), nowhere)
    assert data.prepare(nowhere) == nowhere
    assert is_whole(nowhere)


def test_gzipped_files_are_unpacked_where_torchvision_keeps_them(
    nowhere: Path, zipped: Path
) -> None:
    raw = nowhere / "FashionMNIST" / "raw"
    link(zipped, raw)
    data.prepare(nowhere)
    assert {p.name for p in raw.iterdir()} == {*NAMES, *(f"{n}.gz" for n in NAMES)}
    assert [len(part) for part in parts_by_torchvision(nowhere)] == [60_000, 10_000]


def test_the_argument_goes_before_the_environment_and_that_before_the_project(
    nowhere: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (nowhere, tmp_path / "environment", tmp_path / "project"):
        link(plain, folder / "FashionMNIST" / "raw")
    assert data.prepare() == tmp_path / "project"
    monkeypatch.setenv("NIN_DATA", str(tmp_path / "environment"))
    assert data.prepare() == tmp_path / "environment"
    assert data.prepare(nowhere) == nowhere


def test_a_new_folder_is_filled_from_the_projects(
    nowhere: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link(plain, tmp_path / "project" / "FashionMNIST" / "raw")
    monkeypatch.setenv("NIN_DATA", str(nowhere))
    assert data.prepare() == nowhere
    assert is_whole(nowhere)


def test_debians_files_are_unpacked_and_no_network_is_asked(
    nowhere: Path, zipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "DEBIAN_DATA", zipped)
    with served(zipped) as (address, asked):
        monkeypatch.setattr(f"{PEER}.mirrors", [address])
        data.prepare(nowhere)
    assert is_whole(nowhere)
    assert asked == []


def test_torchvision_downloads_what_no_folder_has(
    nowhere: Path, zipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{n}.gz" for n in NAMES]
    sums = [hashlib.md5((zipped / n).read_bytes()).hexdigest() for n in names]
    monkeypatch.setattr(f"{PEER}.resources", list(zip(names, sums, strict=True)))
    with served(zipped) as (address, asked):
        monkeypatch.setattr(f"{PEER}.mirrors", [address])
        data.prepare(nowhere)
    assert is_whole(nowhere)
    assert len(asked) >= 4


@pytest.mark.skipif(
    not (shutil.which("apt-get") and shutil.which("dpkg-deb")), reason="this system has no apt"
)
def test_apt_downloads_and_unpacks_without_installing(
    nowhere: Path, zipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = debian_repository(tmp_path / "repository", zipped, data.DEBIAN_DATA)
    settings = apt_settings(tmp_path / "apt2", repository)
    monkeypatch.setenv("APT_CONFIG", str(settings))
    subprocess.run(["apt-get", "update", "-qq"], check=True, capture_output=True)
    data.prepare(nowhere)
    assert is_whole(nowhere)
    assert not data.DEBIAN_DATA.exists()


def debian_repository(folder: Path, files: Path, installed_in: Path) -> Path:
    """Make a repository of one package that would install the files."""
    tree = folder / "tree"
    shutil.copytree(files, tree / installed_in.relative_to("/"))
    about = (
        "Package: dataset-fashion-mnist\nVersion: 1\nArchitecture: all\n"
        "Maintainer: A Test <test@example.org>\nDescription: images of clothes\n"
    )
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN" / "control").write_text(about)
    package = folder / "package.deb"
    build = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(package)]
    subprocess.run(build, check=True, capture_output=True)
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    index = f"{about}Filename: ./package.deb\nSize: {package.stat().st_size}\nSHA256: {digest}\n"
    (folder / "Packages").write_text(index)
    return folder


def test_all_five_sources_are_tried_in_order_and_named_with_what_was_wrong(
    nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "DEBIAN_DATA", tmp_path / "debian")
    for folder in (nowhere, tmp_path / "project/FashionMNIST/raw", tmp_path / "debian"):
        folder.mkdir(parents=True)
        for name in NAMES:
            (folder / f"{name}.gz").write_bytes(gzip.compress(b"not images"))
    with pytest.raises(data.DataError) as caught:
        data.prepare(nowhere)
    message = str(caught.value)
    places = [
        f"the folder {nowhere}: damaged",
        f"the usual {tmp_path / 'project'}: damaged",
        f"Debian's dataset-fashion-mnist in {tmp_path / 'debian'}: damaged",
        "torchvision's download: Error downloading train-images",
        "`apt-get download dataset-fashion-mnist`: ",
    ]
    assert "Connection refused" in message  # what the server's side said,
    if shutil.which("apt-get"):  # and apt's
        assert "E: Unable to locate package dataset-fashion-mnist" in message
    assert [message.find(p) >= 0 for p in places] == [True] * 5, message
    assert sorted(places, key=message.find) == places
    for remedy in ("apt-get install dataset-fashion-mnist", "--folder DIR", "NIN_DATA=DIR"):
        assert remedy in message


def test_a_silent_server_is_not_waited_for(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "_PATIENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monkeypatch.setattr(f"{PEER}.mirrors", [address])
        with pytest.raises(data.DataError, match="torchvision's download"):
            data.prepare(nowhere)  # without patience of its own it would wait for ever
        silent.setblocking(False)
        asked, _ = silent.accept()
        with asked:
            assert asked.recv(3) == b"GET"
    assert socket.getdefaulttimeout() is None


def test_a_damaged_archive_is_passed_over_for_the_next_source(
    nowhere: Path, plain: Path, zipped: Path, tmp_path: Path
) -> None:
    nowhere.mkdir()
    for name in NAMES:
        (nowhere / f"{name}.gz").write_bytes((zipped / f"{name}.gz").read_bytes()[:-100])
    link(plain, tmp_path / "project" / "FashionMNIST" / "raw")
    data.prepare(nowhere)
    assert all((nowhere / "FashionMNIST" / "raw" / n).exists() for n in NAMES)


def test_a_damaged_file_is_named_with_what_to_do_and_left_alone(
    nowhere: Path, plain: Path, zipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "DEBIAN_DATA", zipped)
    raw = nowhere / "FashionMNIST" / "raw"
    link(plain, raw)
    labels = raw / NAMES[3]
    content = bytearray(labels.read_bytes())
    content[5000] ^= 1
    labels.unlink()
    labels.write_bytes(content)
    with pytest.raises(data.DataError) as caught:
        data.load(folder=nowhere)
    assert str(labels) in str(caught.value)
    assert "Delete it and run `python -m nin data`" in str(caught.value)
    assert labels.read_bytes() == content
    labels.unlink()
    data.prepare(nowhere)
    assert is_whole(nowhere)


def test_only_missing_files_are_written(
    nowhere: Path, plain: Path, zipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "DEBIAN_DATA", zipped)
    raw = nowhere / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in NAMES[:3]:
        shutil.copy(plain / name, raw / name)
    before = {n: (raw / n).stat().st_ino for n in NAMES[:3]}
    data.prepare(nowhere)
    assert is_whole(nowhere)
    assert {n: (raw / n).stat().st_ino for n in NAMES[:3]} == before


def test_a_folder_that_cannot_be_written_is_named_with_what_to_do(
    nowhere: Path, zipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "DEBIAN_DATA", zipped)
    nowhere.touch()  # a file where the folder should be: not even root can write into it
    with pytest.raises(data.DataError, match=f"cannot write Fashion-MNIST to {nowhere}.*NIN_DATA"):
        data.prepare(nowhere)


def test_a_full_disk_leaves_no_partial_file(
    nowhere: Path, zipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "DEBIAN_DATA", zipped)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))  # the images need 47 MB
    try:
        with pytest.raises(data.DataError, match="cannot write Fashion-MNIST"):
            data.prepare(nowhere)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((nowhere / "FashionMNIST" / "raw").iterdir()) == []


@pytest.fixture(scope="module")
def split() -> data.Dataset:
    return data.load()


@pytest.fixture(scope="module")
def raw_images(plain: Path) -> Tensor:
    return torch.cat([p.data for p in parts_by_torchvision(plain.parents[1])]).flatten(1)


@pytest.fixture(scope="module")
def moments(raw_images: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of the training pixels, in [0, 1], from the raw bytes.

    The order is drawn anew here, since scaled pixels no longer tell their mean.
    """
    order = torch.randperm(70_000, generator=torch.Generator().manual_seed(0))[:42_000]
    counts = np.bincount(raw_images[order].numpy().ravel(), minlength=256)
    values = np.arange(256) / 255
    mean = counts @ values / counts.sum()
    return mean, np.sqrt(counts @ (values - mean) ** 2 / (counts.sum() - 1))


def pixels(x: Tensor, mean: float, std: float) -> Tensor:
    """Undo the scaling: whole numbers again, since rounding moves a pixel by 1e-4 at most."""
    return (x * std + mean).mul(255).round().to(torch.uint8)


def test_split_is_60_to_40(split: data.Dataset) -> None:
    assert split.train_x.shape == (42_000, 784) and split.val_x.shape == (28_000, 784)
    assert split.train_y.shape == (42_000,) and split.val_y.shape == (28_000,)
    assert split.train_x.dtype == torch.float32 and split.train_y.dtype == torch.int64


def test_split_is_a_partition_of_the_70000_images_with_their_labels(
    split: data.Dataset, raw_images: Tensor, moments: tuple[float, float], plain: Path
) -> None:
    labels = torch.cat([p.targets for p in parts_by_torchvision(plain.parents[1])])
    ours = torch.cat([pixels(x, *moments) for x in (split.train_x, split.val_x)])
    our_labels = torch.cat([split.train_y, split.val_y])
    assert images_with_labels(ours, our_labels) == images_with_labels(raw_images, labels)


def images_with_labels(x: Tensor, y: Tensor) -> Counter[tuple[int, bytes]]:
    return Counter(zip(y.tolist(), (row.tobytes() for row in x.numpy()), strict=True))


def test_scaling_is_that_of_the_training_part_only(
    split: data.Dataset, moments: tuple[float, float]
) -> None:
    mean, std = moments
    # float32 rounding of a mean over 33 million values; all 70,000 images would shift it by 5e-4
    assert split.train_x.min().item() == pytest.approx(-mean / std, abs=1e-5)
    assert split.train_x.max().item() == pytest.approx((1 - mean) / std, abs=1e-5)
    assert split.train_x.mean().item() == pytest.approx(0, abs=1e-5)
    assert abs(split.val_x.mean().item()) > 1e-4


def test_scaling_as_printed_divides_by_the_variance(
    split: data.Dataset, moments: tuple[float, float]
) -> None:
    printed = data.load("variance")
    few = slice(0, 1000)
    # float32 rounding of the values, which are at most 6
    torch.testing.assert_close(printed.val_x[few], split.val_x[few] / moments[1], rtol=1e-5, atol=0)
    assert torch.equal(printed.train_y, split.train_y)
    assert 1 / moments[1] == pytest.approx(2.8, abs=0.05)  # what the docstring says


def test_each_pixel_scaled_by_itself_has_mean_0_and_std_1_in_training(raw_images: Tensor) -> None:
    order = torch.randperm(70_000, generator=torch.Generator().manual_seed(0))
    raw = raw_images[order].numpy().reshape(70_000, 784)[:, 300:310].astype(float) / 255
    mean, std = raw[:42_000].mean(0), raw[:42_000].std(0, ddof=1)
    scaled = data.load("pixel")
    # float32 rounding of values below 5
    np.testing.assert_allclose(scaled.train_x[:, 300:310], ((raw - mean) / std)[:42_000], atol=1e-5)
    np.testing.assert_allclose(scaled.val_x[:, 300:310], ((raw - mean) / std)[42_000:], atol=1e-5)
    assert scaled.train_x.std(0).min() > 0.99 and scaled.train_x.std(0).max() < 1.01


def test_a_pixel_that_is_constant_in_training_becomes_0() -> None:
    x = torch.rand(10, 3, generator=torch.Generator().manual_seed(0))
    x[:8, 1] = 0.3  # its mean in float32 is not exactly 0.3
    data.scale(x, "pixel", 8)
    assert torch.equal(x[:, 1], torch.zeros(10))
    assert torch.isfinite(x).all() and x[:, 0].abs().min() > 0


def test_fewer_classes_are_the_same_images_in_the_same_order(split: data.Dataset) -> None:
    three = data.load(d_out=3)
    assert three.train_x.shape == (12_600, 784) and three.val_x.shape == (8_400, 784)
    x, y = torch.cat([split.train_x, split.val_x]), torch.cat([split.train_y, split.val_y])
    kept = y < 3
    assert torch.equal(torch.cat([three.train_y, three.val_y]), y[kept])
    # Scaled by their own moments, so alike up to a line.
    a, b = torch.cat([three.train_x, three.val_x])[:500], x[kept][:500]
    slope = a.std() / b.std()
    # float32 rounding of values up to 3
    torch.testing.assert_close(a, (b - b.mean()) * slope + a.mean(), atol=1e-4, rtol=0)
    assert three.train_x.mean().item() == pytest.approx(0, abs=1e-5)
    assert three.train_x.std().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("d_in", "block"), [(196, 2), (49, 4)])
def test_fewer_inputs_are_means_over_blocks(split: data.Dataset, d_in: int, block: int) -> None:
    x = data.load(d_in=d_in).train_x[:100].numpy()
    side = 28 // block
    whole = split.train_x[:100].numpy().reshape(100, side, block, side, block).mean((2, 4))
    means = whole.reshape(100, -1)
    ratio = (x.std() / means.std(), x.mean() - means.mean() * x.std() / means.std())
    np.testing.assert_allclose(x, means * ratio[0] + ratio[1], atol=1e-4)  # as above


@pytest.mark.parametrize("asked", [{"d_in": 100}, {"d_out": 1}, {"d_out": 11}])
def test_inputs_and_classes_that_are_not_there_are_named(asked: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="784, 196, 49 inputs and 2 to 10 classes, not"):
        data.load(**asked)  # type: ignore[arg-type]


def test_split_seed_changes_who_trains(split: data.Dataset) -> None:
    other = data.load(split_seed=1)
    share = (other.train_y == split.train_y).float().mean().item()
    assert share == pytest.approx(0.1, abs=0.01)  # chance among ten labels, +- 7 standard errors


def test_unknown_scaling_is_named() -> None:
    with pytest.raises(ValueError, match=r"scaling must be one of \('std', .*\), not 'x'"):
        data.load("x")


def test_a_dataset_moves_as_a_whole(split: data.Dataset) -> None:
    few = data.Dataset(*(t[:2] for t in vars(split).values()))
    assert all(t.device.type == "meta" for t in vars(few.to("meta")).values())


def test_as_many_labels_as_inputs_are_asked_for() -> None:
    x, y = torch.zeros(5, 3), torch.zeros(5).long()
    data.Dataset({"a": x, "b": y}, y, x[:2], y[:2])
    with pytest.raises(ValueError, match=r"train_x is \(5, 3\) for 4 labels or targets in train_y"):
        data.Dataset(x, y[:4], x, y)
    with pytest.raises(ValueError, match=r"val_x\['b'\] is \(4,\) for 5 labels"):
        data.Dataset(x, y, {"a": x, "b": y[:4]}, y)
    with pytest.raises(ValueError, match="train_x must be a tensor, not a ndarray"):
        data.Dataset(x.numpy(), y, x, y)
