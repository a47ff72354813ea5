"""Where a view looks: crop boxes, and one resample that crops, resizes, flips and rotates a whole
batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from nearfar.views.draws import rand

_ATTEMPTS = 10


def crop_boxes(
    count: int,
    sides: tuple[int, int] | tuple[Tensor, Tensor],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: torch.Generator,
) -> Tensor:
    """Random boxes inside an image, distributed as torchvision's ``RandomResizedCrop`` draws them.

    Area and log aspect ratio are uniform; a box that does not fit is drawn anew up to ten times,
    then the largest central box of an allowed ratio is taken. All attempts of all samples are drawn
    at once.

    Args:
        count: number of boxes N.
        sides: (height, width) of the image in pixels, or (N,) of each image.
        scale: share of the area, least and most.
        ratio: width over height, least and most.

    Returns:
        (N, 4) float32 of whole numbers: top, left, height, width, on the generator's device.
    """
    height, width = sides
    draws = rand((2, _ATTEMPTS, count), generator, axis=2)
    area = height * width * (scale[0] + (scale[1] - scale[0]) * draws[0])
    aspect = torch.exp(math.log(ratio[0]) + math.log(ratio[1] / ratio[0]) * draws[1])
    widths = (area * aspect).sqrt().round()
    heights = (area / aspect).sqrt().round()
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first = fits.int().argmax(0, keepdim=True)
    found = fits.any(0)
    central = _largest_central(height, width, ratio)
    h = torch.where(found, heights.gather(0, first)[0], central[0])
    w = torch.where(found, widths.gather(0, first)[0], central[1])
    places = rand((2, count), generator, axis=1)
    top = torch.where(found, (places[0] * (height - h + 1)).floor(), ((height - h) / 2).floor())
    left = torch.where(found, (places[1] * (width - w + 1)).floor(), ((width - w) / 2).floor())
    return torch.stack((top, left, h, w), dim=1)


def _largest_central(
    height: int | Tensor, width: int | Tensor, ratio: tuple[float, float]
) -> tuple[float | Tensor, float | Tensor]:
    """(height, width) of the box for an image in which no drawn box fits."""
    if isinstance(height, Tensor) or isinstance(width, Tensor):
        high, wide = torch.as_tensor(height), torch.as_tensor(width)
        narrow, flat = wide / high < ratio[0], wide / high > ratio[1]
        return (
            torch.where(narrow, (wide / ratio[0]).round(), high),
            torch.where(flat, (high * ratio[1]).round(), wide),
        )
    if width / height < ratio[0]:
        return float(round(width / ratio[0])), float(width)
    if width / height > ratio[1]:
        return float(height), float(round(height * ratio[1]))
    return float(height), float(width)


def resized_crop(
    images: Tensor,
    boxes: Tensor,
    size: tuple[int, int],
    *,
    flip: Tensor | None = None,
    angle: Tensor | None = None,
) -> Tensor:
    """Crop each image to its box, resize, flip and rotate it in one bilinear resample.

    Without rotation this is torchvision's ``resized_crop`` (bilinear, antialiased) followed by
    ``horizontal_flip``. With rotation the corners of a view show what the image has there, black
    only beyond the image's border; nothing is antialiased.

    Args:
        images: (N, C, H, W) float.
        boxes: (N, 4) top, left, height, width in pixels, inside the image.
        size: (height, width) of the result.
        flip: (N,) bool, mirror left and right; None for no sample.
        angle: (N,) degrees counter-clockwise, applied after the flip; None for no rotation at all.

    Returns:
        (N, C, height, width) of the images' dtype.
    """
    return resampler(
        boxes.to(images), (images.shape[2], images.shape[3]), size, flip=flip, angle=angle
    )(images, slice(None))


def resampler(
    boxes: Tensor,
    sides: tuple[int, int],
    size: tuple[int, int],
    *,
    flip: Tensor | None = None,
    angle: Tensor | None = None,
) -> Callable[[Tensor, slice], Tensor]:
    """``resized_crop`` of a batch that is worked through in parts: a function of some rows' images
    and the range of these rows.

    Args:
        boxes: (N, 4) of the images' dtype and on their device.
        sides: (height, width) of the images.
        size, flip, angle: as in ``resized_crop``.
    """
    flip = (
        torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
        if flip is None
        else flip.to(boxes.device)
    )
    if angle is not None:
        turned = angle.to(boxes)

        def rotated(images: Tensor, rows: slice) -> Tensor:
            grid = _rotated_grid(images, boxes[rows], size, flip[rows], turned[rows])
            return functional.grid_sample(images, grid, padding_mode="zeros", align_corners=False)

        return rotated
    if size[0] < sides[0] or size[1] < sides[1]:
        return lambda images, rows: _separable_resample(images, boxes[rows], size, flip[rows])
    across, down = _straight_axes(boxes, sides, size, flip)

    def enlarged(images: Tensor, rows: slice) -> Tensor:
        # Two taps an axis are enough; grid_sample then beats dense matrices from about 64 pixels
        # on.
        grid = torch.view_as_real(across[rows, None, :] + down[rows, :, None])
        return functional.grid_sample(images, grid, align_corners=False)

    return enlarged


def _positions(start: Tensor, length: Tensor, count: int, flip: Tensor | None = None) -> Tensor:
    """Source coordinates (N, count), in pixels with 0 at the first pixel's centre, of ``count``
    outputs over a stretch.
    """
    steps = torch.arange(count, device=start.device, dtype=start.dtype) + 0.5
    positions = start[:, None] + steps * (length / count)[:, None] - 0.5
    return positions if flip is None else torch.where(flip[:, None], positions.flip(1), positions)


def _straight_axes(
    boxes: Tensor, sides: tuple[int, int], size: tuple[int, int], flip: Tensor
) -> tuple[Tensor, Tensor]:
    """x (N, w) and iy (N, h) in [-1, 1], whose complex sums x + iy are the sampling grid: one pass
    writes both coordinates of a pixel.

    Positions stay inside the box, so that no pixel from outside it is mixed in.
    """
    top, left, height, width = boxes.unbind(1)
    y = _positions(top, height, size[0]).clamp(top[:, None], (top + height - 1)[:, None])
    x = _positions(left, width, size[1], flip).clamp(left[:, None], (left + width - 1)[:, None])
    x, y = ((2 * place + 1).div_(side).sub_(1) for place, side in ((x, sides[1]), (y, sides[0])))
    return torch.complex(x, torch.zeros_like(x)), torch.complex(torch.zeros_like(y), y)


def _rotated_grid(
    images: Tensor, boxes: Tensor, size: tuple[int, int], flip: Tensor, angle: Tensor
) -> Tensor:
    """Sampling grid (N, h, w, 2): output pixel, turned back about the centre, unflipped, laid into
    the box.
    """
    top, left, height, width = (side[:, None, None] for side in boxes.unbind(1))
    centred_y = (
        torch.arange(size[0], device=images.device, dtype=images.dtype)[:, None] + 0.5 - size[0] / 2
    )
    centred_x = (
        torch.arange(size[1], device=images.device, dtype=images.dtype)[None, :] + 0.5 - size[1] / 2
    )
    cosine, sine = (part[:, None, None] for part in (angle.deg2rad().cos(), angle.deg2rad().sin()))
    x = (cosine * centred_x - sine * centred_y) * (1 - 2 * flip.to(images))[:, None, None]
    y = sine * centred_x + cosine * centred_y
    x = left + (x / size[1] + 0.5) * width
    y = top + (y / size[0] + 0.5) * height
    return torch.stack((2 * x / images.shape[3] - 1, 2 * y / images.shape[2] - 1), dim=-1)


def _separable_resample(
    images: Tensor, boxes: Tensor, size: tuple[int, int], flip: Tensor
) -> Tensor:
    """Antialiased resize as two batched matrix products, rows times image times columns."""
    count, channels, height, width = images.shape
    top, left, box_height, box_width = boxes.unbind(1)
    rows = _triangle_weights(top, box_height, size[0], height)
    columns = _triangle_weights(left, box_width, size[1], width, flip)
    narrowed = torch.bmm(images.flatten(1, 2), columns.mT).view(count, channels, height, size[1])
    return rows[:, None] @ narrowed


def _triangle_weights(
    start: Tensor, length: Tensor, count: int, source: int, flip: Tensor | None = None
) -> Tensor:
    """(N, count, source) weights of a triangle as wide as one output step (at least one pixel),
    inside the stretch only.
    """
    pixels = torch.arange(source, device=start.device, dtype=start.dtype)
    reach = (length / count).clamp_min(1)[:, None, None]
    distance = (pixels - _positions(start, length, count, flip)[:, :, None]).abs()
    inside = (pixels >= start[:, None]) & (pixels < (start + length)[:, None])
    weights = (1 - distance / reach).clamp_min(0) * inside[:, None, :]
    return weights / weights.sum(-1, keepdim=True)
