"""A residual network that gives its maps at five sizes, fine to coarse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor, nn

from nearfar.errors import UserError
from nearfar.networks.padded import PaddedConvolution
from nearfar.ranges import checked, whole_number

__all__ = ["BasicBlock", "ResidualPyramid"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a skip.

    Args:
        given: Channels of the input.
        width: Channels of the output.
        stride: Of the first convolution; the skip is a 1x1 convolution where sizes differ.

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.pyramid import BasicBlock
        >>> BasicBlock(4, 8, 2)(torch.zeros(2, 4, 6, 6)).shape
        torch.Size([2, 8, 3, 3])

    Source: He et al. 2016, figure 2.
    """

    def __init__(self, given: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.first = PaddedConvolution(given, width, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = PaddedConvolution(width, width, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or given != width:
            convolution = nn.Conv2d(given, width, 1, stride, bias=False)
            self.skip = nn.Sequential(convolution, nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """(N, given, H, W) to (N, width, H / stride, W / stride)."""
        inner: Tensor = self.first_norm(self.first(x)).relu()
        skipped: Tensor = self.skip(x)
        added: Tensor = self.second_norm(self.second(inner))
        return (added + skipped).relu()


class ResidualPyramid(nn.Module):
    """ResNet-18's trunk: five maps at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image.

    Args:
        channels: Channels of the input: 3, or 6 for a pair of images.
        width: Channels of the first two maps; the others have 2, 4 and 8 times as many.
        blocks: Blocks of each of the four stages; fewer numbers leave out the last stages and their
            maps.

    Attributes:
        widths: Channels of the maps.

    Shapes:
        pyramid: (N, channels, H, W) to (N, widths[i], H / 2^(i+1), W / 2^(i+1)), i = 0..4.
        forward: (N, channels, H, W) to (N, widths[4]), the mean of the last map.

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.pyramid import ResidualPyramid
        >>> maps = ResidualPyramid(3, 8).pyramid(torch.zeros(1, 3, 32, 64))
        >>> [tuple(map_.shape[1:]) for map_ in maps]
        [(8, 16, 32), (8, 8, 16), (16, 4, 8), (32, 2, 4), (64, 1, 2)]

    Source: He et al. 2016; as in Godard et al. 2019 (images are shifted by 0.45 and divided by
    0.225).
    """

    def __init__(
        self, channels: int = 3, width: int = 64, blocks: Sequence[int] = (2, 2, 2, 2)
    ) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("width", width)):
            checked(Annotated[int, whole_number()], name, value)
        if not 1 <= len(blocks) <= 4 or min(blocks) < 1:
            raise UserError(
                f"blocks are {tuple(blocks)}; expected 4 numbers of at least 1, or fewer."
            )
        widths = (width, width, 2 * width, 4 * width, 8 * width)
        self.widths = widths[: 1 + len(blocks)]
        self.dimension = self.widths[-1]
        self.stem = PaddedConvolution(channels, width, 7, 2, 3, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.stages = nn.ModuleList()
        given = width
        for stage, (wide, count) in enumerate(zip(self.widths[1:], blocks, strict=True)):
            layers = [BasicBlock(given, wide, 1 if stage == 0 else 2)]
            layers += [BasicBlock(wide, wide) for _ in range(count - 1)]
            self.stages.append(nn.Sequential(*layers))
            given = wide

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """The five maps, fine to coarse."""
        maps = [self.stem_norm(self.stem((x - 0.45) / 0.225)).relu()]
        x = self.pool(maps[0])
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """One vector an image."""
        return self.pyramid(x)[-1].mean(dim=(2, 3))
