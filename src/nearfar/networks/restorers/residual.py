"""SRResNet: residual blocks at the small size, then pixel shuffle to the large one."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor, nn
from torch.nn.functional import interpolate

from nearfar.errors import UserError
from nearfar.ranges import above, checked, whole_number

__all__ = ["EDSR", "ResidualBlock", "SRResNet"]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a skip: conv, norm, activation, conv, norm.

    Args:
        width: Channels.
        norm: Whether batch norm follows each convolution.
        activation: "prelu" with one slope, or "relu".
        scale: Factor of what the block adds.
    """

    def __init__(
        self, width: int, *, norm: bool = True, activation: str = "prelu", scale: float = 1.0
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(width, width, 3, padding=1, bias=True)]
        if norm:
            layers.append(nn.BatchNorm2d(width))
        layers.append(nn.PReLU() if activation == "prelu" else nn.ReLU())
        layers.append(nn.Conv2d(width, width, 3, padding=1, bias=True))
        if norm:
            layers.append(nn.BatchNorm2d(width))
        self.layers = nn.Sequential(*layers)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to the same shape."""
        added: Tensor = self.layers(x)
        return x + self.scale * added


class SRResNet(nn.Module):
    """The enlarger of SRGAN: a first convolution, residual blocks, a long skip, pixel shuffle.

    ``restore`` maps small images to large ones. ``forward`` gives one vector an image, the mean
    over places of the body's last map, so that the network serves as an encoder as well.

    Args:
        channels: Channels of the images.
        width: Channels of the body.
        blocks: Residual blocks.
        factor: How much larger the result is a side: 1, 2, 4 or 8.
        norm: Whether batch norm follows the body's convolutions.
        residual: Whether what the network makes is added to a bilinear enlargement, as in BasicSR;
            the paper's network makes the image itself.

    Shapes:
        restore: (N, channels, H, W) to (N, channels, factor H, factor W).
        body: (N, channels, H, W) to (N, width, H, W).
        forward: (N, channels, H, W) to (N, width).

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.residual import SRResNet
        >>> SRResNet(3, width=8, blocks=1, factor=4).restore(torch.zeros(1, 3, 5, 6)).shape
        torch.Size([1, 3, 20, 24])

    Source: Ledig et al. 2017, "Photo-Realistic Single Image Super-Resolution Using a Generative
    Adversarial Network", figure 4.
    """

    def __init__(
        self,
        channels: int = 3,
        *,
        width: int = 64,
        blocks: int = 16,
        factor: int = 4,
        norm: bool = True,
        residual: bool = False,
    ) -> None:
        super().__init__()
        _expect_sizes(channels, width, blocks, factor)
        self.dimension = width
        self.factor = factor
        self.residual = residual
        self.head = nn.Sequential(nn.Conv2d(channels, width, 9, padding=4), nn.PReLU())
        self.blocks = nn.Sequential(*(ResidualBlock(width, norm=norm) for _ in range(blocks)))
        tail: list[nn.Module] = [nn.Conv2d(width, width, 3, padding=1, bias=True)]
        if norm:
            tail.append(nn.BatchNorm2d(width))
        self.tail = nn.Sequential(*tail)
        self.enlarge = _pixel_shuffles(width, factor, prelu=True)
        self.last = nn.Conv2d(width, channels, 9, padding=4)

    def body(self, x: Tensor) -> Tensor:
        """The map before the enlargement, (N, width, H, W)."""
        first = self.head(x)
        last: Tensor = first + self.tail(self.blocks(first))
        return last

    def restore(self, x: Tensor) -> Tensor:
        """The large images."""
        made: Tensor = self.last(self.enlarge(self.body(x)))
        if not self.residual:
            return made
        return made + interpolate(x, scale_factor=self.factor, mode="bilinear")

    def forward(self, x: Tensor) -> Tensor:
        """One vector an image, (N, width)."""
        return self.body(x).mean(dim=(2, 3))


class EDSR(nn.Module):
    """Residual blocks without batch norm, scaled, then pixel shuffle.

    Args:
        channels: Channels of the images.
        width: Channels of the body: 64 for EDSR-S, 256 for EDSR-L.
        blocks: Residual blocks: 16 for EDSR-S, 32 for EDSR-L.
        factor: How much larger the result is a side: 1, 2, 4 or 8.
        scale: Factor of what each block adds, above 0: 1 for EDSR-S, 0.1 for EDSR-L.

    Shapes:
        As ``SRResNet``.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.residual import EDSR
        >>> EDSR(1, width=8, blocks=1, factor=2).restore(torch.zeros(1, 1, 5, 6)).shape
        torch.Size([1, 1, 10, 12])

    Source: Lim et al. 2017, "Enhanced Deep Residual Networks for Single Image Super-Resolution".
    """

    def __init__(
        self,
        channels: int = 3,
        *,
        width: int = 64,
        blocks: int = 16,
        factor: int = 4,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        _expect_sizes(channels, width, blocks, factor)
        checked(Annotated[float, above(0)], "scale", scale)
        self.dimension = width
        self.factor = factor
        self.head = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.Sequential(
            *(
                ResidualBlock(width, norm=False, activation="relu", scale=scale)
                for _ in range(blocks)
            )
        )
        self.tail = nn.Conv2d(width, width, 3, padding=1)
        self.enlarge = _pixel_shuffles(width, factor, prelu=False)
        self.last = nn.Conv2d(width, channels, 3, padding=1)

    def body(self, x: Tensor) -> Tensor:
        """The map before the enlargement, (N, width, H, W)."""
        first = self.head(x)
        last: Tensor = first + self.tail(self.blocks(first))
        return last

    def restore(self, x: Tensor) -> Tensor:
        """The large images."""
        made: Tensor = self.last(self.enlarge(self.body(x)))
        return made

    def forward(self, x: Tensor) -> Tensor:
        """One vector an image, (N, width)."""
        return self.body(x).mean(dim=(2, 3))


def _expect_sizes(channels: int, width: int, blocks: int, factor: int) -> None:
    for name, value in (("channels", channels), ("width", width), ("blocks", blocks)):
        checked(Annotated[int, whole_number()], name, value)
    if factor not in (1, 2, 4, 8):
        raise UserError(f"factor is {factor!r}; expected 1, 2, 4 or 8.")


def _pixel_shuffles(width: int, factor: int, *, prelu: bool) -> nn.Sequential:
    """One convolution and shuffle for each doubling."""
    layers: list[nn.Module] = []
    for _ in range(factor.bit_length() - 1):
        layers.append(nn.Conv2d(width, 4 * width, 3, padding=1))
        layers.append(nn.PixelShuffle(2))
        if prelu:
            layers.append(nn.PReLU())
    return nn.Sequential(*layers)
