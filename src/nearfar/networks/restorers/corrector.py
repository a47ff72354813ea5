"""SelfDRSC's corrector: still frames from two rolling-shutter images of one exposure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from nearfar.errors import UserError
from nearfar.losses.restoration.flow import flow_warp
from nearfar.networks.restorers.unet import UNet
from nearfar.ranges import checked, whole_number

__all__ = ["Corrected", "DualCorrector"]

_SCALES = (8, 4, 2, 1)
_FRAMES = 3


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """Still frames and the displacements that made them.

    Attributes:
        frames: (N, 3, C, H, W) at the first row's time, the reference row's and the last's; 0 to 1.
        displacements: For each scale, coarse to fine, (N, 12, h, w): x and y for each of the three
            frames of the "down" image, then of the "up" image, in pixels of that scale.
    """

    frames: Tensor
    displacements: list[Tensor]


class _Velocity(nn.Module):
    """Two convolutions of stride 2, three more, and a way back to the size."""

    def __init__(self, given: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(given, width, 3, 2, 1),
            nn.PReLU(),
            nn.Conv2d(width, 2 * width, 3, 2, 1),
            nn.PReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, 1, 1),
            nn.PReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, 1, 1),
            nn.PReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1),
            nn.PReLU(),
            nn.ConvTranspose2d(width, 4 * _FRAMES, 4, 2, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        velocity: Tensor = self.layers(x)
        return velocity


class DualCorrector(nn.Module):
    """Velocities from coarse to fine, times the rows' encodings, warp both images; a U-Net blends.

    Args:
        channels: Channels of the images.
        width: Channels of the first layers.

    Shapes:
        forward: both images (N, C, H, W) and encodings (N, 6, H, W) to ``Corrected``. Encodings are
            ``row_encoding`` of the three frames for "down", then for "up".

    Raises:
        UserError: If shapes do not fit.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.corrector import DualCorrector
        >>> image = torch.rand(1, 3, 20, 24)
        >>> DualCorrector(3, 4)(image, image, torch.zeros(1, 6, 20, 24)).frames.shape
        torch.Size([1, 3, 3, 20, 24])

    Source: Shang et al. 2023 (SelfDRSC), after IFED (Zhong et al. 2022); smaller by default.
    """

    def __init__(self, channels: int = 3, width: int = 32) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("width", width)):
            checked(Annotated[int, whole_number()], name, value)
        self.dimension = width
        given = 2 * channels + 2 * _FRAMES + 4 * _FRAMES
        self.velocities = nn.ModuleList(_Velocity(given, width) for _ in _SCALES)
        self.blend = UNet(
            2 * channels + 2 * _FRAMES * channels,
            _FRAMES * channels + _FRAMES,
            width=width,
            multipliers=(1, 2, 4),
            blocks=1,
        )

    def forward(self, down: Tensor, up: Tensor, encodings: Tensor) -> Corrected:
        """The three still frames."""
        samples, channels, height, width = down.shape
        if up.shape != down.shape or encodings.shape != (samples, 2 * _FRAMES, height, width):
            raise UserError(
                f"Expected two images alike and encodings (N, 6, H, W); found {tuple(down.shape)},"
                f" {tuple(up.shape)} and {tuple(encodings.shape)}."
            )
        margins = (0, -width % 32, 0, -height % 32)
        images = pad(torch.cat([down, up], dim=1), margins, mode="replicate")
        rows = pad(encodings, margins, mode="replicate")
        velocity = images.new_zeros(samples, 4 * _FRAMES, *(side // 8 for side in images.shape[2:]))
        displacements: list[Tensor] = []
        for scale, layer in zip(_SCALES, self.velocities, strict=True):
            size = [side // scale for side in images.shape[2:]]
            if velocity.shape[2] != size[0]:
                velocity = 2 * interpolate(velocity, size=size, mode="bilinear")
            small, encoded = (interpolate(x, size=size, mode="bilinear") for x in (images, rows))
            velocity = velocity + layer(torch.cat([small, encoded, velocity], dim=1))
            displacements.append(velocity * encoded.repeat_interleave(2, dim=1))
        by_frame = displacements[-1].unflatten(1, (2, _FRAMES, 2))  # type: ignore[no-untyped-call]
        warped = [
            flow_warp(images[:, scan * channels : (scan + 1) * channels], by_frame[:, scan, frame])
            for frame in range(_FRAMES)
            for scan in range(2)
        ]
        found = self.blend(torch.cat([images, *warped], dim=1))
        residual, mask = found.split([_FRAMES * channels, _FRAMES], dim=1)
        frames = []
        for frame in range(_FRAMES):
            share = mask[:, frame : frame + 1].sigmoid()
            mixed = share * warped[2 * frame] + (1 - share) * warped[2 * frame + 1]
            frames.append(mixed + residual[:, frame * channels : (frame + 1) * channels].tanh())
        still = torch.stack(frames, dim=1)[..., :height, :width].clamp(0, 1)
        return Corrected(frames=still, displacements=displacements)
