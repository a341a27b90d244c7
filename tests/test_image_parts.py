"""The parts of the images: what is left of them, and where training on them diverges."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from nin.networks.data import Dataset
from nin.studies.borders.image_parts import PARTS, borders_by_part, show
from nin.studies.borders.search import find_borders
from nin.studies.experiments import FIG2
from nin.studies.study import Shelf, images

TINY = dataclasses.replace(FIG2, width=64, batch_size=50)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return images(TINY.scaling, TINY.split_seed)


def test_mean_and_differences_add_up_to_the_images(data: Dataset) -> None:
    nothing, mean, apart, whole, own = (show(data, part, 0) for part in PARTS)
    # float32 sums of 42,000 images
    torch.testing.assert_close(mean.train_x + apart.train_x, data.train_x, atol=1e-5, rtol=0)
    assert float(apart.train_x.mean(0).abs().max()) < 1e-4  # float32, likewise
    assert not nothing.train_x.any() and whole.train_x is own.train_x is data.train_x
    assert (mean.train_x[0] == mean.train_x[1]).all()


def test_labels_tell_nothing_unless_they_are_the_images_own(data: Dataset) -> None:
    for part in PARTS:
        hits = (show(data, part, 0).train_y == data.train_y).double().mean()
        # a share of 42,000: one standard error is 0.0015
        assert hits == 1 if part == "images" else abs(hits - 0.1) < 0.01
    same, other = show(data, "nothing", 0).train_y, show(data, "nothing", 1).train_y
    assert torch.equal(show(data, "differences", 0).train_y, same)
    assert not torch.equal(same, other)


def test_whole_images_have_the_border_of_the_experiment(tmp_path: Path) -> None:
    shelf, K, steps = Shelf(tmp_path, "network_borders", workers=1), (0.5, 200.0), 30
    found = borders_by_part([TINY], [0], steps, K, 0.1, shelf)[TINY]
    asked = find_borders([TINY], ["divergent"], [0], steps, shelf, K=K, tolerance=0.1)[TINY]
    assert found[-1] == pytest.approx(asked["divergent"], rel=1e-4)  # trials take six digits
    assert found.shape == (len(PARTS), 1) and np.isfinite(found).all()


def test_an_unknown_part_is_an_error_that_names_them(data: Dataset) -> None:
    with pytest.raises(ValueError, match=r"part must be one of .*'mean image'.*, not 'labels'"):
        show(data, "labels", 0)
