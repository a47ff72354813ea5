"""A network on unordered points."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from nearfar.data.spec import Spec
from nearfar.networks.encoder import Encoder


class PointNet(Encoder):
    """Point clouds (N, 3, K) of any K to (N, last width), whatever the points' order: the same
    layers on each, then the maximum.

    Source: Qi et al. 2017, "PointNet: Deep Learning on Point Sets for 3D Classification and
        Segmentation", section 4.2, without the
    networks that align inputs and features.
    """

    def __init__(self, spec: Spec, *, widths: Sequence[int] = (64, 128, 256)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((spec.shape[0], *widths)):
            layers += [nn.Conv1d(before, after, 1, bias=False), nn.BatchNorm1d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.dimension = widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        return self.feature_map(x).amax(dim=2)

    def with_map(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = self.feature_map(x)
        return found.amax(dim=2), found

    def feature_map(self, x: Tensor) -> Tensor:
        """(N, C, K): the features of each point."""
        found: Tensor = self.layers(x)
        return found
