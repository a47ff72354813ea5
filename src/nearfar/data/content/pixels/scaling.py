"""Numbers of any range as the 256 or 65,536 levels of pixels, and arrays brought to one size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Range", "covering_box", "fitted", "levels_of", "to_bytes", "to_levels"]

Range = tuple[float, float]
"""What becomes the least and what the largest level."""


def levels_of(kind: Any) -> int:
    """The largest level of a type of pixels: 255 or 65,535."""
    return int(np.iinfo(np.dtype(kind)).max)


def to_levels(array: NDArray[Any], values: Range, kind: Any) -> NDArray[Any]:
    """Numbers as levels, the range's ends becoming the least and the largest; what lies beyond is
    clipped, and without a range all is 0.

    Args:
        array: Any finite numbers.
        values: The range.
        kind: ``np.uint8`` or ``np.uint16``.

    Example:
        >>> to_levels(np.array([0.0, 0.5, 2.0]), (0.0, 1.0), np.uint16).tolist()
        [0, 32768, 65535]
    """
    least, largest = values
    if largest <= least:
        return np.zeros(array.shape, dtype=kind)
    most = levels_of(kind)
    found: NDArray[Any] = np.rint(
        ((array - least) * (most / (largest - least))).clip(0, most)
    ).astype(kind)
    return found


def to_bytes(array: NDArray[np.float32], values: Range) -> NDArray[np.uint8]:
    """Numbers as the 256 levels of bytes, as ``to_levels`` does it."""
    return to_levels(array, values, np.uint8)


def fitted(
    array: NDArray[Any],
    shape: tuple[int, int, int],
    values: Range | None,
    *,
    deep: bool,
    whole: bool = False,
) -> NDArray[Any]:
    """Pixels of any type and size as (C, H, W) levels: resized to cover H x W, the rest cropped off
    evenly.

    Args:
        array: (C, height, width) numbers. What is missing or infinite becomes the least value.
        shape: (C, H, W).
        values: The range of what are no bytes; by default the array's own.
        deep: Whether the result is uint16. Bytes then keep their levels, times 257.
        whole: Whether nothing is cropped off and the sides are stretched to H x W instead.
    """
    kind = np.uint16 if deep else np.uint8
    if array.dtype == np.uint8:
        found = resized(array, shape[1:], whole=whole)
        return found.astype(np.uint16) * np.uint16(257) if deep else found
    exact = array.dtype.kind in "ui" and array.dtype.itemsize <= 2
    numbers = array.astype(np.float32 if exact or array.dtype == np.float16 else np.float64)
    finite = np.isfinite(numbers)
    if values is None:
        there = numbers[finite]
        values = (float(there.min()), float(there.max())) if there.size else (0.0, 1.0)
    if not finite.all():
        numbers = np.where(finite, numbers, values[0])
    return to_levels(resized(numbers, shape[1:], whole=whole), values, kind)


def resized(array: NDArray[Any], size: tuple[int, int], *, whole: bool = False) -> NDArray[Any]:
    """Planes (C, height, width) resized to cover a size, each by itself, as pictures are."""
    height, width = size
    if array.shape[1:] == size:
        return np.ascontiguousarray(array)
    box = None if whole else covering_box((array.shape[2], array.shape[1]), height, width)
    kind = array.dtype if array.dtype == np.uint8 else np.dtype(np.float32)
    planes = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(plane, dtype=kind)).resize(
                (width, height), Image.Resampling.BILINEAR, box=box
            )
        )
        for plane in array
    ]
    return np.stack(planes)


def covering_box(
    size: tuple[int, int], height: int, width: int
) -> tuple[float, float, float, float]:
    """The largest box in the middle of an image (width, height) that has the shape of H x W: left,
    top, right, bottom."""
    across, down = size
    shrink = min(down / height, across / width)
    box_width = min(width * shrink, across)
    box_height = min(height * shrink, down)
    left = max((across - box_width) / 2, 0.0)
    top = max((down - box_height) / 2, 0.0)
    return left, top, min(left + box_width, across), min(top + box_height, down)
