"""Dilated convolutions over time."""

from __future__ import annotations

from torch import Tensor, nn

from nearfar.data.spec import Spec
from nearfar.networks.encoder import Encoder


class SeriesConvNet(Encoder):
    """Series (N, C, T) of any length to (N, dimension): residual blocks whose reach doubles, then
    the maximum over time.

    Source: Yue et al. 2022, "TS2Vec: Towards Universal Representation of Time Series", section 2.3
        and the maximum over time
    of its instance-level representation; with batch norm, which lets it learn at the rates of the
    other encoders.
    """

    def __init__(
        self, spec: Spec, *, width: int = 64, depth: int = 6, dimension: int = 256
    ) -> None:
        super().__init__()
        self.dimension = dimension
        self.entry = nn.Conv1d(spec.shape[0], width, 1)
        self.blocks = nn.Sequential(*(_Block(width, 2**level) for level in range(depth)))
        self.exit = nn.Sequential(
            nn.Conv1d(width, dimension, 1, bias=False), nn.BatchNorm1d(dimension), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.feature_map(x).amax(dim=2)

    def with_map(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = self.feature_map(x)
        return found.amax(dim=2), found

    def feature_map(self, x: Tensor) -> Tensor:
        found: Tensor = self.exit(self.blocks(self.entry(x)))
        return found


class _Block(nn.Module):
    """Two dilated convolutions beside a residual, (N, width, T) to the same shape."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out
