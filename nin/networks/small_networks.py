"""Small networks as one writes them: convolutions, a ResNet and a transformer, for images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nin.networks.seeds import generator


class ConvNet(nn.Module):
    """Two convolutions of 3 x 3 with ReLU, each with a maximum over 2 x 2 behind, and one layer.

    Weights start as N(0, 1/fan-in), biases as 0, as those of the paper's MLPs.
    """

    def __init__(self, side: int = 14, channels: tuple[int, int] = (8, 16), seed: int = 0) -> None:
        """Make the network, 3 thousand weights by default.

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
        self.conv0 = nn.Conv2d(1, channels[0], 3, padding=1)
        self.conv1 = nn.Conv2d(*channels, 3, padding=1)
        self.out = nn.Linear(channels[1] * (side // 4) ** 2, 10)
        g = generator(seed, "weights")
        with torch.no_grad():
            for p in self.parameters():
                p.zero_() if p.ndim == 1 else p.normal_(0, p[0].numel() ** -0.5, generator=g)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, (batch, 10), of images (batch, 1, side, side)."""
        for layer in (self.conv0, self.conv1):
            x = F.max_pool2d(F.relu(layer(x)), 2)
        return self.out(x.flatten(1))


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
