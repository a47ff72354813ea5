"""ResNets from torchvision without their classifier, with a stem that fits the size of the
images.
"""

from __future__ import annotations

import torchvision
from torch import Tensor, nn

from nearfar.data.spec import Spec
from nearfar.networks.encoder import Encoder

_LARGEST_SMALL = 64
"""Pixels: up to here the stem keeps the resolution (He et al. 2016, section 4.2; Chen et al. 2020,
appendix B.9).
"""


class ResNet(Encoder):
    """Images (N, C, H, W) to (N, 512) or (N, 2048).

    Args:
        spec: of the data; sides up to 64 pixels get a 3x3 stem of stride 1 without max-pool, larger
            ones ImageNet's stem.
        layers: 18, 34, 50, 101 or 152.
        zero_init_residual: start every residual branch at zero, as SimCLR, BYOL, SimSiam and MoCo
            v3 do.

    Source: He et al. 2016, "Deep Residual Learning for Image Recognition".
    """

    def __init__(self, spec: Spec, *, layers: int = 18, zero_init_residual: bool = True) -> None:
        super().__init__()
        self.resnet = getattr(torchvision.models, f"resnet{layers}")(
            weights=None, zero_init_residual=zero_init_residual
        )
        self.dimension = self.resnet.fc.in_features
        self.resnet.fc = nn.Identity()
        small = max(spec.shape[1:]) <= _LARGEST_SMALL
        if small:
            self.resnet.maxpool = nn.Identity()
        if small or spec.shape[0] != 3:
            self.resnet.conv1 = _stem(spec.shape[0], small)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.resnet(x)
        return features

    def with_map(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = self.feature_map(x)
        return found.mean(dim=(2, 3)), found

    def feature_map(self, x: Tensor) -> Tensor:
        return self.pyramid(x)[-1]

    def pyramid(self, x: Tensor) -> list[Tensor]:
        found = []
        for name, part in self.resnet.named_children():
            if name == "avgpool":
                break
            x = part(x)
            if name.startswith("layer"):
                found.append(x)
        return found


def _stem(channels: int, small: bool) -> nn.Conv2d:
    convolution = (
        nn.Conv2d(channels, 64, 3, 1, 1, bias=False)
        if small
        else nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    )
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution
