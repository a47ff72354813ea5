"""TIFF files that Pillow reads in part or not at all: colours of 16 bits, floats, many bands."""

from __future__ import annotations

import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nearfar.data.content.bounds import MOST_PIXELS
from nearfar.data.content.files.encoded import Header, UnreadableError
from nearfar.data.content.pixels.orientation import exchanges_sides, turned

__all__ = ["TIFF_ENDINGS", "Tiff", "frames_of", "pages_of", "tiff_of"]

TIFF_ENDINGS = (".tif", ".tiff")
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SAMPLES = 277
_DESCRIPTION = 270
_ORIENTATION = 274
_PILLOW_SAMPLES = {"RGB": 3, "RGBA": 4, "CMYK": 4, "YCbCr": 3, "LAB": 3, "LA": 2, "PA": 2}
"""Samples of a pixel in the modes in which Pillow keeps all of them."""
_ALPHA = (1, 2)
_NEEDS = "it has bands or values that need tifffile: pip install 'nearfar[tiff]'"


@dataclass(frozen=True)
class Tiff:
    """One page of a TIFF file, or all pages where these are the channels of one image.

    Attributes:
        encoded: The file or its content.
        page: Number of the page.
    """

    encoded: bytes | Path
    page: int = 0

    def header(self) -> Header:
        with self._opened() as file:
            shape, kind, pages = _layout(file, self.page)
            return Header(*shape, kind, pages)

    def array(self) -> NDArray[Any]:
        with self._opened() as file:
            shape, _, _ = _layout(file, self.page)
            if shape[0] * shape[1] * shape[2] > MOST_PIXELS:
                raise UnreadableError(
                    f"too large: {shape[0]} x {shape[1]:,} x {shape[2]:,} values, at most "
                    f"{MOST_PIXELS:,} are decoded"
                )
            if _are_channels(file):
                return np.asarray(file.series[0].asarray())
            page = file.pages[self.page]
            found = np.asarray(page.asarray())
            if found.ndim == 2:
                found = found[None]
            elif page.axes[0] != "S":
                found = found.transpose(2, 0, 1)
            return turned(_without_alpha(found, page), _orientation(page))

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        if importlib.util.find_spec("tifffile") is None:
            raise UnreadableError(_NEEDS)
        import tifffile

        logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # likewise
        source = io.BytesIO(self.encoded) if isinstance(self.encoded, bytes) else self.encoded
        try:
            with tifffile.TiffFile(source) as file:
                yield file
        except UnreadableError:
            raise
        except Exception as error:  # tifffile raises nearly anything on broken files
            words = str(error)
            lacking = "its compression needs imagecodecs: pip install imagecodecs"
            raise UnreadableError(lacking if "imagecodecs" in words else "") from error


def _layout(file: Any, number: int) -> tuple[tuple[int, int, int], np.dtype[Any], int]:
    """Channels, height and width; the kind of a value; and the number of pages."""
    if _are_channels(file):
        series = file.series[0]
        channels, height, width = series.shape
        return (channels, height, width), np.dtype(series.dtype), 1
    if not number < len(file.pages):
        raise UnreadableError(f"it has {len(file.pages)} pages, and no page {number + 1}")
    page = file.pages[number]
    if page.dtype is None or page.ndim not in (2, 3) or page.dtype.kind not in "uif":
        raise UnreadableError(f"its pages have the axes {page.axes} and no numbers that are pixels")
    ends = [
        start + length for start, length in zip(page.dataoffsets, page.databytecounts, strict=True)
    ]
    if ends and max(ends) > file.filehandle.size:
        raise UnreadableError("it is cut off")  # tifffile would fill it up with zeros
    sides = {"Y": 0, "X": 0, "S": 1, **dict(zip(page.axes, page.shape, strict=True))}
    channels = sides["S"] - (sides["S"] > 1 and _has_alpha(page))
    height, width = sides["Y"], sides["X"]
    if exchanges_sides(_orientation(page)):
        height, width = width, height
    return (channels, height, width), np.dtype(page.dtype), len(file.pages)


def _orientation(page: Any) -> int:
    tag = page.tags.get(_ORIENTATION)
    return int(tag.value) if tag is not None else 1


def _are_channels(file: Any) -> bool:
    """Whether the pages are the channels of one image, as microscopes write them."""
    if not (file.is_ome or file.is_imagej) or len(file.pages) < 2:
        return False
    return bool(file.series[0].axes == "CYX")


def _has_alpha(page: Any) -> bool:
    return any(int(one) in _ALPHA for one in page.extrasamples)


def _without_alpha(array: NDArray[Any], page: Any) -> NDArray[Any]:
    """The colours on white, where the last band says how opaque they are."""
    if not _has_alpha(page) or len(array) < 2:
        return array
    white = float(np.iinfo(array.dtype).max) if array.dtype.kind in "ui" else 1.0
    opaque = array[-1:].astype(np.float64) / white
    shown = array[:-1] * opaque + white * (1 - opaque)
    found = np.rint(shown) if array.dtype.kind in "ui" else shown
    return found.astype(array.dtype)


def tiff_of(source: bytes | Path, page: int = 0) -> Tiff | None:
    """The TIFF file behind an image, where Pillow does not read all of it; None for others.

    Args:
        source: The file or its content.
        page: Number of the page.
    """
    if not _may_be_tiff(source):
        return None
    return Tiff(source, page) if page or not _pillow_reads(source) else None


def _may_be_tiff(source: bytes | Path) -> bool:
    if isinstance(source, bytes):
        return source[:4] in _MAGIC
    return source.suffix.lower() in TIFF_ENDINGS


def _pillow_reads(source: bytes | Path) -> bool:
    """Whether Pillow reads all bands of the first page, and all bits where tifffile is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damage is told once, by us
        try:
            with Image.open(
                io.BytesIO(source) if isinstance(source, bytes) else source, formats=("TIFF",)
            ) as opened:
                return _is_whole(opened)
        except Image.DecompressionBombError:
            return True  # it refuses the file with its reason
        except Exception:  # no TIFF that Pillow knows
            with _start_of(source) as start:
                return start not in _MAGIC


def _is_whole(opened: Any) -> bool:
    """Whether Pillow decodes all that an opened file holds of its first page."""
    has_library = importlib.util.find_spec("tifffile") is not None
    samples = int(opened.tag_v2.get(_SAMPLES, 1))
    if samples > 1:
        deep = has_library and any(";16" in str(tile[3]) for tile in opened.tile)
        return _PILLOW_SAMPLES.get(opened.mode) == samples and not deep
    told = str(opened.tag_v2.get(_DESCRIPTION, ""))
    microscope = told.startswith("ImageJ") or "<OME" in told[:2000]
    return not (microscope and has_library and opened.n_frames > 1)


@contextmanager
def _start_of(source: bytes | Path) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source[:4]
        return
    try:
        with source.open("rb") as file:
            yield file.read(4)
    except OSError:
        yield b""


def frames_of(opened: Any) -> int:
    """How many pages an opened file has; 1 where what follows the first is damaged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return int(getattr(opened, "n_frames", 1))
        except Exception:  # Pillow raises nearly anything on broken files
            return 1


def pages_of(path: Path) -> int:
    """How many pages a TIFF file has; 1 for a file of another kind or that is broken."""
    if path.suffix.lower() not in TIFF_ENDINGS:
        return 1
    held = tiff_of(path)
    try:
        if held is not None:
            return held.header().pages
        with Image.open(path, formats=("TIFF",)) as opened:
            return frames_of(opened)
    except Exception:  # its reason is told where it is decoded
        return 1
