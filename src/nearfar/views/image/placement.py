"""Where each view of each image looks: a crop box and whether it is mirrored."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nearfar.rows import Whole
from nearfar.views.draws import branch, uniform
from nearfar.views.image.geometry import crop_boxes
from nearfar.views.image.settings import ImageViewSettings

_ATTEMPTS = 10


@dataclass(frozen=True)
class Placement:
    """Of one view of N images.

    Attributes:
        boxes: (N, 4) float32 top, left, height, width in pixels.
        flipped: (N,) bool, mirrored left and right.
    """

    boxes: Tensor
    flipped: Tensor


def placements(
    count: int,
    sides: tuple[int, int],
    settings: list[ImageViewSettings],
    generator: torch.Generator,
    *,
    centre_distance: float = 0.0,
    pictures: Whole | None = None,
) -> list[Placement]:
    """A placement for each view's settings, on the generator's device.

    Args:
        count: number of images N.
        sides: (height, width) of the images in pixels.
        pictures: whole pictures in whose own shapes boxes are drawn, if ``sides`` are those of the
            squares in which they are stored.
        centre_distance: least distance of the first two boxes' centres over the image's diagonal;
            boxes of the second view that are nearer are drawn anew, up to ten times. 0: as they
            come.

    Source for the distance: Wu et al. 2023 (Hallucinator), "centre-wise cropping".
    """
    drawn = [place(count, sides, one, generator, pictures) for one in settings]
    if centre_distance > 0 and len(drawn) > 1:
        first = drawn[0].boxes
        second = drawn[1].boxes
        again = branch(
            generator
        )  # other processes may need another number of attempts for their samples
        for _ in range(_ATTEMPTS):
            near = centres_apart(first, second) < centre_distance * math.hypot(*sides)
            if not near.any():
                break
            second = torch.where(
                near[:, None], place(count, sides, settings[1], again, pictures).boxes, second
            )
        drawn[1] = Placement(second, drawn[1].flipped)
    return drawn


def place(
    count: int,
    sides: tuple[int, int],
    settings: ImageViewSettings,
    generator: torch.Generator,
    pictures: Whole | None = None,
) -> Placement:
    """One random placement."""
    flipped = uniform(count, (0, 1), generator) < settings.flip
    if pictures is not None:
        return Placement(_whole_boxes(pictures, settings, generator), flipped)
    if settings.scale[0] == 1:
        return Placement(
            torch.tensor([0.0, 0.0, *sides], device=generator.device).expand(count, 4), flipped
        )
    return Placement(crop_boxes(count, sides, settings.scale, settings.ratio, generator), flipped)


def _whole_boxes(
    pictures: Whole, settings: ImageViewSettings, generator: torch.Generator
) -> Tensor:
    """(N, 4) boxes drawn in the pictures' own shapes, in pixels of the stored squares; where none
    is to be drawn, the largest in the middle with the shape of a view.
    """
    high, wide = (sides.to(generator.device) for sides in pictures.sides())
    if settings.scale[0] == 1:
        ratio = pictures.size[1] / pictures.size[0]
        height = torch.minimum(high, wide / ratio)
        width = height * ratio
        boxes = torch.stack(((high - height) / 2, (wide - width) / 2, height, width), dim=1)
    else:
        boxes = crop_boxes(len(pictures), (high, wide), settings.scale, settings.ratio, generator)
    side = pictures.values.shape[2]
    across = side / wide
    down = side / high
    found = boxes * torch.stack((down, across, down, across), dim=1)
    # The resampler takes boxes of whole pixels.
    height = found[:, 2].round().clamp(1, side)
    width = found[:, 3].round().clamp(1, side)
    top = torch.minimum(found[:, 0].round(), side - height)
    left = torch.minimum(found[:, 1].round(), side - width)
    return torch.stack((top, left, height, width), dim=1)


def centres_apart(first: Tensor, second: Tensor) -> Tensor:
    """(N,) distances in pixels between the centres of boxes (N, 4)."""
    one, other = (boxes[:, :2] + boxes[:, 2:] / 2 for boxes in (first, second))
    return torch.hypot(*(one - other).unbind(1))


def relative_boxes(placement: Placement, sides: tuple[int, int]) -> Tensor:
    """(N, 4) left, top, right, bottom: pixel numbers over the largest pixel number, left and right
    exchanged where mirrored.

    Source: Xie et al. 2021 (PixPro), authors' code.
    """
    top, left, height, width = placement.boxes.unbind(1)
    rows, columns = (max(1, side - 1) for side in sides)
    x0 = left / columns
    x1 = (left + width - 1) / columns
    y0 = top / rows
    y1 = (top + height - 1) / rows
    x0, x1 = torch.where(placement.flipped, x1, x0), torch.where(placement.flipped, x0, x1)
    return torch.stack((x0, y0, x1, y1), dim=1)
