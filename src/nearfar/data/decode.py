"""From an encoded image to uint8 pixels of a wanted shape."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Encoded = bytes | Path | Image.Image
"""A file's content, a file, or an image that is decoded already."""

_GREY_MODES = {"1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"}


def measure(encoded: Encoded) -> tuple[int, int, bool]:
    """Height, width and whether the image is grey, from its header alone.

    Raises:
        Exception: of any kind, if it is no image that Pillow can read.
    """
    with _opened(encoded) as image:
        return image.height, image.width, image.mode in _GREY_MODES


def pixels(encoded: Encoded, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Decode an image, resize it so that it covers H x W, and crop the rest off evenly.

    Transparent pixels are shown on white; of an animation the first frame is taken.

    Args:
        encoded: the image.
        shape: (C, H, W) wanted; C is 1 (grey) or 3 (RGB).

    Returns:
        uint8 (C, H, W).

    Raises:
        Exception: of any kind, if the image is broken.
    """
    channels, height, width = shape
    mode = "L" if channels == 1 else "RGB"
    with _opened(encoded) as opened:
        enlargement = max(height / opened.height, width / opened.width)
        if enlargement < 1:  # JPEG can be decoded at 1/2, 1/4 or 1/8 of its size, which is much faster
            opened.draft(mode, (math.ceil(opened.width * enlargement), math.ceil(opened.height * enlargement)))
        image = _flattened(opened, mode)
    if image.size != (width, height):
        image = _covering(image, height, width)
    found = np.asarray(image)
    return found[None] if channels == 1 else found.transpose(2, 0, 1)


def _opened(encoded: Encoded) -> Image.Image:
    if isinstance(encoded, Image.Image):
        return encoded.copy()  # closing the copy leaves the caller's image open
    return Image.open(io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded)


def _flattened(image: Image.Image, mode: str) -> Image.Image:
    """In the wanted mode, transparency on white, 16 bits scaled down to 8."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert(mode)
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    return image.convert(mode)


def _covering(image: Image.Image, height: int, width: int) -> Image.Image:
    shrink = min(image.height / height, image.width / width)
    box_height, box_width = height * shrink, width * shrink
    left, top = (image.width - box_width) / 2, (image.height - box_height) / 2
    box = (left, top, left + box_width, top + box_height)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)
