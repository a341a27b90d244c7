"""Weights of features with and without information: what is dealt, counted, measured, ranked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu

from nin.networks.data import Dataset
from nin.studies.features import (
    BASE,
    Lengths,
    auc,
    deal,
    information,
    over_dealt,
    over_niw,
    weight_lengths,
)
from nin.studies.study import Shelf, images_of, train_runs

TINY = replace(BASE, width=4, d_in=49, batch_size=3000, epochs=2, sigma_eps=2.0, fixed=True)


@pytest.fixture
def data() -> Dataset:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(600, 5, generator=g)
    return Dataset(x[:400], torch.arange(400) % 10, x[400:], torch.arange(200) % 10)


def test_a_dealt_pixel_keeps_its_values_and_loses_its_images(data: Dataset) -> None:
    dealt, chosen = deal(data, 2, seed=1)
    assert chosen.sum() == 2
    for part in ("train_x", "val_x"):
        before, after = getattr(data, part), getattr(dealt, part)
        assert torch.equal(before.sort(0).values, after.sort(0).values)
        assert torch.equal(before[:, ~chosen], after[:, ~chosen])
        assert all((before[:, i] != after[:, i]).any() for i in np.flatnonzero(chosen))
    again, other = deal(data, 2, seed=1)[0], deal(data, 2, seed=2)[0]
    assert torch.equal(dealt.train_x, again.train_x)
    assert not torch.equal(dealt.train_x, other.train_x)


def test_information_is_that_of_channels_with_a_closed_form() -> None:
    """A feature that is the label, one that is wrong at times, and one of another law."""
    g = torch.Generator().manual_seed(0)
    n, wrong = 100_000, 0.1
    y = torch.randint(2, (n,), generator=g)
    flipped = y ^ (torch.rand(n, generator=g) < wrong)
    x = torch.stack([y.float(), flipped.float(), torch.randn(n, generator=g)], 1)
    entropy = -(wrong * np.log2(wrong) + (1 - wrong) * np.log2(1 - wrong))
    # The error of a count of 1e5 is 1e-3 of a bit here; chance alone gives 7 / (2 n ln 2) = 5e-5.
    assert information(x, y) == pytest.approx([1, 1 - entropy, 0], abs=0.006)
    assert information(x, y)[2] < 3e-4


def test_area_under_the_curve_is_mann_whitney_s() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 6, 30), rng.integers(0, 5, 20)  # with ties
    assert auc(a, b) == pytest.approx(mannwhitneyu(a, b).statistic / 600)


def test_groups_are_ranked_by_information_and_compared_with_the_niw_of_their_run() -> None:
    found = Lengths(
        step=np.array([0, 9]),
        pixels=np.array([[1.0] * 6, [9.0, 8.0, 3.0, 2.0, 1.0, 5.0]]),
        w_ni=np.array([2.0, 4.0]),
        information=np.array([0.1, 0.9, 0.8, 0.2, 0.0, 0.0]),
        dealt=np.array([False, False, False, False, True, True]),
    )
    assert [group.tolist() for group in found.groups(2)] == [[1, 2], [3, 0], [4, 5]]
    assert over_niw(found) == [1, 0, 0, 1, 0.5]  # of pixels 1, 2, 3, 0, and the two dealt ones
    assert over_niw(found, at=0) == [0] * 5
    assert over_dealt(found) == [1, 0.5, 0.5, 1]
    assert over_dealt(found, found.information) == [1] * 4


def test_lengths_are_those_of_the_network_before_and_after_training(tmp_path: Path) -> None:
    """And looking changes nothing: a run that nobody watches ends with the same weights."""
    [found] = weight_lengths([TINY], Shelf(tmp_path, "proposals", workers=1), dealt=9)
    data, chosen = deal(images_of(TINY), 9, TINY.seed)
    [trained], _ = train_runs([TINY], data, evaluations=0, progress=False)
    for row, model in ((0, TINY.network()), (-1, trained)):
        matrix, node = model.layers[0].weight.detach(), model.layers[0].nin
        for i in (0, 17, 48):
            size = sum(float(v) ** 2 for v in matrix[:, i]) ** 0.5
            assert found.pixels[row, i] == pytest.approx(size, rel=1e-6)  # float32
        assert found.w_ni[row] == pytest.approx(float(node.w_ni.detach().norm()), rel=1e-6)
    assert np.array_equal(found.dealt, chosen)
    assert found.step[-1] == 2 * 14
    assert found.pixels.shape == (len(found.step), 49)


@pytest.mark.parametrize(("layer", "dealt"), [("layers.1", 9), ("layers.0", 0), ("layers.0", 49)])
def test_a_node_elsewhere_and_no_pixel_left_are_refused_before_training(
    layer: str, dealt: int, tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path / "none", "proposals")
    with pytest.raises(ValueError, match=r"node must be at layers\.0 and 1 to 48 pixels"):
        weight_lengths([replace(TINY, layer=layer)], shelf, dealt)
    assert not shelf.folder.exists()
