"""A small convolutional network over time and frequency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from nearfar.data.spec import Spec
from nearfar.networks.convnet import SmallConvNet
from nearfar.networks.encoder import Encoder


class AudioConvNet(Encoder):
    """Spectrograms (N, bands, T) of any length to (N, last width): ``SmallConvNet`` on each as a
    grey image, then, of the map averaged over frequency, the mean over time plus the maximum.

    Source: Kong et al. 2020, "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern
        Recognition", for the pooling.
    """

    def __init__(self, spec: Spec, *, widths: Sequence[int] = (32, 64, 128, 256)) -> None:
        super().__init__()
        bands = spec.shape[0]
        self.layers = SmallConvNet(replace(spec, shape=(1, bands, bands)), widths=widths)
        self.dimension = self.layers.dimension

    def forward(self, x: Tensor) -> Tensor:
        return self.with_map(x)[0]

    def with_map(self, x: Tensor) -> tuple[Tensor, Tensor]:
        over_time = self.feature_map(x)
        return over_time.mean(dim=2) + over_time.amax(dim=2), over_time

    def feature_map(self, x: Tensor) -> Tensor:
        """(N, C, T'): the map averaged over frequency."""
        return self.layers.feature_map(x[:, None]).mean(dim=2)
