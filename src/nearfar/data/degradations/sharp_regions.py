"""DADeblur: the sharp parts of a blurry video, and the blur that the same video asks for."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import scipy.ndimage
import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.ranges import above, checked, whole_number

__all__ = ["UNIT", "blur_condition", "network_condition", "sharp_boxes"]

UNIT = 205.0
"""Pixels of blur that a magnitude of 1 stands for."""


def sharp_boxes(sharp: Tensor, least_side: int = 256) -> tuple[Tensor, Tensor]:
    """Boxes around connected sharp pixels, trimmed until their edges are half sharp.

    Neighbours are the 8 around a pixel. A component counts if the area of its box is above
    ``least_side`` squared. In the order left, right, top, bottom, left an edge is moved inwards
    while less than half of its line, over the current box, is sharp; the last such line stays in
    the box. Boxes with a side below ``least_side`` are dropped at the end.

    Args:
        sharp: (H, W) bool.
        least_side: At least 1.

    Returns:
        Boxes before and after trimming, (M, 4) and (K, 4) int64: top, left, bottom, right, the last
        two exclusive, in the order of their components.

    Example:
        >>> import torch
        >>> from nearfar.data.degradations.sharp_regions import sharp_boxes
        >>> sharp = torch.zeros(6, 6, dtype=torch.bool)
        >>> sharp[1:5, 2:6] = True
        >>> sharp_boxes(sharp, 3)[1]
        tensor([[1, 2, 5, 6]])

    Source: He et al. 2024 (DADeblur), section 3.2 and the authors' code.
    """
    checked(Annotated[int, whole_number()], "least_side", least_side)
    if sharp.ndim != 2 or sharp.dtype != torch.bool:
        raise UserError(f"Expected sharp (H, W) of bool; found {tuple(sharp.shape)}.")
    mask = sharp.cpu().numpy()
    labels, _ = scipy.ndimage.label(mask, structure=np.ones((3, 3)))
    boxes, trimmed = [], []
    for rows, columns in scipy.ndimage.find_objects(labels):
        box = [rows.start, columns.start, rows.stop, columns.stop]
        if (box[2] - box[0]) * (box[3] - box[1]) <= least_side**2:
            continue
        boxes.append(list(box))
        kept = _trimmed(mask, box)
        if min(kept[2] - kept[0], kept[3] - kept[1]) >= least_side:
            trimmed.append(kept)
    return (
        torch.tensor(boxes, dtype=torch.int64).view(-1, 4),
        torch.tensor(trimmed, dtype=torch.int64).view(-1, 4),
    )


def _trimmed(mask: np.ndarray[tuple[int, int], np.dtype[np.bool_]], box: list[int]) -> list[int]:
    """The box after its edges moved inwards."""
    top, left, bottom, right = box

    def share(rows: slice, columns: slice) -> float:
        return float(mask[rows, columns].mean())

    for side in ("left", "right", "top", "bottom", "left"):
        if side == "left":
            start = left
            while start < right and share(slice(top, bottom), slice(start, start + 1)) < 0.5:
                left = start
                start += 1
        elif side == "right":
            stop = right
            while stop > left and share(slice(top, bottom), slice(stop - 1, stop)) < 0.5:
                right = stop
                stop -= 1
        elif side == "top":
            start = top
            while start < bottom and share(slice(start, start + 1), slice(left, right)) < 0.5:
                top = start
                start += 1
        else:
            stop = bottom
            while stop > top and share(slice(stop - 1, stop), slice(left, right)) < 0.5:
                bottom = stop
                stop -= 1
    return [top, left, bottom, right]


def blur_condition(
    magnitude: Tensor, forward: Tensor, backward: Tensor, *, more: float = 10.0
) -> Tensor:
    """Direction and size of the blur of each pixel of a video, as a blurring model takes them.

    Direction: u = (F_{t->t+1} - F_{t->t-1}) / 2 over its length. Size: of frames with two
    neighbours on both sides a_t / max(a_t) times the mean of a_{t-2}, a_{t-1}, a_{t+1}, a_{t+2},
    of the others a_t; plus ``more``.

    Args:
        magnitude: (T, H, W) pixels of blur, a.
        forward: (T, 2, H, W) flow to the next frame.
        backward: (T, 2, H, W) flow to the frame before.
        more: Pixels added to the size.

    Returns:
        (T, 3, H, W): x and y of the unit direction, and the size in pixels.

    Example:
        >>> import torch
        >>> from nearfar.data.degradations.sharp_regions import blur_condition
        >>> flow = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
        >>> blur_condition(torch.ones(1, 1, 1), flow, -flow).flatten()
        tensor([ 0.6000,  0.8000, 11.0000])

    Source: He et al. 2024 (DADeblur), section 3.3 and the authors' code.
    """
    frames, height, width = magnitude.shape if magnitude.ndim == 3 else (0, 0, 0)
    flows = (frames, 2, height, width)
    if not frames or forward.shape != flows or backward.shape != flows:
        raise UserError(
            f"Expected magnitude (T, H, W) and two flows (T, 2, H, W); found"
            f" {tuple(magnitude.shape)}, {tuple(forward.shape)} and {tuple(backward.shape)}."
        )
    motion = (forward - backward) / 2
    length = motion.square().sum(dim=1, keepdim=True).sqrt()
    direction = motion / length.clamp(min=1e-8)
    size = magnitude.clone()
    for t in range(2, frames - 2):
        around = (magnitude[t - 2] + magnitude[t - 1] + magnitude[t + 1] + magnitude[t + 2]) / 4
        size[t] = magnitude[t] / magnitude[t].max().clamp(min=1e-8) * around
    return torch.cat([direction, (size + more)[:, None]], dim=1)


def network_condition(condition: Tensor, unit: float = UNIT) -> Tensor:
    """``blur_condition`` with sizes over ``unit`` and at most 1, as the blurring model takes it.

    Example:
        >>> import torch
        >>> from nearfar.data.degradations.sharp_regions import network_condition
        >>> network_condition(torch.tensor([0.6, 0.8, 410.0]).view(1, 3, 1, 1)).flatten()
        tensor([0.6000, 0.8000, 1.0000])

    Source: He et al. 2024 (DADeblur); Wu et al. 2024 (ID-Blau).
    """
    checked(Annotated[float, above(0)], "unit", unit)
    if condition.ndim != 4 or condition.shape[1] != 3:
        raise UserError(f"Expected conditions (T, 3, H, W); found {tuple(condition.shape)}.")
    size = (condition[:, 2:] / unit).clamp(max=1)
    return torch.cat([condition[:, :2], size], dim=1)
