"""Which way up a picture is: EXIF's eight orientations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

__all__ = ["exchanges_sides", "orientation_of", "turned", "upright"]

_ORIENTATION = 0x112
_EXCHANGED = (5, 6, 7, 8)


def orientation_of(image: Image.Image) -> int:
    """The orientation in which an opened image is still stored, from 1 (upright) to 8.

    Pillow turns TIFF files by itself and states the size that they will have.
    """
    if image.format == "TIFF":
        return 1
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & set(image.info):
        return 1  # Pillow would decode all of it to look further
    try:
        found = image.getexif().get(_ORIENTATION)
    except Exception:  # a damaged block of EXIF
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def exchanges_sides(orientation: int) -> bool:
    """Whether height and width change places when the image is turned upright."""
    return orientation in _EXCHANGED


def upright(image: Image.Image) -> Image.Image:
    """A decoded image, turned as EXIF says."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the EXIF block is damaged and the picture is not
        return image


def turned(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Pixels (C, H, W) that are stored in an orientation, upright.

    Example:
        >>> turned(np.array([[[1, 2], [3, 4]]]), 6)[0].tolist()
        [[3, 1], [4, 2]]
    """
    if orientation in (3, 4, 7):
        array = array[:, ::-1]
    if orientation in (2, 3, 7):
        array = array[:, :, ::-1]
    if orientation in (5, 7):
        array = array.swapaxes(1, 2)
    if orientation in (6, 8):
        array = np.rot90(array, -1 if orientation == 6 else 1, (1, 2))
    return array
