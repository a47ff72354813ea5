"""Scattering networks: a fixed wavelet scattering, then a small residual network that learns
(ScatSimCLR's encoder).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate
from torchvision.models.resnet import BasicBlock

from nearfar.data.spec import Spec
from nearfar.networks.encoder import Encoder
from nearfar.networks.scattering import Scattering

_POOLED = 4
_BLOCKS = {
    8: ((64, 4), (128, 4)),
    12: ((128, 4), (64, 4), (128, 4)),
    16: ((128, 6), (64, 4), (128, 6)),
    30: ((128, 30),),
    45: ((128, 15), (64, 15), (128, 15)),
}
"""Width and number of residual blocks, by their total."""


class ScatNet(Encoder):
    """Images (N, C, H, W) to (N, 2048): scattering, residual blocks without stride, averages at 4 x
    4 places.

    Images of another size than the spec's (local crops) are first brought to it.

    Args:
        spec: of the data; nothing but its shape counts.
        blocks: 8, 12, 16, 30 or 45.
        scale: J of the scattering; its maps are smaller than the images by 2^J.
        angles: L of the scattering.

    Source: Kinakh et al. 2021 (ScatSimCLR), section 3 and authors' code.
    """

    def __init__(self, spec: Spec, *, blocks: int = 8, scale: int = 2, angles: int = 16) -> None:
        super().__init__()
        channels, height, width = spec.shape
        self.scattering = Scattering((height, width), scale=scale, angles=angles)
        before = 32 if blocks == 8 else 256
        stem = nn.Conv2d(channels * self.scattering.paths, before, 3, padding=1, bias=False)
        layers: list[nn.Module] = [stem, nn.BatchNorm2d(before), nn.ReLU()]
        for after, count in _BLOCKS[blocks]:
            for _ in range(count):
                layers.append(_block(before, after))
                before = after
        self.adapter = nn.Sequential(*layers)
        self.dimension = before * _POOLED**2

    def forward(self, x: Tensor) -> Tensor:
        return adaptive_avg_pool2d(self.feature_map(x), _POOLED).flatten(1)

    def feature_map(self, x: Tensor) -> Tensor:
        if x.shape[2:] != self.scattering.size:
            x = interpolate(x, self.scattering.size, mode="bilinear")
        found: Tensor = self.adapter(self.scattering(x).to(x.dtype))
        return found

    @property
    def map_dimension(self) -> int:
        return self.dimension // _POOLED**2


def _block(before: int, after: int) -> BasicBlock:
    shortcut = None
    if before != after:
        shortcut = nn.Sequential(nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))
    return BasicBlock(before, after, downsample=shortcut)
