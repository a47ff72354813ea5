"""A .npy file: one array, of which nothing is unpickled."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.content.bounds import MOST_PIXELS
from nearfar.data.content.files.encoded import MOST_CHANNELS, Header, UnreadableError

__all__ = ["NPY_ENDING", "Npy", "shape_of"]

NPY_ENDING = ".npy"
_LEAST_SIDE = 8


@dataclass(frozen=True)
class Npy:
    """An image in a .npy file: (H, W), (C, H, W) or (H, W, C).

    Attributes:
        path: Of the file.
        last: Whether the channels are the last axis; None: as the shape says.
    """

    path: Path
    last: bool | None = None

    def header(self) -> Header:
        shape, kind = shape_of(self.path)
        if len(shape) not in (2, 3) or kind.kind not in "buif":
            raise UnreadableError(f"it has the shape {shape} and type {kind}, which is no image")
        if len(shape) == 2:
            return Header(1, *shape, kind)
        last = self._is_last(shape)
        channels, height, width = (shape[2], *shape[:2]) if last else shape
        return Header(channels, height, width, kind)

    def array(self) -> NDArray[Any]:
        about = self.header()
        if prod((about.channels, about.height, about.width)) > MOST_PIXELS * 4:
            raise UnreadableError(f"too large: at most {MOST_PIXELS * 4:,} values are read")
        try:
            found = np.load(self.path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UnreadableError from error
        if found.dtype == bool:
            found = found.astype(np.uint8) * 255
        if found.ndim == 2:
            return np.asarray(found[None])
        return np.asarray(found.transpose(2, 0, 1) if self._is_last(found.shape) else found)

    def _is_last(self, shape: tuple[int, ...]) -> bool:
        if self.last is not None:
            return self.last
        return not (shape[0] <= MOST_CHANNELS and min(shape[1:]) >= _LEAST_SIDE)


def shape_of(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the array, from the header alone.

    Raises:
        UnreadableError: If the file is none, holds Python objects, or is shorter than it says.
    """
    layout: Any = np.lib.format
    try:
        with path.open("rb") as file:
            version = layout.read_magic(file)
            read = (
                layout.read_array_header_1_0 if version == (1, 0) else layout.read_array_header_2_0
            )
            shape, _, kind = read(file)
            start = file.tell()
    except (OSError, ValueError, EOFError) as error:
        raise UnreadableError("it is no .npy file" if path.is_file() else "") from error
    if kind.hasobject:
        raise UnreadableError("it holds Python objects, which could run code when loaded")
    if path.stat().st_size < start + prod(shape) * kind.itemsize:
        raise UnreadableError("it is cut off")
    return tuple(shape), kind
