"""Spoilt images are what formulas of another hand make of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from nin.networks.corruptions import SEVERITIES, corrupt


@pytest.fixture
def pixels() -> Tensor:
    return torch.rand(400, 784, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("std", [0.7, 1.2, 2.0])
def test_blur_is_scipys_gaussian_filter_with_black_beyond_the_edges(
    pixels: Tensor, std: float
) -> None:
    found = corrupt(pixels[:20], "blur", std).view(-1, 28, 28).numpy()
    images = pixels[:20].view(-1, 28, 28).double().numpy()
    peer = [gaussian_filter(image, std, mode="constant") for image in images]
    np.testing.assert_allclose(found, peer, atol=1e-6)  # float32 sums of some 30 terms


def test_noise_has_its_strength_where_nothing_is_cut() -> None:
    grey = torch.full((500, 784), 0.5)
    off = corrupt(grey, "noise", 0.05) - grey  # black and white are ten standard deviations away
    n = off.numel()
    assert abs(float(off.mean())) < 4 * 0.05 / n**0.5
    assert float(off.std()) == pytest.approx(0.05, rel=4 / (2 * n) ** 0.5)


def test_noise_stays_between_black_and_white(pixels: Tensor) -> None:
    found = corrupt(pixels, "noise", 0.3)
    assert (found.min(), found.max()) == (0, 1)


def test_contrast_scales_the_deviation_of_an_image_and_keeps_its_mean(pixels: Tensor) -> None:
    found = corrupt(pixels, "contrast", 0.2).numpy()
    # float32: a mean of 784 numbers
    np.testing.assert_allclose(found.mean(1), pixels.numpy().mean(1), rtol=1e-5)
    np.testing.assert_allclose(found.std(1), 0.2 * pixels.numpy().std(1), rtol=1e-5)


def test_occlusion_blackens_one_square_and_nothing_else() -> None:
    found = corrupt(torch.ones(400, 784), "occlusion", 6).view(-1, 28, 28).numpy()
    corners = set()
    for image in found:
        rows, columns = np.nonzero(image == 0)
        assert len(rows) == 36
        assert (np.ptp(rows), np.ptp(columns)) == (5, 5)
        corners.add((rows[0], columns[0]))
    places = np.array(sorted(corners))
    assert len(places) > 200  # of 23 squared, 400 draws find 281 on average
    assert (places.min(0).tolist(), places.max(0).tolist()) == ([0, 0], [22, 22])


@pytest.mark.parametrize("how", ["noise", "blur", "contrast", "occlusion"])
def test_the_same_images_are_spoilt_alike_at_every_call_and_more_with_severity(
    pixels: Tensor, how: str
) -> None:
    sizes = [size for kind, size in SEVERITIES if kind == how]
    off = [float((corrupt(pixels, how, size) - pixels).norm()) for size in sizes]
    assert off == sorted(off)
    assert torch.equal(corrupt(pixels, how, sizes[0]), corrupt(pixels, how, sizes[0]))


@pytest.mark.parametrize(
    "how, none", [("noise", 0), ("blur", 0), ("contrast", 1), ("occlusion", 0)]
)
def test_the_mildest_severity_changes_nothing(pixels: Tensor, how: str, none: float) -> None:
    torch.testing.assert_close(corrupt(pixels, how, none), pixels)


@pytest.mark.parametrize(
    "shape, how, size, said",
    [
        ((2, 784), "fog", 1.0, "how must be one of"),
        ((2, 784), "contrast", 1.5, "must be 0 to 1"),
        ((2, 784), "occlusion", 29, "must be 0 to 28"),
        ((2, 784), "noise", -0.1, "must be 0 to 1"),
        ((2, 783), "noise", 0.1, "square images"),
    ],
)
def test_what_cannot_be_spoilt_is_refused(
    shape: tuple[int, int], how: str, size: float, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        corrupt(torch.zeros(shape), how, size)
