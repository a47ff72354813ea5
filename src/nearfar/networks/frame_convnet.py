"""A small convolutional network on the frames of clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nearfar.data.spec import Spec
from nearfar.networks.convnet import SmallConvNet
from nearfar.networks.encoder import Encoder


class FrameConvNet(Encoder):
    """Clips (N, C, F, H, W) to (N, 2 * last width): ``SmallConvNet`` on each frame, then the mean
    over the frames (what is seen) beside the mean absolute change from frame to frame (how it
    moves).

    Source: the mean as in Wang et al. 2016, "Temporal Segment Networks", section 3.1; changes of
        features as in Jiang et al. 2019,
    "STM: SpatioTemporal and Motion Encoding".
    """

    def __init__(self, spec: Spec, *, widths: Sequence[int] = (32, 64, 128, 256)) -> None:
        super().__init__()
        channels, _, *sides = spec.shape
        self.frames = SmallConvNet(replace(spec, shape=(channels, *sides)), widths=widths)
        self.dimension = 2 * self.frames.dimension

    def forward(self, x: Tensor) -> Tensor:
        frames = self.frames(x.transpose(1, 2).flatten(0, 1))
        features = frames.unflatten(0, (x.shape[0], x.shape[2]))
        if x.shape[2] == 1:
            return torch.cat([features[:, 0], torch.zeros_like(features[:, 0])], dim=1)
        return torch.cat([features.mean(dim=1), features.diff(dim=1).abs().mean(dim=1)], dim=1)
