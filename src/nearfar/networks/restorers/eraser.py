"""STE's networks: an eraser from coarse to fine, its critic, and a head that finds text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu
from torch.nn.utils.parametrizations import spectral_norm

from nearfar.errors import UserError
from nearfar.ranges import checked, whole_number

__all__ = ["Erased", "Eraser", "EraserCritic", "TextHead"]

_LEVELS = 4


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What an eraser makes of images (N, C, H, W).

    Attributes:
        quarter: (N, C, H/4, W/4) coarse draft.
        half: (N, C, H/2, W/2) draft.
        full: (N, C, H, W) draft.
        refined: (N, C, H, W) result.
        mask_logits: (N, C, H, W) where text is.
        features: (N, width, H/2, W/2) for ``TextHead``.
    """

    quarter: Tensor
    half: Tensor
    full: Tensor
    refined: Tensor
    mask_logits: Tensor
    features: Tensor


def _convolution(given: int, made: int, stride: int = 1) -> nn.Module:
    return spectral_norm(nn.Conv2d(given, made, 3, stride, 1))


def _enlarging(given: int, made: int) -> nn.Module:
    return spectral_norm(nn.ConvTranspose2d(given, made, 3, 2, 1, output_padding=1))


class Eraser(nn.Module):
    """A U-Net with drafts at a quarter, half and full size, and a second one that refines the last.

    Convolutions have spectral norm and LeakyReLU 0.2.

    Args:
        channels: Channels of the images.
        width: Channels after the first halving; each further one doubles them, up to 8 times.

    Shapes:
        forward: (N, channels, H, W), sides multiples of 16, to ``Erased``.
        restore: (N, channels, H, W) to the refined images, cut to [0, 1].

    Raises:
        UserError: If a side is no multiple of 16.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.eraser import Eraser
        >>> Eraser(3, 4)(torch.zeros(1, 3, 32, 48)).quarter.shape
        torch.Size([1, 3, 8, 12])

    Source: Liu et al. 2020 (EraseNet); as in Jiang et al. 2022 (STE), smaller by default.
    """

    def __init__(self, channels: int = 3, width: int = 32) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("width", width)):
            checked(Annotated[int, whole_number()], name, value)
        widths = [width * min(2**level, 8) for level in range(_LEVELS)]
        self.dimension = widths[-1]
        self.down = nn.ModuleList(
            _convolution(given, made, 2)
            for given, made in zip([channels, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList()
        self.mask_up = nn.ModuleList()
        for level in reversed(range(_LEVELS)):
            made = widths[level - 1] if level else width
            given = widths[level] if level == _LEVELS - 1 else 2 * widths[level]
            self.up.append(_enlarging(given, made))
            self.mask_up.append(_enlarging(given, made))
        self.drafts = nn.ModuleList(
            (
                nn.Conv2d(widths[1], channels, 3, padding=1),
                nn.Conv2d(widths[0], channels, 3, padding=1),
                nn.Conv2d(width, channels, 3, padding=1),
            )
        )
        self.mask_last = nn.Conv2d(width, channels, 3, padding=1)
        self.refine = nn.ModuleList(
            (
                _convolution(channels, width),
                _convolution(width, 2 * width, 2),
                _convolution(2 * width, 2 * width),
                _enlarging(2 * width, width),
                _convolution(width, width),
            )
        )
        self.refine_last = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Erased:
        """Drafts, result and mask."""
        unit = 2**_LEVELS
        if x.shape[2] % unit or x.shape[3] % unit:
            raise UserError(
                f"Sides of {tuple(x.shape[2:])} are no multiples of {unit}: crop first."
            )
        skips = [x]
        for layer in self.down:
            skips.append(leaky_relu(layer(skips[-1]), 0.2))
        drafts: list[Tensor] = []
        inner, mask = skips[-1], skips[-1]
        for place, (layer, mask_layer) in enumerate(zip(self.up, self.mask_up, strict=True)):
            if place:
                beside = skips[_LEVELS - place]
                inner, mask = (torch.cat([part, beside], dim=1) for part in (inner, mask))
            inner = leaky_relu(layer(inner), 0.2)
            mask = leaky_relu(mask_layer(mask), 0.2)
            if place:
                drafts.append(self.drafts[place - 1](inner))
        refined = drafts[-1]
        for layer in self.refine:
            refined = leaky_relu(layer(refined), 0.2)
        return Erased(
            quarter=drafts[0],
            half=drafts[1],
            full=drafts[2],
            refined=drafts[2] + self.refine_last(refined),
            mask_logits=self.mask_last(mask),
            features=skips[1],
        )

    def restore(self, x: Tensor) -> Tensor:
        """The images without text."""
        erased: Erased = self(x)
        return erased.refined.clamp(0, 1)


class EraserCritic(nn.Module):
    """Whether images are real, seen as a whole and at the places of text alone.

    Args:
        channels: Channels of the images and masks.
        width: Channels of the first convolution; the others have up to 8 times as many.
        depth: Convolutions of stride 2 on each side.

    Shapes:
        forward: images and masks (N, channels, H, W), 0 on text, to logits (N, 1, h, w).

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.eraser import EraserCritic
        >>> EraserCritic(3, 4)(torch.zeros(2, 3, 64, 64), torch.ones(2, 3, 64, 64)).shape
        torch.Size([2, 1, 2, 2])

    Source: Liu et al. 2020 (EraseNet); as in Jiang et al. 2022 (STE).
    """

    def __init__(self, channels: int = 3, width: int = 64, depth: int = 6) -> None:
        super().__init__()
        checked(Annotated[int, whole_number()], "depth", depth)
        widths = [width * min(2**level, 8) for level in range(depth)]
        self.whole = self._side(channels, widths)
        self.local = self._side(channels, widths)
        self.last = spectral_norm(nn.Conv2d(2 * widths[-1], 1, 4, padding=2))

    @staticmethod
    def _side(channels: int, widths: list[int]) -> nn.Sequential:
        layers: list[nn.Module] = []
        for given, made in zip([channels, *widths], widths, strict=False):
            layers += [spectral_norm(nn.Conv2d(given, made, 4, 2, 1)), nn.LeakyReLU(0.2)]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """The logits: high for what the critic takes for real."""
        both = torch.cat([self.whole(x), self.local(x * (1 - mask))], dim=1)
        logits: Tensor = self.last(both)
        return logits


class TextHead(nn.Module):
    """Where an eraser's features show text.

    Args:
        width: Channels of ``Erased.features``.
        channels: Channels of the mask.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.eraser import TextHead
        >>> TextHead(4)(torch.zeros(1, 4, 8, 8)).shape
        torch.Size([1, 3, 16, 16])

    Source: Jiang et al. 2022 (STE), the realism judge.
    """

    def __init__(self, width: int = 32, channels: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(width, width, 3, 2, 1, output_padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, channels, 3, padding=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(N, width, H/2, W/2) to logits (N, channels, H, W)."""
        logits: Tensor = self.layers(features)
        return logits
