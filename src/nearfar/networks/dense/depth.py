"""Monodepth2's heads: disparity at several sizes from a pyramid of maps, and motion of a pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, elu, interpolate, pad

from nearfar.errors import UserError
from nearfar.networks.dense.pyramid import ResidualPyramid
from nearfar.networks.padded import PaddedConvolution
from nearfar.ranges import checked, whole_number

__all__ = ["DepthDecoder", "PoseConvolutions", "PoseNetwork"]

_WIDTHS = (16, 32, 64, 128, 256)


class DepthDecoder(nn.Module):
    """A U-Net decoder with a disparity output at each of its last sizes.

    From the coarsest map on: 3x3 convolution and ELU, nearest enlargement by 2, the encoder's next
    finer map beside it, 3x3 convolution and ELU. Borders are reflected. An output is a 3x3
    convolution to one channel and a logistic function.

    Args:
        maps: Channels of the encoder's maps, fine to coarse, each half the size of the one before.
        scales: Outputs wanted, from 1 to the number of maps, at 1, 1/2, ... of twice the finest
            map's size.
        widths: Channels of the decoder at the sizes of the outputs, fine to coarse, one a map; None
            for 16, 32, 64, 128, 256.

    Shapes:
        forward: maps (N, maps[i], H / 2^(i+1), W / 2^(i+1)) to (N, 1, H / 2^s, W / 2^s).

    Raises:
        UserError: If numbers of maps, widths and scales do not fit.

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.depth import DepthDecoder
        >>> from nearfar.networks.dense.pyramid import ResidualPyramid
        >>> encoder = ResidualPyramid(3, 8)
        >>> outputs = DepthDecoder(encoder.widths)(encoder.pyramid(torch.zeros(1, 3, 64, 64)))
        >>> [tuple(output.shape[1:]) for output in outputs]
        [(1, 64, 64), (1, 32, 32), (1, 16, 16), (1, 8, 8)]

    Source: Godard et al. 2019, supplementary table.
    """

    def __init__(
        self, maps: Sequence[int], scales: int = 4, widths: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        wide = list(_WIDTHS[: len(maps)] if widths is None else widths)
        if len(wide) != len(maps) or len(maps) < 2:
            raise UserError(
                f"A decoder of {len(maps)} maps needs as many widths, at least 2;"
                f" found {len(wide)}."
            )
        if not 1 <= scales <= len(maps):
            raise UserError(f"scales is {scales}; expected from 1 to {len(maps)}.")
        self.scales = scales
        self.before = nn.ModuleList()
        self.after = nn.ModuleList()
        self.outputs = nn.ModuleList(_convolution(wide[scale], 1) for scale in range(scales))
        for level, width in enumerate(wide):
            coarser = maps[-1] if level + 1 == len(maps) else wide[level + 1]
            beside = maps[level - 1] if level else 0
            self.before.append(_convolution(coarser, width))
            self.after.append(_convolution(width + beside, width))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The outputs in (0, 1), finest first."""
        if len(maps) != len(self.before):
            raise UserError(f"Expected {len(self.before)} maps; found {len(maps)}.")
        x = maps[-1]
        found: list[Tensor] = []
        for level in reversed(range(len(maps))):
            x = elu(self.before[level](x))
            if level:
                x = interpolate(x, size=maps[level - 1].shape[2:], mode="nearest")
                x = torch.cat([x, maps[level - 1]], dim=1)
            else:
                x = interpolate(x, scale_factor=2, mode="nearest")
            x = elu(self.after[level](x))
            if level < self.scales:
                found.append(self.outputs[level](x).sigmoid())
        return found[::-1]


class ReflectedConvolution(nn.Conv2d):
    """A 3x3 convolution with reflected borders; where a side is a single pixel it is repeated."""

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[2:]) > 1:
            return super().forward(x)
        return conv2d(pad(x, (1, 1, 1, 1), mode="replicate"), self.weight, self.bias)


def _convolution(given: int, width: int) -> nn.Conv2d:
    return ReflectedConvolution(given, width, 3, padding=1, padding_mode="reflect")


class PoseNetwork(nn.Module):
    """The motion between two images: a pyramid of the pair, four convolutions, a mean.

    Args:
        channels: Channels of one image.
        width: Channels of the pyramid's first map.
        hidden: Channels of the head.

    Shapes:
        forward: (N, channels, H, W) twice, in the order of time, to axis-angle (N, 3) and
        translation (N, 3), both multiplied by 0.01.

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.depth import PoseNetwork
        >>> pose = PoseNetwork(3, 8, 16)
        >>> [part.shape for part in pose(torch.zeros(2, 3, 32, 32), torch.ones(2, 3, 32, 32))]
        [torch.Size([2, 3]), torch.Size([2, 3])]

    Source: Godard et al. 2019; the authors' head predicts two motions and uses the first.
    """

    def __init__(self, channels: int = 3, width: int = 64, hidden: int = 256) -> None:
        super().__init__()
        checked(Annotated[int, whole_number()], "hidden", hidden)
        self.encoder = ResidualPyramid(2 * channels, width)
        self.head = nn.Sequential(
            nn.Conv2d(self.encoder.dimension, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, 6, 1),
        )

    def forward(self, earlier: Tensor, later: Tensor) -> tuple[Tensor, Tensor]:
        """Axis-angle and translation of the camera between the images."""
        pair = torch.cat([earlier, later], dim=1)
        motion = 0.01 * self.head(self.encoder.pyramid(pair)[-1]).mean(dim=(2, 3))
        return motion[:, :3], motion[:, 3:]


class PoseConvolutions(nn.Module):
    """The motion between two images by seven convolutions of stride 2.

    Args:
        channels: Channels of one image.
        width: Channels of the first convolution; the others have 2, 4, 8, 16, 16 and 16 times as
            many.

    Shapes:
        As ``PoseNetwork``. The authors multiply its translation by the mean inverse depth.

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.depth import PoseConvolutions
        >>> images = torch.rand(2, 1, 3, 16, 16)
        >>> turn, shift = PoseConvolutions(3, 4)(images[0], images[1])
        >>> turn.shape
        torch.Size([1, 3])

    Source: Zhou et al. 2017; as in Godard et al. 2019.
    """

    def __init__(self, channels: int = 3, width: int = 16) -> None:
        super().__init__()
        widths = [2 * channels, *(width * times for times in (1, 2, 4, 8, 16, 16, 16))]
        sizes = (7, 5, 3, 3, 3, 3, 3)
        self.convolutions = nn.Sequential()
        for given, made, size in zip(widths, widths[1:], sizes, strict=False):
            self.convolutions.append(PaddedConvolution(given, made, size, 2, size // 2))
            self.convolutions.append(nn.ReLU())
        self.head = nn.Conv2d(widths[-1], 6, 1)

    def forward(self, earlier: Tensor, later: Tensor) -> tuple[Tensor, Tensor]:
        """Axis-angle and translation of the camera between the images."""
        pair = torch.cat([earlier, later], dim=1)
        motion = 0.01 * self.head(self.convolutions(pair)).mean(dim=(2, 3))
        return motion[:, :3], motion[:, 3:]
