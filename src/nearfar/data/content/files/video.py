"""Video files by PyAV: evenly chosen frames of each."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.content.bounds import MOST_PIXELS, MOST_STEPS
from nearfar.data.content.files.encoded import Header, UnreadableError
from nearfar.errors import UserError

__all__ = ["Frame", "frames_in"]

_RIGHT = 90


@dataclass(frozen=True)
class Frame:
    """One of the frames of a video that are looked at.

    Attributes:
        path: Of the file.
        chosen: Numbers of all frames of it that are looked at, ascending.
        place: Of this one among them.
        about: Height, width and colours.
    """

    path: Path
    chosen: tuple[int, ...]
    place: int
    about: Header

    def header(self) -> Header:
        return self.about

    def array(self) -> NDArray[Any]:
        state = self.path.stat()
        return _frames(self.path, self.chosen, state.st_mtime_ns, state.st_size)[self.place]


def frames_in(path: Path, count: int) -> tuple[Frame, ...]:
    """Evenly chosen frames of a video; those of one with fewer frames come several times.

    Args:
        path: Of the file.
        count: How many are wanted.

    Raises:
        UnreadableError: If it is damaged, cut off at its start or holds no pictures.
    """
    with _opened(path) as container:
        stream = container.streams.video[0]
        total = int(stream.frames) or sum(packet.size > 0 for packet in container.demux(stream))
        about = Header(3, int(stream.height), int(stream.width), np.dtype(np.uint8))
    if not 1 <= total <= MOST_STEPS:
        raise UnreadableError(f"it has {total:,} frames; expected 1 to {MOST_STEPS:,}")
    if about.height * about.width > MOST_PIXELS or not about.height * about.width:
        raise UnreadableError(f"its frames are {about.height:,} x {about.width:,} pixels")
    chosen = tuple(place * total // count for place in range(count))
    return tuple(Frame(path, chosen, place, about) for place in range(count))


@lru_cache(maxsize=(os.cpu_count() or 1) + 1)
def _frames(
    path: Path, chosen: tuple[int, ...], modified: int, size: int
) -> list[NDArray[np.uint8]]:
    """The chosen frames (3, H, W), which those that are read after one another share."""
    found: dict[int, NDArray[np.uint8]] = {}
    wanted = set(chosen)
    seen = 0
    with _opened(path) as container:
        for frame in container.decode(container.streams.video[0]):
            if seen in wanted:
                found[seen] = _upright(frame)
            seen += 1
            if seen > chosen[-1]:
                break
    if len(found) < len(wanted):
        raise UnreadableError(f"it is cut off after {seen:,} frames")
    return [found[number] for number in chosen]


def _upright(frame: Any) -> NDArray[np.uint8]:
    """A frame as the file says that it is to be shown."""
    pixels = np.asarray(frame.to_ndarray(format="rgb24")).transpose(2, 0, 1)
    turns = round(int(getattr(frame, "rotation", 0) or 0) / _RIGHT)
    return np.ascontiguousarray(np.rot90(pixels, turns % 4, (1, 2)))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if importlib.util.find_spec("av") is None:
        raise UserError(f"{path.name} needs PyAV: pip install 'nearfar[video]'.")
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UnreadableError("it holds no pictures")
            yield container
    except (UnreadableError, UserError):
        raise
    except Exception as error:  # PyAV raises nearly anything on broken files
        raise UnreadableError from error
