"""A small convolutional network for small images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from nearfar.data.spec import Spec
from nearfar.networks.encoder import Encoder


class SmallConvNet(Encoder):
    """Images (N, C, H, W) to (N, last width): 3x3 convolutions with batch norm and ReLU, halved in between, averaged at the end.

    Sides are halved rounding up, so no view is too small, and the average takes any size of map. Above 64 pixels the first
    convolution steps over two pixels (above 128 four, and so on), which keeps the cost per image and the last map's size bounded.
    """

    def __init__(self, spec: Spec, *, widths: Sequence[int] = (32, 64, 128, 256)) -> None:
        super().__init__()
        stride = 2 ** max(0, math.ceil(math.log2(max(spec.shape[1:]) / 64)))
        layers: list[nn.Module] = [*_convolution(spec.shape[0], widths[0], stride)]
        for before, after in pairwise(widths):
            layers += [nn.MaxPool2d(2, ceil_mode=True), *_convolution(before, after)]
        self.layers = nn.Sequential(*layers)
        self.dimension = widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        return self.feature_map(x).mean(dim=(2, 3))

    def feature_map(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found


def _convolution(before: int, after: int, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(before, after, 2 * stride + 1, stride, padding=stride, bias=False)
    return convolution, nn.BatchNorm2d(after), nn.ReLU()
