"""Images whose headers are read by Pillow, and their bytes where it keeps too few of them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nearfar.data.content.files.codecs import lacking_codec
from nearfar.data.content.files.encoded import Encoded, Page, UnreadableError
from nearfar.data.readers.endings import IMAGE_FORMATS

__all__ = ["formats", "layouts", "opening", "two_bytes"]


@contextmanager
def opening(encoded: Encoded) -> Iterator[Image.Image]:
    """An image whose header is read.

    Raises:
        UnreadableError: if Pillow cannot read it.
    """
    if isinstance(encoded, Image.Image):
        yield encoded.copy()  # closing the copy leaves the caller's image open
        return
    source = encoded.path if isinstance(encoded, Page) else encoded
    assert isinstance(source, bytes | Path)  # array files are not opened here
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(
                io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats()
            )
    except Image.DecompressionBombError as error:
        raise UnreadableError(
            f"too large: over {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
        ) from error
    except Exception as error:  # Pillow's decoders raise nearly anything on broken files
        raise UnreadableError(lacking_codec(source)) from error
    with image:
        yield image


@lru_cache(maxsize=1)
def formats() -> tuple[str, ...]:
    """The decoders that are tried and installed."""
    Image.init()
    return tuple(name for name in IMAGE_FORMATS if name in Image.OPEN)


def layouts(image: Image.Image) -> list[str]:
    layouts = [tile[3] for tile in getattr(image, "tile", ())]
    names = [one[0] if isinstance(one, tuple) and one else one for one in layouts]
    return [one for one in names if isinstance(one, str)]


def two_bytes(encoded: Encoded, layout: str) -> NDArray[np.uint16]:
    """The values (C, H, W) of a PNG file of 16 bits.

    Pillow has no mode of several channels of 16 bits, but it can be told to take every first or
    every second byte of the file's values.
    """
    if layout == "LA;16B":  # as wide as four bytes
        whole = _bytes_of(encoded, "RGBA", "RGBA").astype(np.uint16)
        return whole[::2] * np.uint16(256) + whole[1::2]
    mode = layout.partition(";")[0]
    upper = _bytes_of(encoded, mode, f"{mode};16B").astype(np.uint16)
    lower = _bytes_of(encoded, mode, f"{mode};16L")
    return upper * np.uint16(256) + lower


def _bytes_of(encoded: Encoded, mode: str, layout: str) -> NDArray[np.uint8]:
    with opening(encoded) as opened:
        held: Any = opened
        held._mode = mode
        held.tile = [(*tile[:3], layout) for tile in held.tile]
        try:
            held.load()
        except Exception as error:  # as for any image
            raise UnreadableError from error
        return np.asarray(held).transpose(2, 0, 1)
