"""Whether a fixed NIN is memorised: wrong labels, the record, what a trained network knows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nin.networks.data import Dataset
from nin.studies.memorisation import BASE, Memory, memory, with_wrong_labels
from nin.studies.study import Shelf

IMAGES, SEEDS = 300, [0, 1, 2]
SMALL = replace(BASE, width=48, depth=1, epochs=150, evaluations=2).at(0.01)


@pytest.fixture
def data() -> Dataset:
    x = torch.arange(2000.0).view(-1, 1).repeat(1, 3)
    y = torch.arange(2000) % 10
    return Dataset(x, y, x + 0.5, y)


@pytest.fixture(scope="module")
def memories(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Memory]:
    shelf = Shelf(tmp_path_factory.mktemp("memorisation"), "memorisation", workers=1)
    return {
        fixed: memory(replace(SMALL, fixed=fixed), SEEDS, 1.0, IMAGES, shelf=shelf)
        for fixed in (False, True)
    }


def test_wrong_labels_are_as_many_as_asked_and_right_by_chance_at_times(data: Dataset) -> None:
    some = with_wrong_labels(data, 1000, 0.5, seed=3)
    changed = (some.train_y != data.train_y[:1000]).float().mean()
    assert abs(changed - 0.5 * 0.9) < 4 * (0.45 * 0.55 / 1000) ** 0.5
    assert torch.equal(some.train_x, data.train_x[:1000])
    assert torch.equal(some.val_y, data.val_y[:1000])
    assert torch.equal(some.train_y, with_wrong_labels(data, 1000, 0.5, seed=3).train_y)
    assert not torch.equal(some.train_y, with_wrong_labels(data, 1000, 0.5, seed=4).train_y)
    assert torch.equal(with_wrong_labels(data, 1000, 0.0).train_y, data.train_y[:1000])


def test_more_wrong_labels_are_wrong_where_fewer_were(data: Dataset) -> None:
    few, many = (with_wrong_labels(data, 2000, share).train_y for share in (0.2, 0.5))
    wrong = few != data.train_y
    assert torch.equal(many[wrong], few[wrong])


@pytest.mark.parametrize(("images", "share"), [(0, 0.1), (2001, 0.1), (10, -0.1), (10, 1.1)])
def test_numbers_out_of_range_are_refused(data: Dataset, images: int, share: float) -> None:
    with pytest.raises(ValueError, match=r"images must be 1 to 2000|share .* must be 0 to 1"):
        with_wrong_labels(data, images, share)


def test_a_network_learns_the_fixed_noise_of_images_that_it_can_only_memorise(
    memories: dict[bool, Memory],
) -> None:
    end = memories[True].end_loss
    assert (end["own"] < end["off"]).all()
    assert (end["own"] < end["fresh"]).all()
    assert (memories[True].w_ni[:, -1] > memories[False].w_ni[:, -1]).all()


def test_redrawn_noise_cannot_be_learnt(memories: dict[bool, Memory]) -> None:
    """Its last values are as good as fresh ones, but for the one epoch that saw them."""
    gain = {
        fixed: (m.end_loss["fresh"] - m.end_loss["own"]) / m.end_loss["off"]
        for fixed, m in memories.items()
    }
    assert np.abs(gain[False]).max() < 0.2 * gain[True].min()


def test_the_end_is_that_of_the_course(memories: dict[bool, Memory]) -> None:
    for m in memories.values():
        np.testing.assert_allclose(m.end_loss["off"], m.clean["train_loss"][:, -1], rtol=1e-5)
        np.testing.assert_allclose(
            m.end_accuracy["off"], m.clean["train_accuracy"][:, -1], rtol=1e-6
        )
        assert m.w_ni.shape == (len(SEEDS), len(m.step))
        assert m.clean["val_loss"].shape == (len(SEEDS), len(m.eval_step))
