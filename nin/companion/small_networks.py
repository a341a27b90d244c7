"""Two small networks as one writes them, a ResNet and a transformer, for 28 x 28 images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """A residual block: two convolutions with BatchNorm, beside a short cut."""

    def __init__(self, d_in: int, d_out: int, stride: int, act: type[nn.Module]) -> None:
        """Make the block."""
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(d_in, d_out, 3, stride, 1), nn.BatchNorm2d(d_out)
        self.conv2, self.norm2 = nn.Conv2d(d_out, d_out, 3, 1, 1), nn.BatchNorm2d(d_out)
        self.short, self.act = nn.Conv2d(d_in, d_out, 1, stride), act()

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, d_out, height / stride, width / stride)."""
        z = self.act(self.norm1(self.conv1(x)))
        return self.act(self.norm2(self.conv2(z)) + self.short(x))


class ResNet(nn.Sequential):
    """A stem, two residual blocks, the mean over positions, and ten outputs."""

    def __init__(self, width: int = 12, act: type[nn.Module] = nn.ReLU, seed: int = 0) -> None:
        """Make the network, 9 thousand weights by default.

        Args:
            width: Channels of the first block; the second has twice as many.
            act: Activation.
            seed: Of the initial weights.
        """
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            super().__init__()
            self.stem = nn.Conv2d(1, width, 3, 2, 1)
            self.norm = nn.BatchNorm2d(width)
            self.relu = act()
            self.block1 = Block(width, width, 2, act)
            self.block2 = Block(width, 2 * width, 2, act)
            self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.head = nn.Linear(2 * width, 10)


class EncoderLayer(nn.Module):
    """Attention and an MLP, each behind a LayerNorm and beside a short cut."""

    def __init__(self, width: int, heads: int) -> None:
        """Make the layer."""
        super().__init__()
        self.heads = heads
        self.norm1, self.qkv = nn.LayerNorm(width), nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2, self.up = nn.LayerNorm(width), nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, tokens, width)."""
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*qkv).transpose(1, 2).reshape(batch, tokens, width)
        x = x + self.out(mixed)
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """An image as 16 tokens, patches of 7 x 7, through two layers; ten outputs of their mean."""

    def __init__(self, width: int = 32, heads: int = 4, layers: int = 2, seed: int = 0) -> None:
        """Make the network, 21 thousand weights by default.

        Args:
            width: Of a token.
            heads: Of the attention.
            layers: How many.
            seed: Of the initial weights.
        """
        super().__init__()
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.embed = nn.Linear(49, width)
            self.place = nn.Parameter(0.02 * torch.randn(16, width))
            self.layers = nn.Sequential(*[EncoderLayer(width, heads) for _ in range(layers)])
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, (batch, 10), of images (batch, 1, 28, 28)."""
        tokens = F.unfold(x, 7, stride=7).mT
        return self.head(self.norm(self.layers(self.embed(tokens) + self.place)).mean(1))
