"""Pictures whose decoder is not installed, told by their first bytes."""

from __future__ import annotations

from pathlib import Path

from PIL import features

__all__ = ["lacking_codec"]

_BRAND = slice(4, 12)
_AVIF = (b"ftypavif", b"ftypavis")
_HEIC = (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypmif1", b"ftypmsf1")
_JPEG_2000 = (b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51")
_TIFF = (b"II*\0", b"MM\0*")


def lacking_codec(source: bytes | Path) -> str:
    """Why a picture cannot be decoded here and how to mend it; "" where no decoder is lacking."""
    start = _start(source)
    if start[_BRAND] in _AVIF and not features.check("avif"):
        return "AVIF needs Pillow 11.3 or later: pip install --upgrade pillow"
    if start[_BRAND] in _HEIC:
        return "HEIC is not read; save it as JPEG, PNG or AVIF"
    if start.startswith(_JPEG_2000) and not features.check("jpg_2000"):
        return "JPEG 2000 needs a Pillow with OpenJPEG: pip install --upgrade pillow"
    if start.startswith(_TIFF) and not features.check("libtiff"):
        return "it is a TIFF file that needs a Pillow with libtiff: pip install --upgrade pillow"
    return ""


def _start(source: bytes | Path) -> bytes:
    if isinstance(source, bytes):
        return source[:12]
    try:
        with source.open("rb") as file:
            return file.read(12)
    except OSError:
        return b""
