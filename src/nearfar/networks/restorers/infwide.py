"""INFWIDE: Wiener deconvolution of learned features and of a denoised image, and their fusion."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from nearfar.networks.restorers.unet import UNet
from nearfar.networks.restorers.wiener import image_noise, wiener
from nearfar.ranges import checked, whole_number

__all__ = ["INFWIDE", "Deblurred", "Denoiser"]


@dataclass(frozen=True, kw_only=True)
class Deblurred:
    """What INFWIDE makes of images (N, C, H, W).

    Attributes:
        half: (N, C, H/2, W/2) result at half size.
        full: (N, C, H, W) result.
        denoised: (N, C, H, W) the blurred image without noise.
    """

    half: Tensor
    full: Tensor
    denoised: Tensor


class _Residual(nn.Module):
    """x + conv(relu(conv x))."""

    def __init__(self, width: int, size: int, *, bias: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, size, padding=size // 2, bias=bias)
        self.second = nn.Conv2d(width, width, size, padding=size // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.second(self.first(x).relu())
        return x + added


def _entry(given: int, width: int, blocks: int = 3) -> nn.Sequential:
    """A 5x5 convolution, ReLU and residual blocks."""
    residuals = [_Residual(width, 5) for _ in range(blocks)]
    return nn.Sequential(nn.Conv2d(given, width, 5, padding=2), nn.ReLU(), *residuals)


class Denoiser(nn.Module):
    """A residual U-Net without biases: two blocks a size, strided down, transposed up, skips added.

    Args:
        given: Channels of the input: the image and its noise as maps.
        made: Channels of the output.
        widths: Channels at each size, fine to coarse.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.infwide import Denoiser
        >>> Denoiser(6, 3, (4, 8))(torch.zeros(1, 6, 9, 10)).shape
        torch.Size([1, 3, 9, 10])

    Source: Zhang et al. 2021 (DRUNet); as in INFWIDE, with 4,254,240 parameters.
    """

    def __init__(
        self, given: int = 6, made: int = 3, widths: tuple[int, ...] = (32, 64, 128, 256)
    ) -> None:
        super().__init__()
        self.head = nn.Conv2d(given, widths[0], 3, padding=1, bias=False)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for fine, coarse in pairwise(widths):
            blocks = [_Residual(fine, 3, bias=False) for _ in range(2)]
            self.down.append(nn.Sequential(*blocks, nn.Conv2d(fine, coarse, 2, 2, bias=False)))
        self.middle = nn.Sequential(*(_Residual(widths[-1], 3, bias=False) for _ in range(2)))
        for fine, coarse in zip(widths[-2::-1], widths[:0:-1], strict=True):
            blocks = [_Residual(fine, 3, bias=False) for _ in range(2)]
            self.up.append(
                nn.Sequential(nn.ConvTranspose2d(coarse, fine, 2, 2, bias=False), *blocks)
            )
        self.tail = nn.Conv2d(widths[0], made, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, given, H, W) to (N, made, H, W), of any size."""
        height, width = x.shape[2:]
        unit = 2 ** len(self.down)
        x = self.head(pad(x, (0, -width % unit, 0, -height % unit), mode="replicate"))
        kept = [x]
        for layer in self.down:
            kept.append(layer(kept[-1]))
        x = self.middle(kept[-1])
        for layer in self.up:
            x = layer(x + kept.pop())
        made: Tensor = self.tail(x + kept.pop())
        return made[:, :, :height, :width]


class _CrossResidual(nn.Module):
    """a' = relu(conv(relu(conv_a(a) + (a + b) / 2))), and b' likewise."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.second = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        mean = (a + b) / 2
        pair = [
            second((first(x) + mean).relu()).relu()
            for x, first, second in zip((a, b), self.first, self.second, strict=True)
        ]
        return pair[0], pair[1]


class INFWIDE(nn.Module):
    """Two branches around a Wiener filter, fused at half and at full size.

    Args:
        channels: Channels of the images.
        width: Channels of the features that are deconvolved; others are multiples of it.

    Shapes:
        forward: images (N, channels, H, W), even sides, and kernels (N, 1, K, L) to ``Deblurred``.
        restore: the full result.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.infwide import INFWIDE
        >>> made = INFWIDE(3, 4)(torch.rand(1, 3, 12, 14), torch.ones(1, 1, 3, 3))
        >>> made.half.shape, made.full.shape
        (torch.Size([1, 3, 6, 7]), torch.Size([1, 3, 12, 14]))

    Source: Zhang et al. 2023, "INFWIDE: Image and Feature Space Wiener Deconvolution Network for
    Non-blind Image Deblurring in Low-Light Conditions". The features and the denoiser are those of
    the released code; the refinement and the fusion follow its description with fewer parameters.
    """

    def __init__(self, channels: int = 3, width: int = 16) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("width", width)):
            checked(Annotated[int, whole_number()], name, value)
        wide = 2 * width
        self.dimension = wide
        self.features = _entry(channels, width)
        self.refine = nn.Sequential(
            _entry(width, wide),
            UNet(wide, wide, width=wide, multipliers=(1, 2, 4), blocks=1, skip="add"),
            *(_Residual(wide, 5) for _ in range(4)),
            nn.Conv2d(wide, wide, 5, padding=2),
            nn.Conv2d(wide, channels, 5, padding=2),
        )
        self.denoiser = Denoiser(2 * channels, channels, (wide, 2 * wide, 4 * wide, 8 * wide))
        self.entries = nn.ModuleList(_entry(channels, wide) for _ in range(2))
        self.joins = nn.ModuleList(nn.Conv2d(2 * wide, wide, 1) for _ in range(2))
        self.cross = nn.ModuleList(_CrossResidual(wide) for _ in range(2))
        self.exits = nn.ModuleList(_Residual(wide, 5) for _ in range(2))
        self.head = nn.Conv2d(2 * wide, channels, 5, padding=2)

    def forward(self, x: Tensor, kernel: Tensor) -> Deblurred:
        """Results at half and full size, and the denoised image."""
        first = self.refine(wiener(self.features(x), kernel))
        noise = image_noise(x)[:, :, None, None].expand_as(x)
        denoised = self.denoiser(torch.cat([x, noise], dim=1))
        second = wiener(denoised, kernel)
        size = (x.shape[2] // 2, x.shape[3] // 2)
        small = [interpolate(image, size=size, mode="bilinear") for image in (first, second)]
        half, maps = self._fused(small, None)
        large = [interpolate(map_, size=x.shape[2:], mode="bilinear") for map_ in maps]
        full, _ = self._fused([first, second], large)
        return Deblurred(half=half, full=full, denoised=denoised)

    def _fused(
        self, estimates: list[Tensor], coarser: list[Tensor] | None
    ) -> tuple[Tensor, list[Tensor]]:
        maps = [entry(image) for entry, image in zip(self.entries, estimates, strict=True)]
        if coarser is not None:
            maps = [
                join(torch.cat([map_, below], dim=1))
                for join, map_, below in zip(self.joins, maps, coarser, strict=True)
            ]
        a, b = maps
        for cross in self.cross:
            a, b = cross(a, b)
        out = [layer(map_) for layer, map_ in zip(self.exits, (a, b), strict=True)]
        return self.head(torch.cat(out, dim=1)), out

    def restore(self, x: Tensor, kernel: Tensor) -> Tensor:
        """The sharp images."""
        deblurred: Deblurred = self(x, kernel)
        return deblurred.full.clamp(0, 1)
