"""What an image is before it is decoded, and why one cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["MOST_CHANNELS", "ArrayFile", "Encoded", "Header", "Page", "UnreadableError"]

MOST_CHANNELS = 32
"""Channels of an image."""


@dataclass(frozen=True)
class Page:
    """One page of a TIFF file, or one slice of a volume.

    Attributes:
        path: Of the file.
        number: Of the page, from 0.
    """

    path: Path
    number: int


class UnreadableError(Exception):
    """A sample that cannot be decoded; its text is the reason, or "" for mere damage."""


@dataclass(frozen=True)
class Header:
    """What the header of an array of pixels says.

    Attributes:
        channels: At least 1.
        height: In pixels.
        width: In pixels.
        kind: Of a value.
        pages: In the file.
    """

    channels: int
    height: int
    width: int
    kind: np.dtype[Any]
    pages: int = 1


@runtime_checkable
class ArrayFile(Protocol):
    """An image that is an array of numbers, of any number of channels and bits."""

    def header(self) -> Header:
        """What is known without the pixels.

        Raises:
            UnreadableError: If the file is broken.
        """

    def array(self) -> NDArray[Any]:
        """The pixels (C, H, W), of the file's own type.

        Raises:
            UnreadableError: If the file is broken.
        """


Encoded = bytes | Path | Page | Image.Image | ArrayFile
"""A file's content, a file, a page of one, an image that is decoded already, or an array file."""
