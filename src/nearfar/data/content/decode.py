"""From an encoded image to pixels of a wanted shape: the one decoder of all readers."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nearfar.data.content.bounds import MANY_PIXELS, MOST_PIXELS
from nearfar.data.content.files.encoded import (
    MOST_CHANNELS,
    ArrayFile,
    Encoded,
    UnreadableError,
)
from nearfar.data.content.files.kinds import array_file
from nearfar.data.content.files.tiff import frames_of
from nearfar.data.content.pixels.opening import layouts, opening, two_bytes
from nearfar.data.content.pixels.orientation import exchanges_sides, orientation_of, turned, upright
from nearfar.data.content.pixels.scaling import Range, covering_box, fitted, to_bytes

_GREY_MODES = {"1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
_DEEP_MODES = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}

_large = threading.Lock()


@dataclass(frozen=True)
class Measured:
    """What an image's header says.

    Attributes:
        height: of the image as it is shown.
        width: likewise.
        grey: whether it has no colours.
        deep: whether its values are of more than 8 bits.
        cut: whether it has more than 8 bits, of which the upper 8 alone are read here.
        bands: number of channels where these are neither grey nor RGB; 0 otherwise.
        pages: of the file, of which the first is read.
    """

    height: int
    width: int
    grey: bool
    deep: bool = False
    cut: bool = False
    bands: int = 0
    pages: int = 1

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB, or the number of bands."""
        return self.bands or (1 if self.grey else 3)


def measure(encoded: Encoded) -> Measured:
    """Size and kind of an image, from its header alone.

    Raises:
        UnreadableError: if it is no image that is read here.
    """
    file = array_file(encoded)
    if file is not None:
        about = file.header()
        if about.channels > MOST_CHANNELS:
            raise UnreadableError(
                f"it has {about.channels} channels; at most {MOST_CHANNELS} are read"
            )
        return Measured(
            about.height,
            about.width,
            about.channels == 1,
            about.kind != np.uint8,
            bands=0 if about.channels in (1, 3) else about.channels,
            pages=about.pages,
        )
    with opening(encoded) as image:
        height = image.height
        width = image.width
        if exchanges_sides(orientation_of(image)):
            height, width = width, height
        colours = _has_deep_colours(image)
        deep = image.mode in _DEEP_MODES or (colours and image.format == "PNG")
        grey = image.mode in _GREY_MODES or (colours and _has_grey_layout(image))
        pages = frames_of(image) if image.format == "TIFF" else 1
        return Measured(height, width, grey, deep, colours and not deep, pages=pages)


def _has_deep_colours(image: Image.Image) -> bool:
    """Whether the encoded colours have 16 bits, of which Pillow would keep the upper 8, by the name
    of their layout ("RGB;16B")."""
    return image.mode not in _DEEP_MODES and any(";16" in one for one in layouts(image))


def _has_grey_layout(image: Image.Image) -> bool:
    return any(one.startswith("LA;") for one in layouts(image))


def values_range(encoded: Encoded) -> Range | None:
    """Least and largest finite value of an image with more than 8 bits; None where it has none.

    Raises:
        UnreadableError: if the image is broken.
    """
    array = deep_array(encoded)
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    return (float(finite.min()), float(finite.max())) if finite.size else None


def deep_array(encoded: Encoded) -> NDArray[Any]:
    """The values (C, H, W) of an image with more than 8 bits, as they are stored, upright.

    Raises:
        UnreadableError: if the image is broken.
    """
    file = array_file(encoded)
    if file is not None:
        return _array_in(file)
    with opening(encoded) as opened, _one_at_a_time(opened.width * opened.height):
        if _has_deep_colours(opened):
            return _deep_colours(encoded, opened)
        return np.asarray(_decoded(opened))[None]


def pixels(
    encoded: Encoded,
    shape: tuple[int, int, int],
    values: Range | None = None,
    *,
    deep: bool = False,
    whole: bool = False,
) -> NDArray[Any]:
    """Decode an image, turn it as EXIF says, resize it so that it covers H x W, and crop the rest
    off evenly.

    Transparent pixels are shown on white; of an animation the first frame is taken.

    Args:
        encoded: the image.
        shape: (C, H, W) wanted; C is 1 (grey), 3 (RGB) or the number of channels that the image
            has.
        values: of an image with more than 8 bits, what becomes the least and what the largest
            value; by default its own least and largest value.
        deep: whether 16 bits are wanted. An image of 8 bits then keeps its levels, 0 to 255 spread
            over 0 to 65,535.
        whole: whether nothing is cropped off and the sides are stretched to H x W instead.

    Returns:
        uint8 (C, H, W), or uint16 where it is to be deep.

    Raises:
        UnreadableError: if the image is broken.
    """
    channels, height, width = shape
    file = array_file(encoded)
    if file is not None:
        array = _array_in(file)
        return fitted(_of_channels(array, channels), shape, values, deep=deep, whole=whole)
    if channels not in (1, 3):
        found = measure(encoded).channels
        raise UnreadableError(f"it has {found} channels; expected {channels}")
    mode = "L" if channels == 1 else "RGB"
    with opening(encoded) as opened:
        exchanged = exchanges_sides(orientation_of(opened))
        wanted = (width, height) if exchanged else (height, width)
        enlargement = max(wanted[0] / opened.height, wanted[1] / opened.width)
        if (
            enlargement < 1
        ):  # JPEG can be decoded at 1/2, 1/4 or 1/8 of its size, which is much faster
            opened.draft(
                mode,
                (math.ceil(opened.width * enlargement), math.ceil(opened.height * enlargement)),
            )
        with _one_at_a_time(opened.width * opened.height):
            if deep and (opened.mode in _DEEP_MODES or _is_deep_png(opened)):
                array = (
                    _deep_colours(encoded, opened)
                    if _is_deep_png(opened)
                    else np.asarray(_decoded(opened))[None]
                )
                return fitted(_of_channels(array, channels), shape, values, deep=True, whole=whole)
            image = _flattened(_decoded(opened), mode, values)
            if image.size != (width, height):
                image = _covering(image, height, width, whole=whole)
    shown: NDArray[Any] = np.asarray(image)
    levels = shown[None] if channels == 1 else shown.transpose(2, 0, 1)
    return levels.astype(np.uint16) * np.uint16(257) if deep else levels


def _is_deep_png(image: Image.Image) -> bool:
    return image.format == "PNG" and _has_deep_colours(image)


def _array_in(file: ArrayFile) -> NDArray[Any]:
    about = file.header()
    with _one_at_a_time(about.height * about.width * about.channels):
        return file.array()


def _of_channels(array: NDArray[Any], channels: int) -> NDArray[Any]:
    """The channels that are wanted: grey of RGB and the reverse; others must be as many."""
    if len(array) == channels:
        return array
    if len(array) == 1 and channels == 3:
        return np.repeat(array, 3, axis=0)
    if len(array) == 3 and channels == 1:
        weights = np.array([0.299, 0.587, 0.114]).reshape(3, 1, 1)
        grey = (array * weights).sum(axis=0, keepdims=True)
        return np.asarray(np.rint(grey).astype(array.dtype) if array.dtype.kind in "ui" else grey)
    raise UnreadableError(f"it has {len(array)} channels; expected {channels}")


def _deep_colours(encoded: Encoded, opened: Image.Image) -> NDArray[Any]:
    """Colours of 16 bits of a PNG file, which Pillow would cut to 8, upright and on white."""
    if opened.width * opened.height > MOST_PIXELS:
        _decoded(opened)  # refuses it
    layout = layouts(opened)[0]
    array = two_bytes(encoded, layout)
    if len(array) in (2, 4):
        opaque = array[-1:].astype(np.float64) / 65535
        array = np.rint(array[:-1] * opaque + 65535 * (1 - opaque)).astype(np.uint16)
    return turned(array, orientation_of(opened))


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
    return upright(image)


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


def _covering(image: Image.Image, height: int, width: int, *, whole: bool) -> Image.Image:
    box = None if whole else covering_box(image.size, height, width)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)
