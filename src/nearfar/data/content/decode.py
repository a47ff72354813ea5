"""From an encoded image to uint8 pixels of a wanted shape."""

from __future__ import annotations

import io
import math
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from nearfar.data.content.bounds import MANY_PIXELS, MOST_PIXELS
from nearfar.data.readers.endings import IMAGE_FORMATS

Encoded = bytes | Path | Image.Image
"""A file's content, a file, or an image that is decoded already."""
Range = tuple[float, float]

_GREY_MODES = {"1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
_DEEP_MODES = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
_ORIENTATION = 0x112
_TURNED = (5, 6, 7, 8)
"""Values of EXIF's orientation under which height and width change places."""

_large = threading.Lock()


class UnreadableError(Exception):
    """An image that cannot be decoded; its text is the reason, or "" for mere damage."""


@dataclass(frozen=True)
class Measured:
    """What an image's header says.

    Attributes:
        height: of the image as it is shown.
        width: likewise.
        grey: whether it has no colours.
        deep: whether its values are of more than 8 bits, so that they must be scaled.
        cut: whether its colours are of 16 bits, of which Pillow keeps the upper 8.
    """

    height: int
    width: int
    grey: bool
    deep: bool = False
    cut: bool = False


def measure(encoded: Encoded) -> Measured:
    """Size and kind of an image, from its header alone.

    Raises:
        UnreadableError: if it is no image that is read here.
    """
    with _opened(encoded) as image:
        height = image.height
        width = image.width
        if _is_turned(image):
            height, width = width, height
        deep = image.mode in _DEEP_MODES
        return Measured(height, width, image.mode in _GREY_MODES, deep, _is_cut(image) and not deep)


def _is_cut(image: Image.Image) -> bool:
    """Whether the encoded colours have 16 bits, by the name of their layout ("RGB;16B")."""
    layouts = [tile[3] for tile in getattr(image, "tile", ())]
    names = [one[0] if isinstance(one, tuple) and one else one for one in layouts]
    return any(isinstance(one, str) and ";16" in one for one in names)


def values_range(encoded: Encoded) -> Range | None:
    """Least and largest finite value of an image with more than 8 bits; None where it has none.

    Raises:
        UnreadableError: if the image is broken.
    """
    with _opened(encoded) as opened, _one_at_a_time(opened.width * opened.height):
        values = _decoded(opened)
        array = np.asarray(values)
        finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    return (float(finite.min()), float(finite.max())) if finite.size else None


def pixels(
    encoded: Encoded, shape: tuple[int, int, int], values: Range | None = None
) -> NDArray[np.uint8]:
    """Decode an image, turn it as EXIF says, resize it so that it covers H x W, and crop the rest
    off evenly.

    Transparent pixels are shown on white; of an animation the first frame is taken.

    Args:
        encoded: the image.
        shape: (C, H, W) wanted; C is 1 (grey) or 3 (RGB).
        values: of an image with more than 8 bits, what becomes 0 and what 255; by default its own
            least and largest value.

    Returns:
        uint8 (C, H, W).

    Raises:
        UnreadableError: if the image is broken.
    """
    channels, height, width = shape
    mode = "L" if channels == 1 else "RGB"
    with _opened(encoded) as opened:
        wanted = (width, height) if _is_turned(opened) else (height, width)
        enlargement = max(wanted[0] / opened.height, wanted[1] / opened.width)
        if (
            enlargement < 1
        ):  # JPEG can be decoded at 1/2, 1/4 or 1/8 of its size, which is much faster
            opened.draft(
                mode,
                (math.ceil(opened.width * enlargement), math.ceil(opened.height * enlargement)),
            )
        with _one_at_a_time(opened.width * opened.height):
            image = _flattened(_decoded(opened), mode, values)
            if image.size != (width, height):
                image = _covering(image, height, width)
    found = np.asarray(image)
    return found[None] if channels == 1 else found.transpose(2, 0, 1)


@contextmanager
def _opened(encoded: Encoded) -> Iterator[Image.Image]:
    """An image whose header is read.

    Raises:
        UnreadableError: if Pillow cannot read it.
    """
    if isinstance(encoded, Image.Image):
        yield encoded.copy()  # closing the copy leaves the caller's image open
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(
                io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded, formats=_formats()
            )
    except Image.DecompressionBombError as error:
        raise UnreadableError(
            f"too large: over {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
        ) from error
    except Exception as error:  # Pillow's decoders raise nearly anything on broken files
        raise UnreadableError from error
    with image:
        yield image


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """The decoders that are tried and installed."""
    Image.init()
    return tuple(name for name in IMAGE_FORMATS if name in Image.OPEN)


def _decoded(image: Image.Image) -> Image.Image:
    """The image with its pixels, upright.

    Raises:
        UnreadableError: if it is too large, or broken.
    """
    if image.width * image.height > MOST_PIXELS:
        raise UnreadableError(
            f"too large: {image.width:,} x {image.height:,} pixels, at most {MOST_PIXELS:,} are "
            f"decoded"
        )
    try:
        image.load()
    except Exception as error:  # as above
        raise UnreadableError from error
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the EXIF block is damaged and the picture is not
        return image


def _is_turned(image: Image.Image) -> bool:
    if (
        image.format == "TIFF"
    ):  # Pillow turns these by itself, and states the size that they will have
        return False
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & set(image.info):
        return False  # Pillow would decode all of it to look further
    try:
        return image.getexif().get(_ORIENTATION) in _TURNED
    except Exception:  # a damaged block of EXIF
        return False


@contextmanager
def _one_at_a_time(count: int) -> Iterator[None]:
    """Hold other threads back while an image of so many pixels is in memory, if they are many."""
    if count <= MANY_PIXELS:
        yield
        return
    with _large:
        yield


def _flattened(image: Image.Image, mode: str, values: Range | None) -> Image.Image:
    """In the wanted mode, transparency on white, more than 8 bits scaled down to 8."""
    if image.mode in _DEEP_MODES:
        return _scaled(image, values).convert(mode)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert(mode)
    return image.convert(mode)


def _scaled(image: Image.Image, values: Range | None) -> Image.Image:
    array = np.asarray(image).astype(np.float32)
    finite = np.isfinite(array)
    if values is None:
        values = (
            (float(array[finite].min()), float(array[finite].max())) if finite.any() else (0.0, 1.0)
        )
    return Image.fromarray(to_bytes(np.where(finite, array, values[0]), values))


def to_bytes(array: NDArray[np.float32], values: Range) -> NDArray[np.uint8]:
    """Numbers as uint8, the range's ends becoming 0 and 255; what lies beyond is clipped, and
    without a range all is 0."""
    least, largest = values
    if largest <= least:
        return np.zeros(array.shape, dtype=np.uint8)
    found: NDArray[np.uint8] = np.rint(
        ((array - least) * (255 / (largest - least))).clip(0, 255)
    ).astype(np.uint8)
    return found


def _covering(image: Image.Image, height: int, width: int) -> Image.Image:
    return image.resize(
        (width, height), Image.Resampling.BILINEAR, box=covering_box(image.size, height, width)
    )


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
