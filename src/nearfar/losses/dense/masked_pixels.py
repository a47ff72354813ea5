"""Rebuilding what was hidden of images and volumes: SiT's pixels, Uni4Eye's image and gradients."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from nearfar.errors import UserError
from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.inputs import expect_choice, expect_pictures

__all__ = [
    "dual_reconstruction",
    "gradient_map",
    "gradient_volume",
    "masked_pixel_l1",
    "patches_of",
]

_DERIVATIVE = (-1.0, -2.0, 0.0, 2.0, 1.0)
_SMOOTHING = (1.0, 4.0, 6.0, 4.0, 1.0)
_GREY = (0.299, 0.587, 0.114)


@full_precision
def masked_pixel_l1(made: Tensor, clean: Tensor, mask: Tensor) -> Tensor:
    """The mean of |made - clean| over corrupted pixels and their channels.

        loss = sum |made - clean| mask / sum mask

    Args:
        made: (N, C, H, W).
        clean: (N, C, H, W).
        mask: (N, C, H, W), 1 where a pixel was corrupted.

    Returns:
        A scalar; 0 where nothing was corrupted.

    Example:
        >>> import torch
        >>> from nearfar.losses.dense.masked_pixels import masked_pixel_l1
        >>> mask = torch.tensor([[[[1.0, 0.0]]]])
        >>> masked_pixel_l1(torch.tensor([[[[3.0, 9.0]]]]), torch.zeros(1, 1, 1, 2), mask)
        tensor(3.)

    Source: Atito et al. 2021 (SiT), the authors' code.
    """
    expect_pictures(made=(made, "N C H W"), clean=(clean, "N C H W"), mask=(mask, "N C H W"))
    total = ((made - clean).abs() * mask).sum()
    return total / mask.sum().clamp(min=torch.finfo(mask.dtype).tiny)


@full_precision
def patches_of(image: Tensor, size: int) -> Tensor:
    """An image or a volume as its patches, row by row.

    Args:
        image: (N, C, H, W), or (N, C, A, B, D); sides are multiples of ``size``.
        size: Side of a patch, p.

    Returns:
        (N, L, p p C) with content by row, column, channel; or (N, L, p p p C) by axis 0, 1, 2,
        channel.

    Raises:
        UserError: If a side is no multiple of the patch.

    Example:
        >>> import torch
        >>> from nearfar.losses.dense.masked_pixels import patches_of
        >>> patches_of(torch.arange(4.0).view(1, 1, 2, 2), 1).flatten()
        tensor([0., 1., 2., 3.])

    Source: He et al. 2021 (MAE); in three axes Cai et al. 2022 (Uni4Eye).
    """
    axes = image.ndim - 2
    expect_pictures(image=(image, "N C H W" if axes == 2 else "N C A B D"))
    sides = image.shape[2:]
    if size < 1 or any(side % size for side in sides):
        raise UserError(f"Patches of {size} do not divide {tuple(sides)}.")
    shape = [part for side in sides for part in (side // size, size)]
    cells = image.reshape(*image.shape[:2], *shape)
    order = [0, *range(2, 2 + 2 * axes, 2), *range(3, 3 + 2 * axes, 2), 1]
    count = cells[0, 0].numel() // size**axes
    return cells.permute(order).reshape(len(image), count, -1)


@full_precision
def dual_reconstruction(
    image: Tensor,
    gradient: Tensor,
    made_image: Tensor,
    made_gradient: Tensor,
    mask: Tensor,
    *,
    patch: int = 16,
    normalise: bool = False,
) -> Tensor:
    """Squared errors of the hidden patches of an image and of its gradient map.

        loss = sum_masked ( mean (image)^2 error + mean (gradient)^2 error ) / number of masked

    Args:
        image: (N, C, H, W), or (N, C, A, B, D) for volumes.
        gradient: (N, 1, ...) its gradient map.
        made_image: (N, L, p^d C) content of every patch.
        made_gradient: (N, L, p^d) content of every patch of the gradient map.
        mask: (N, L), 1 where a patch was removed.
        patch: Side of a patch, p.
        normalise: Standardise each patch of the image, not of the gradient map, by its own mean and
            unbiased variance (1e-6 added).

    Returns:
        A scalar; 0 where nothing was removed.

    Example:
        >>> import torch
        >>> from nearfar.losses.dense.masked_pixels import dual_reconstruction
        >>> image, ones = torch.ones(1, 1, 2, 2), torch.ones(1, 1)
        >>> zeros = torch.zeros(1, 1, 4)
        >>> dual_reconstruction(image, image, zeros, zeros, ones, patch=2)
        tensor(2.)

    Source: Cai et al. 2022, "Unified 2D and 3D Self-supervised Pre-training via Masked Image
    Modeling Transformer for Ophthalmic Image Classification".
    """
    target = patches_of(image, patch)
    slopes = patches_of(gradient, patch)
    expect_pictures(
        image_patches=(target, "N L P"),
        made_image=(made_image, "N L P"),
        gradient_patches=(slopes, "N L G"),
        made_gradient=(made_gradient, "N L G"),
        mask=(mask, "N L"),
    )
    if normalise:
        mean = target.mean(dim=2, keepdim=True)
        variance = target.var(dim=2, keepdim=True, correction=1)
        target = (target - mean) / (variance + 1e-6).sqrt()
    errors = (made_image - target).square().mean(dim=2)
    errors = errors + (made_gradient - slopes).square().mean(dim=2)
    return (errors * mask).sum() / mask.sum().clamp(min=torch.finfo(mask.dtype).tiny)


def _along(image: Tensor, taps: tuple[float, ...], axis: int) -> Tensor:
    """Correlate (N, 1, H, W) with 5 taps along rows (0) or columns (1), reflecting borders."""
    kernel = image.new_tensor(taps)
    if axis == 0:
        return conv2d(pad(image, (0, 0, 2, 2), mode="reflect"), kernel.view(1, 1, 5, 1))
    return conv2d(pad(image, (2, 2, 0, 0), mode="reflect"), kernel.view(1, 1, 1, 5))


@full_precision
def gradient_map(image: Tensor, *, rounding: str = "none") -> Tensor:
    """How steep the grey image is: half of |G_x| and |G_y| of Sobel's 5x5 kernels.

    Grey is 0.299 R + 0.587 G + 0.114 B, or the one channel. The kernels have the derivative
    [-1, -2, 0, 2, 1] and the smoothing [1, 4, 6, 4, 1]; borders are reflected without their edge.

    Args:
        image: (N, 3, H, W) or (N, 1, H, W) in [0, 1], sides of at least 3.
        rounding: "none", or "bytes" for the authors' map, rounded half to even at each step.

    Returns:
        (N, 1, H, W), from 0 to about 48.

    Raises:
        UserError: If the image has other channels.

    Example:
        >>> import torch
        >>> from nearfar.losses.dense.masked_pixels import gradient_map
        >>> bool(gradient_map(torch.ones(1, 3, 8, 8)).abs().max() < 1e-4)
        True

    Source: Sobel and Feldman 1968; as in Cai et al. 2022 (Uni4Eye).
    """
    expect_pictures(image=(image, "N C H W"))
    expect_choice("rounding", rounding, ("none", "bytes"))
    if image.shape[1] not in (1, 3):
        raise UserError(f"A gradient map needs 1 or 3 channels; found {image.shape[1]}.")
    grey = image
    if image.shape[1] == 3:
        grey = (image * image.new_tensor(_GREY).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    across = _along(_along(grey, _DERIVATIVE, 1), _SMOOTHING, 0).abs()
    down = _along(_along(grey, _DERIVATIVE, 0), _SMOOTHING, 1).abs()
    if rounding == "bytes":
        return (0.5 * across.round() + 0.5 * down.round()).round().clamp(0, 255)
    return (across + down) / 2


@full_precision
def gradient_volume(volume: Tensor) -> Tensor:
    """How steep a volume is: the mean over axes of |Sobel|, smoothed along the other two axes.

    Args:
        volume: (N, 1, A, B, D), sides of at least 3.

    Returns:
        (N, 1, A, B, D).

    Example:
        >>> import torch
        >>> from nearfar.losses.dense.masked_pixels import gradient_volume
        >>> bool(gradient_volume(torch.ones(1, 1, 4, 5, 6)).abs().max() < 1e-3)
        True

    Source: Our extension of Uni4Eye's gradient map to three axes.
    """
    expect_pictures(volume=(volume, "N 1 A B D"))
    total = torch.zeros_like(volume)
    for derived in (2, 3, 4):
        found = volume
        for axis in (2, 3, 4):
            taps = _DERIVATIVE if axis == derived else _SMOOTHING
            moved = found.movedim(axis, 4)
            flat = moved.reshape(-1, 1, 1, moved.shape[4])
            found = _along(flat, taps, 1).view(moved.shape).movedim(4, axis)
        total = total + found.abs()
    return total / 3
