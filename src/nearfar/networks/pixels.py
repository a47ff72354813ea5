"""Heads that act on every pixel of a feature map alone, and the propagation between pixels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from nearfar.losses.dense.pixels import propagate
from nearfar.networks.encoder import Encoder


def pixel_mlp(sizes: Sequence[int]) -> nn.Sequential:
    """A multi-layer perceptron for each pixel, (N, sizes[0], H, W) to (N, sizes[-1], H, W): 1x1
    convolutions with biases, batch norm and ReLU after all but the last.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes[:-1]):
        layers += [nn.Conv2d(before, after, 1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(sizes[-2], sizes[-1], 1))


class ProjectedMaps(nn.Module):
    """Samples to the encoder's feature map under each of several projectors, a list of (N, C, H,
    W).
    """

    def __init__(self, encoder: Encoder, projectors: nn.ModuleList) -> None:
        super().__init__()
        self.encoder = encoder
        self.projectors = projectors

    def forward(self, x: Tensor) -> list[Tensor]:
        found = self.encoder.feature_map(x)
        return [projector(found) for projector in self.projectors]


class PixelPropagation(nn.Module):
    """Smooths maps (N, C, H, W) by their own similarities, see ``propagate``.

    Args:
        dimension: channels C.
        layers: of the transformation of what is propagated: 0 (none), 1 (a 1x1 convolution) or 2 (a
            ``pixel_mlp``).
        sharpness: exponent of the similarities.

    Source: Xie et al. 2021 (PixPro), section 3.2.
    """

    def __init__(self, dimension: int, *, layers: int = 1, sharpness: float = 2.0) -> None:
        super().__init__()
        self.sharpness = sharpness
        self.value = pixel_mlp((dimension,) * (layers + 1)) if layers else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return propagate(x, self.value(x), gamma=self.sharpness)
