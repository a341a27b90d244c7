"""What the live network of the book takes from the package: images, rules, colours, formulas.

The network in the page is written in JavaScript (``book/_ext/live``); its weights, batches and
noise are those that `nin.networks.training.train` draws from the same seed.
"""

from __future__ import annotations

import base64
import zlib

import numpy as np
import torch
from torch import Tensor

from nin.companion.explorer import arrow_function, constants
from nin.networks import training
from nin.networks.data import ORIGINAL_TRAIN, Dataset, every_image, scale
from nin.studies.borders.noise_only import quantiles
from nin.theory import symbols as s
from nin.theory.expansion import EQ2
from nin.theory.mean_step import hessian_rate

N_TRAIN, N_TEST, SIDE = 3000, 500, 14
"""Images in the page, and their pixels a side: a run takes seconds, and all four phases show."""
CLASSES = (
    "T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot",
)  # fmt: skip


def small_images() -> tuple[Tensor, Tensor]:
    """Return the first images of either part of Fashion-MNIST, each pixel the mean of four.

    Returns:
        Pixels, (3500, 196) uint8, and labels, (3500,) int64; 3000 training images come first.
    """
    x, y = every_image()
    which = torch.cat([torch.arange(N_TRAIN), ORIGINAL_TRAIN + torch.arange(N_TEST)])
    quarters = x[which].float().view(-1, SIDE, 2, SIDE, 2)
    return quarters.mean((2, 4)).round().to(torch.uint8).flatten(1), y[which]


def small_data() -> Dataset:
    """Return the data that the page trains on, scaled as `nin.networks.data.load` does."""
    pixels, y = small_images()
    x = pixels.float().div_(255)
    scale(x, "std", N_TRAIN)
    return Dataset(x[:N_TRAIN], y[:N_TRAIN], x[N_TRAIN:], y[N_TRAIN:])


def images_script() -> str:
    """Return the script that holds the images: pixels and labels, deflated, in base 64."""
    pixels, labels = small_images()
    content = np.concatenate([pixels.numpy().ravel(), labels.numpy().astype(np.uint8)])
    text = base64.b64encode(zlib.compress(content.tobytes(), 9)).decode()
    return f'globalThis.ninImages = "{text}";\n'


def package_module() -> str:
    """Return the JavaScript module of what the page takes from the package."""
    train = small_images()[0][:N_TRAIN].float().div(255)
    curvature = s.Symbol("curvature")
    values: dict[str, object] = {
        "DENSE_STEPS": training.DENSE_STEPS,
        "STEPS_PER_DECADE": training.STEPS_PER_DECADE,
        "QUANTILES": quantiles("gaussian").tolist(),
        "CLASSES": CLASSES,
        "IMAGES": {
            "train": N_TRAIN,
            "test": N_TEST,
            "size": SIDE**2,
            "mean": train.mean().item(),
            "std": train.std().item(),
        },
    }
    rate = hessian_rate(EQ2.corrected) * curvature
    function = arrow_function([s.eta, s.sigma_eps, curvature], [rate])
    return constants(values) + f"export const eq2Rate = {function};\n"
