"""Which reader takes an image that is an array of numbers."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

from PIL import Image

from nearfar.data.content.files.encoded import ArrayFile, Encoded
from nearfar.data.content.files.npy import NPY_ENDING, Npy
from nearfar.data.content.files.tiff import tiff_of

__all__ = ["array_file", "lacking"]

_LIBRARIES = ("tifffile", "nibabel", "pydicom")


def array_file(encoded: Encoded) -> ArrayFile | None:
    """The array behind an image; None for images that Pillow reads as they are.

    Args:
        encoded: The image.
    """
    if isinstance(encoded, Image.Image):
        return None
    if isinstance(encoded, ArrayFile):
        return encoded
    if isinstance(encoded, Path) and encoded.suffix.lower() == NPY_ENDING:
        return Npy(encoded)
    return tiff_of(encoded)


@lru_cache(maxsize=1)
def lacking() -> tuple[str, ...]:
    """The libraries of file formats that are not installed: what is decoded depends on them."""
    return tuple(name for name in _LIBRARIES if importlib.util.find_spec(name) is None)
