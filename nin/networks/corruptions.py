"""Images as a camera might spoil them: noise, blur, contrast, occlusion, each of a stated size.

By code alone and the same at every call, so that all networks see the same spoilt images.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from nin.networks.seeds import generator

SEVERITIES: tuple[tuple[str, float], ...] = tuple(
    (how, size)
    for how, sizes in {
        "noise": (0.1, 0.2, 0.3),
        "blur": (0.7, 1.2, 2.0),
        "contrast": (0.6, 0.4, 0.2),
        "occlusion": (6.0, 10.0, 14.0),
    }.items()
    for size in sizes
)
"""Noise: standard deviation over the range from black to white. Blur: standard deviation in pixels.
Contrast: factor on what differs from an image's mean. Occlusion: edge of the square in pixels."""


def corrupt(pixels: Tensor, how: str, severity: float, seed: int = 0) -> Tensor:
    """Return spoilt images.

    Args:
        pixels: Images, (n, side**2), from 0 for black to 1 for white.
        how: ``"noise"``, Gaussian, for each pixel alone, what leaves [0, 1] cut; ``"blur"``, by a
            Gaussian, all black beyond the edges; ``"contrast"``, each image drawn to its own mean;
            or ``"occlusion"``, a black square wholly inside, each image's at a place of its own.
        severity: In the units of `SEVERITIES`.
        seed: Of the noise and the places, which severities of one kind share.

    Raises:
        ValueError: If the kind is unknown, the severity out of range, or images are not square.
    """
    if how not in _KINDS:
        raise ValueError(f"how must be one of {sorted(_KINDS)}, not {how!r}")
    side = math.isqrt(pixels.shape[-1])
    if pixels.ndim != 2 or side**2 != pixels.shape[-1]:
        raise ValueError(f"expected square images as rows of pixels, not {tuple(pixels.shape)}")
    call, most = _KINDS[how]
    if not 0 <= severity <= (most or side):
        raise ValueError(f"a severity of {how} must be 0 to {most or side}, not {severity}")
    return call(pixels, severity, side, generator(seed, "corruption", how))


def _noise(pixels: Tensor, std: float, side: int, g: torch.Generator) -> Tensor:
    return (pixels + std * torch.randn(pixels.shape, generator=g)).clamp(0, 1)


def _blur(pixels: Tensor, std: float, side: int, g: torch.Generator) -> Tensor:
    if std == 0:
        return pixels.clone()
    reach = int(4 * std + 0.5)  # beyond it a Gaussian has nothing that a grey level would show
    weights = torch.exp(-(torch.arange(-reach, reach + 1) ** 2) / (2 * std**2))
    weights = F.pad(weights / weights.sum(), (side, side))
    across = weights.unfold(0, side, 1)[reach + 1 : reach + 1 + side].flip(0)  # (to, from)
    return (across @ pixels.view(-1, side, side) @ across.T).flatten(1)


def _contrast(pixels: Tensor, factor: float, side: int, g: torch.Generator) -> Tensor:
    mean = pixels.mean(1, keepdim=True)
    return mean + factor * (pixels - mean)


def _occlusion(pixels: Tensor, edge: float, side: int, g: torch.Generator) -> Tensor:
    edge = int(edge)
    corners = (torch.rand(len(pixels), 2, generator=g) * (side - edge + 1)).long()
    along = torch.arange(side)
    rows, columns = ((along >= c.unsqueeze(1)) & (along < c.unsqueeze(1) + edge) for c in corners.T)
    hidden = rows.unsqueeze(2) & columns.unsqueeze(1)
    return pixels.masked_fill(hidden.flatten(1), 0.0)


_KINDS: dict[str, tuple[Callable[[Tensor, float, int, torch.Generator], Tensor], float]] = {
    "noise": (_noise, 1.0),
    "blur": (_blur, 0.0),
    "contrast": (_contrast, 1.0),
    "occlusion": (_occlusion, 0.0),
}
"""What does it, and the most that makes sense; 0: the edge of the image."""
