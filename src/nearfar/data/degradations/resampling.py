"""Fewer or more pixels by the bicubic kernel of the super-resolution benchmarks."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor

from nearfar.data.degradations.degradation import expect_image
from nearfar.errors import UserError
from nearfar.ranges import checked, whole_number

__all__ = ["bicubic_down", "bicubic_up"]


def bicubic_down(image: Tensor, factor: int) -> Tensor:
    """Fewer pixels, by the bicubic kernel that super-resolution benchmarks are made with.

    The kernel is Keys' with a = -0.5, widened by the factor (antialiasing); the image is mirrored
    at its borders, edge pixel included; pixel centres lie at half-integers. These are the
    conventions of MATLAB's ``imresize``. Inside the image they equal torch's bicubic interpolation
    with ``antialias=True``.

    Args:
        image: (N, C, H, W); the sides are multiples of the factor.
        factor: Whole number of at least 1.

    Returns:
        (N, C, H / factor, W / factor); values may lie a little outside [0, 1].

    Raises:
        UserError: If a side is no multiple of the factor.

    Example:
        >>> import torch
        >>> from nearfar.data.degradations.resampling import bicubic_down
        >>> bicubic_down(torch.ones(1, 3, 8, 12), 4).shape
        torch.Size([1, 3, 2, 3])

    Source: Keys 1981, "Cubic Convolution Interpolation for Digital Image Processing".
    """
    expect_image(image)
    checked(Annotated[int, whole_number()], "factor", factor)
    if image.shape[2] % factor or image.shape[3] % factor:
        raise UserError(
            f"A factor of {factor} does not divide {tuple(image.shape[2:])} pixels: crop first."
        )
    return _resampled(image, image.shape[2] // factor, image.shape[3] // factor)


def bicubic_up(image: Tensor, factor: int) -> Tensor:
    """More pixels, by the kernel and conventions of ``bicubic_down``.

    Args:
        image: (N, C, H, W).
        factor: Whole number of at least 1.

    Returns:
        (N, C, factor H, factor W); values may lie a little outside [0, 1].

    Example:
        >>> import torch
        >>> from nearfar.data.degradations.resampling import bicubic_up
        >>> bicubic_up(torch.ones(1, 3, 2, 3), 4).shape
        torch.Size([1, 3, 8, 12])

    Source: Keys 1981.
    """
    expect_image(image)
    checked(Annotated[int, whole_number()], "factor", factor)
    return _resampled(image, image.shape[2] * factor, image.shape[3] * factor)


def _resampled(image: Tensor, height: int, width: int) -> Tensor:
    rows = _cubic_weights(image.shape[2], height).to(image)
    columns = _cubic_weights(image.shape[3], width).to(image)
    return rows @ image @ columns.T


def _cubic_weights(given: int, wanted: int) -> Tensor:
    """(wanted, given) float64: how much each pixel counts in each new one; rows sum to 1."""
    scale = given / wanted
    widening = max(scale, 1.0)
    centres = (torch.arange(wanted, dtype=torch.float64) + 0.5) * scale - 0.5
    reach = math.ceil(2 * widening) + 1
    places = centres.floor()[:, None] + torch.arange(-reach, reach + 1)
    weights = _cubic((centres[:, None] - places) / widening)
    weights = weights / weights.sum(dim=1, keepdim=True)
    mirrored = places.long().remainder(2 * given)
    mirrored = torch.minimum(mirrored, 2 * given - 1 - mirrored)
    table = torch.zeros(wanted, given, dtype=torch.float64)
    return table.scatter_add_(1, mirrored, weights)


def _cubic(x: Tensor) -> Tensor:
    """Keys' kernel with a = -0.5."""
    x = x.abs()
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return torch.where(x <= 1, near, torch.where(x <= 2, far, torch.zeros_like(x)))
