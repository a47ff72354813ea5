"""NAFNet with several heads: a U-Net of blocks without activation functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, pad

from nearfar.errors import UserError
from nearfar.losses.restoration.heads import pair_means
from nearfar.ranges import checked, whole_number

__all__ = ["ChannelNorm", "GatedBlock", "NAFNet"]


class ChannelNorm(nn.Module):
    """Layer norm over the channels at each place, with a scale and a shift.

    Args:
        width: Channels.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.nafnet import ChannelNorm
        >>> ChannelNorm(4)(torch.rand(2, 4, 3, 3)).mean(dim=1).abs().max() < 1e-5
        tensor(True)

    Source: Ba et al. 2016; as in Chen et al. 2022 (NAFNet), eps 1e-6.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to the same shape."""
        last = layer_norm(x.movedim(1, 3), self.weight.shape, self.weight, self.bias, 1e-6)
        return last.movedim(3, 1)


class GatedBlock(nn.Module):
    """NAFNet's block: gates of two halves multiplied take the place of activation functions.

    x + beta f(norm x), then x + gamma g(norm x); f: 1x1 to 2c, 3x3 depthwise, halves multiplied,
    times a 1x1 of the mean over places, 1x1. g: 1x1 to 2c, halves multiplied, 1x1. beta and gamma
    begin at 0.

    Args:
        width: Channels, c.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.nafnet import GatedBlock
        >>> x = torch.rand(1, 4, 5, 5)
        >>> bool((GatedBlock(4)(x) == x).all())
        True

    Source: Chen et al. 2022, "Simple Baselines for Image Restoration", figure 3.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(width)
        self.conv1 = nn.Conv2d(width, 2 * width, 1)
        self.conv2 = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1))
        self.conv3 = nn.Conv2d(width, width, 1)
        self.norm2 = ChannelNorm(width)
        self.conv4 = nn.Conv2d(width, 2 * width, 1)
        self.conv5 = nn.Conv2d(width, width, 1)
        self.beta = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to the same shape."""
        inner = _gated(self.conv2(self.conv1(self.norm1(x))))
        x = x + self.beta * self.conv3(inner * self.sca(inner))
        last: Tensor = x + self.gamma * self.conv5(_gated(self.conv4(self.norm2(x))))
        return last


def _gated(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=1)
    return first * second


class NAFNet(nn.Module):
    """A U-Net of gated blocks whose last convolution makes one residual for each head.

    Args:
        channels: Channels of the images.
        width: Channels at full size; each size further down has twice as many.
        encoder: Blocks of each size on the way down.
        middle: Blocks at the smallest size.
        decoder: Blocks of each size on the way up, as many numbers as ``encoder``.
        heads: Outputs for each image.
        combined: Whether the means of all pairs of heads are the outputs, ``pair_means``.

    Shapes:
        forward_heads: (N, channels, H, W) to (N, heads or pairs, channels, H, W).
        restore: (N, channels, H, W) to (N, channels, H, W), the first output.
        forward: (N, channels, H, W) to (N, width), the mean of the body's last map.

    Raises:
        UserError: If the numbers of sizes differ.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.nafnet import NAFNet
        >>> network = NAFNet(3, 4, encoder=(1, 1), decoder=(1, 1), heads=2)
        >>> network.forward_heads(torch.zeros(1, 3, 9, 10)).shape
        torch.Size([1, 2, 3, 9, 10])

    Source: Chen et al. 2022; with several heads Liu et al. 2022, "Multi-Outputs Is All You Need For
    Deblur".
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 32,
        *,
        encoder: Sequence[int] = (1, 1, 1, 28),
        middle: int = 1,
        decoder: Sequence[int] = (1, 1, 1, 1),
        heads: int = 1,
        combined: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("width", width), ("heads", heads)):
            checked(Annotated[int, whole_number()], name, value)
        if len(encoder) != len(decoder) or not encoder:
            raise UserError(
                f"Expected as many sizes down as up, at least one; found {len(encoder)} and"
                f" {len(decoder)}."
            )
        self.dimension = width
        self.heads = heads
        self.combined = combined
        self.intro = nn.Conv2d(channels, width, 3, padding=1)
        self.ending = nn.Conv2d(width, channels * heads, 3, padding=1)
        self.encoders, self.downs = nn.ModuleList(), nn.ModuleList()
        self.decoders, self.ups = nn.ModuleList(), nn.ModuleList()
        for count in encoder:
            self.encoders.append(_blocks(width, count))
            self.downs.append(nn.Conv2d(width, 2 * width, 2, 2))
            width *= 2
        self.middle_blks = _blocks(width, middle)
        for count in decoder:
            widen = nn.Conv2d(width, 2 * width, 1, bias=False)
            self.ups.append(nn.Sequential(widen, nn.PixelShuffle(2)))
            width //= 2
            self.decoders.append(_blocks(width, count))

    def body(self, x: Tensor) -> Tensor:
        """The last map, (N, width, H', W'), of the image padded to a multiple of 2^sizes."""
        unit = 2 ** len(self.encoders)
        height, width = x.shape[2:]
        x = self.intro(pad(x, (0, -width % unit, 0, -height % unit)))
        skips = []
        for blocks, down in zip(self.encoders, self.downs, strict=True):
            x = blocks(x)
            skips.append(x)
            x = down(x)
        x = self.middle_blks(x)
        for blocks, up in zip(self.decoders, self.ups, strict=True):
            x = blocks(up(x) + skips.pop())
        return x

    def forward_heads(self, x: Tensor) -> Tensor:
        """All outputs: the image plus each head's residual."""
        samples, channels, height, width = x.shape
        residuals = self.ending(self.body(x))[:, :, :height, :width]
        residuals = residuals.view(samples, self.heads, channels, height, width)
        if self.combined:
            residuals = pair_means(residuals)
        made: Tensor = x[:, None] + residuals
        return made

    def restore(self, x: Tensor) -> Tensor:
        """The first output."""
        return self.forward_heads(x)[:, 0]

    def forward(self, x: Tensor) -> Tensor:
        """One vector an image, (N, width)."""
        return self.body(x).mean(dim=(2, 3))


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(GatedBlock(width) for _ in range(count)))
