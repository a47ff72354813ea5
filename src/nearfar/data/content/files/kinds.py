"""Which reader takes an image that is an array of numbers."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

from PIL import Image

from nearfar.data.content.files.encoded import ArrayFile, Encoded, Page
from nearfar.data.content.files.npy import NPY_ENDING, Npy
from nearfar.data.content.files.tiff import tiff_of

__all__ = ["array_file", "lacking"]

_LIBRARIES = ("tifffile", "nibabel", "pydicom")


def array_file(encoded: Encoded) -> ArrayFile | None:
    """The array behind an image; None for images that Pillow reads as they are.

    Args:
        encoded: The image.
    """
    # By type, as asking for a protocol costs more than looking at a header.
    if isinstance(encoded, bytes):
        return tiff_of(encoded)
    if isinstance(encoded, Path):
        return Npy(encoded) if encoded.suffix.lower() == NPY_ENDING else tiff_of(encoded)
    if isinstance(encoded, Page):
        return tiff_of(encoded.path, encoded.number)
    return None if isinstance(encoded, Image.Image) else encoded


@lru_cache(maxsize=1)
def lacking() -> tuple[str, ...]:
    """The libraries of file formats that are not installed: what is decoded depends on them."""
    return tuple(name for name in _LIBRARIES if importlib.util.find_spec(name) is None)
