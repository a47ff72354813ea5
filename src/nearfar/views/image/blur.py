"""Gaussian blur with one width a sample."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def kernel_size(size: tuple[int, int]) -> int:
    """Odd length of the blur kernel: a tenth of the shorter side, at least 3 (SimCLR's rule; 23 at
    224 pixels).
    """
    return max(3, int(0.1 * min(size)) | 1)


def gaussian_blur(images: Tensor, sigma: Tensor, length: int) -> Tensor:
    """Convolve rows and columns with a normalised Gaussian, edges mirrored: torchvision's
    ``gaussian_blur``.

    The time grows with the largest of the widths: give samples of similar width together.

    Args:
        images: (N, C, H, W) float.
        sigma: (N,) standard deviations in pixels, above 0.
        length: odd number of taps, at most 2 * min(H, W) - 1.
    """
    count, channels, height, width = images.shape
    # Beyond six standard deviations a weight is below float32's rounding.
    reach = min(length // 2, math.ceil(6 * float(sigma.max())))
    offsets = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernels = torch.softmax(
        -0.5 * (offsets / sigma.to(images)[:, None]).square(), dim=1
    ).repeat_interleave(channels, dim=0)
    padded = functional.pad(images, (reach,) * 4, mode="reflect").flatten(0, 1)[None]
    rows = functional.conv2d(padded, kernels[:, None, None, :], groups=count * channels)
    return functional.conv2d(rows, kernels[:, None, :, None], groups=count * channels).view(
        count, channels, height, width
    )
