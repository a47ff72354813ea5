"""Images made worse in five ways at five strengths; a suite of our own, batched and reproducible.

Source: the idea is that of Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness
    to Common Corruptions and
Perturbations"; kinds and strengths here are chosen for images of any size, and its figures are not
comparable.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2.functional import gaussian_blur

from nearfar.errors import UserError, unknown_name
from nearfar.rows.levels import PIXELS, as_bytes, largest_level

STRENGTHS: Mapping[str, Sequence[float]] = {
    "noise": (0.04, 0.08, 0.12, 0.18, 0.26),
    "blur": (0.01, 0.02, 0.03, 0.045, 0.06),
    "contrast": (0.7, 0.5, 0.35, 0.2, 0.1),
    "pixelate": (0.8, 0.65, 0.5, 0.35, 0.25),
    "JPEG": (50, 30, 20, 12, 7),
}
"""By strength 1 to 5: deviation of Gaussian noise (white is 1); of the blur, in sides of the image;
contrast that is left; pixels that are left along each side; quality.
"""


def corrupted(images: Tensor, kind: str, strength: int, generator: torch.Generator) -> Tensor:
    """Images made worse.

    Args:
        images: (N, C, H, W) uint8 or uint16; JPEG sees 8 bits, and other than RGB one channel at a
            time.
        kind: one of ``STRENGTHS``.
        strength: 1 to 5.
        generator: of the noise, on the CPU.

    Returns:
        (N, C, H, W) of the same type.

    Raises:
        UserError: for an unknown kind or strength, or images that are no raw pixels with four axes.
    """
    if kind not in STRENGTHS:
        raise unknown_name("corruption", kind, STRENGTHS)
    if not 1 <= strength <= len(STRENGTHS[kind]):
        raise UserError(
            f"The strength of a corruption is {strength}; expected 1 to {len(STRENGTHS[kind])}."
        )
    if images.dtype not in PIXELS or images.ndim != 4:
        raise UserError(
            f"Images to corrupt are {images.dtype} of shape {tuple(images.shape)}; expected uint8 "
            "or uint16 (N, C, H, W)."
        )
    return _KINDS[kind](images, STRENGTHS[kind][strength - 1], generator)


def _noise(images: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    noise = torch.randn(images.shape, generator=generator).to(images.device)
    return _pixels(images.float() + largest_level(images.dtype) * deviation * noise, images.dtype)


def _blur(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    side = min(images.shape[2:])
    sigma = share * side
    reach = min(max(1, round(3 * sigma)), side - 1)
    return _pixels(
        gaussian_blur(images.float(), [2 * reach + 1, 2 * reach + 1], [sigma, sigma]), images.dtype
    )


def _contrast(images: Tensor, left: float, generator: torch.Generator) -> Tensor:
    x = images.float()
    mean = x.mean(dim=(2, 3), keepdim=True)
    return _pixels(mean + left * (x - mean), images.dtype)


def _pixelate(images: Tensor, left: float, generator: torch.Generator) -> Tensor:
    height, width = (max(1, round(left * side)) for side in images.shape[2:])
    few = F.interpolate(images.float(), (height, width), mode="area")
    return _pixels(F.interpolate(few, images.shape[2:], mode="nearest-exact"), images.dtype)


def _jpeg(images: Tensor, quality: float, generator: torch.Generator) -> Tensor:
    if images.dtype != torch.uint8:
        return _jpeg(as_bytes(images), quality, generator).to(images.dtype) * 257
    if images.shape[1] not in (1, 3):
        planes = images.flatten(0, 1)[:, None]
        return _jpeg(planes, quality, generator).view(images.shape)
    last = images.permute(0, 2, 3, 1).cpu().numpy()
    found = np.stack(
        [_reread(one[:, :, 0] if one.shape[2] == 1 else one, int(quality)) for one in last]
    )
    return (
        torch.from_numpy(found).view(last.shape).permute(0, 3, 1, 2).contiguous().to(images.device)
    )


def _reread(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def _pixels(values: Tensor, kind: torch.dtype) -> Tensor:
    return values.round_().clamp_(0, largest_level(kind)).to(kind)


_KINDS: Mapping[str, Callable[[Tensor, float, torch.Generator], Tensor]] = {
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "pixelate": _pixelate,
    "JPEG": _jpeg,
}
