"""Two small networks for images that are no MLPs: a convolutional one and a transformer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nin.networks.seeds import generator


class ConvNet(nn.Module):
    """Two convolutions of 3 x 3 with ReLU, each with a maximum over 2 x 2 behind, and one layer.

    Weights start as N(0, 1/fan-in), biases as 0, as those of the paper's MLPs.
    """

    def __init__(self, side: int = 14, channels: tuple[int, int] = (8, 16), seed: int = 0) -> None:
        """Make the network.

        Args:
            side: Pixels along an edge of an image, >= 4.
            channels: Of the two convolutions.
            seed: Of the initial weights.

        Raises:
            ValueError: If an image is too small to be halved twice.
        """
        super().__init__()
        if side < 4:
            raise ValueError(f"an image that is halved twice needs side >= 4, not {side}")
        self.side = side
        self.conv0 = nn.Conv2d(1, channels[0], 3, padding=1)
        self.conv1 = nn.Conv2d(*channels, 3, padding=1)
        self.out = nn.Linear(channels[1] * (side // 4) ** 2, 10)
        _draw(self, seed)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs (logits), (batch, 10), of flat images (batch, side^2)."""
        x = x.reshape(-1, 1, self.side, self.side)
        for layer in (self.conv0, self.conv1):
            x = F.max_pool2d(F.relu(layer(x)), 2)
        return self.out(x.flatten(1))


class Block(nn.Module):
    """A block of a transformer: attention, then two layers with GELU, a norm before each."""

    def __init__(self, width: int, heads: int) -> None:
        """Make the block.

        Args:
            width: Of each token.
            heads: Of the attention; they share the width.
        """
        super().__init__()
        self.heads = heads
        self.norm0, self.norm1 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of tokens, (batch, tokens, width)."""
        split = (*x.shape[:-1], 3, self.heads, -1)
        q, k, v = self.qkv(self.norm0(x)).reshape(split).movedim((-3, -2), (0, 2))
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        x = x + self.mix(seen)
        return x + self.down(F.gelu(self.up(self.norm1(x))))


class Transformer(nn.Module):
    """Patches of an image as tokens, a block or more, and the mean token, normed, to the outputs.

    Weights start as N(0, 1/fan-in), biases as 0; places are learnt and start as the tokens do.
    """

    def __init__(
        self,
        side: int = 28,
        patch: int = 7,
        width: int = 32,
        depth: int = 1,
        heads: int = 4,
        seed: int = 0,
    ) -> None:
        """Make the network.

        Args:
            side: Pixels along an edge of an image.
            patch: Pixels along an edge of a patch.
            width: Of each token.
            depth: Blocks.
            heads: Of the attention.
            seed: Of the initial weights.

        Raises:
            ValueError: If patches do not fill the image, or heads do not share the width.
        """
        super().__init__()
        if side % patch or width % heads:
            raise ValueError(
                f"patch must divide side and heads must divide width, not {patch}, {side}, "
                f"{heads}, {width}"
            )
        self.side, self.patch = side, patch
        self.embed = nn.Linear(patch**2, width)
        self.place = nn.Parameter(torch.empty((side // patch) ** 2, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, 10)
        _draw(self, seed)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs (logits), (batch, 10), of flat images (batch, side^2)."""
        n = self.side // self.patch
        x = x.reshape(-1, n, self.patch, n, self.patch).transpose(2, 3).flatten(3).flatten(1, 2)
        x = self.embed(x) + self.place
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x.mean(1)))


def _draw(model: nn.Module, seed: int) -> None:
    """Draw all weights; norms stay as they are made, 1 and 0."""
    g = generator(seed, "weights")
    norms = {id(p) for m in model.modules() if isinstance(m, nn.LayerNorm) for p in m.parameters()}
    with torch.no_grad():
        for name, p in model.named_parameters():
            if id(p) in norms:
                continue
            if p.ndim == 1:
                p.zero_()
            else:
                fan_in = p[0].numel()
                p.normal_(0, 1 if name == "place" else 1 / math.sqrt(fan_in), generator=g)
