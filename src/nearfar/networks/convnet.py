"""A small convolutional network for small images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from nearfar.data.spec import Spec
from nearfar.networks.encoder import Encoder


class SmallConvNet(Encoder):
    """Images (N, C, H, W) to (N, last width): convolutions with batch norm and ReLU, averaged over
    the last map.

    The first convolution steps over 2 pixels (1 up to a side of 16, 4 above 64, 8 above 128),
    because at full resolution it would take two fifths of the time at 32 pixels; the maps are then
    halved twice. Halves are rounded up, so no view is too small, and the average takes a map of any
    size.
    """

    def __init__(self, spec: Spec, *, widths: Sequence[int] = (32, 64, 128, 256)) -> None:
        super().__init__()
        side = max(spec.shape[1:])
        stride = 1 if side <= 16 else 2 ** max(1, math.ceil(math.log2(side / 32)))
        layers = _convolution(spec.shape[0], widths[0], max(3, 2 * stride - 1), stride)
        for place, (before, after) in enumerate(pairwise(widths)):
            layers += [
                *([nn.MaxPool2d(2, ceil_mode=True)] if place else []),
                *_convolution(before, after),
            ]
        self.layers = nn.Sequential(*layers)
        self.dimension = widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        return self.feature_map(x).mean(dim=(2, 3))

    def with_map(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = self.feature_map(x)
        return found.mean(dim=(2, 3)), found

    def feature_map(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found

    def pyramid(self, x: Tensor) -> list[Tensor]:
        found: list[Tensor] = []
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                found.append(x)
        finest = {tuple(level.shape[2:]): level for level in found}  # the last of each resolution
        return list(finest.values())


def _convolution(before: int, after: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(after), nn.ReLU()]
