"""Encoded images (files, or bytes in a column): measured, brought to one shape, decoded on all cores into the cache."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from nearfar.data.cache import key_of, remembered, write_blocks
from nearfar.data.decode import Encoded, measure, pixels
from nearfar.data.options import DataOptions
from nearfar.data.spec import Spec
from nearfar.data.table import Loaded, decoded_rows
from nearfar.errors import UserError

LARGEST_SIDE = 224
"""Images are shrunk to at most this unless a size is given."""

_BLOCK = 512
"""Images decoded between two writes."""
_TASK = 32
"""Images decoded by a thread at a time."""

_VERSION = 1
"""Of what is written; a change makes old cache entries unused."""

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Pictures:
    """N images that have not been decoded.

    Attributes:
        encoded: from ascending rows to the images' bytes, files or images.
        ids: N names, for the list of unreadable ones.
        facts: what tells this content from any other, for the cache.
        name: of the data, for errors.
    """

    encoded: Callable[[NDArray[np.int64]], Sequence[Encoded]]
    ids: Sequence[str]
    facts: object
    name: str

    @property
    def modality(self) -> str:
        return "image"

    def load(self, rows: NDArray[np.int64], options: DataOptions, like: Spec | None) -> Loaded:
        wanted = like.shape if like is not None else None
        key = key_of(_VERSION, self.facts, rows.tobytes(), options.size, wanted)
        array, about = remembered(key, lambda file: self._write(file, rows, options.size, wanted), options.cache)
        readable, notes = decoded_rows(about["unreadable"], self.ids, rows, f"images of {self.name}", strict=options.strict)
        if about["resized"]:
            side = " x ".join(map(str, about["shape"][1:]))
            notes.append(f"{about['resized']} of {len(rows)} images were resized and cropped to {side} pixels; --size sets another size.")
        extra = {"resized": about["resized"]} if about["resized"] else {}
        return Loaded(torch.from_numpy(array), readable, notes, extra)

    def _write(self, file: BinaryIO, rows: NDArray[np.int64], size: int | None, wanted: tuple[int, ...] | None) -> dict[str, Any]:
        """Decode all rows into an open .npy; the facts say which are broken (and black) and how many changed their shape."""
        with ThreadPoolExecutor(_cores()) as pool:
            found = [m for block in self._blocks(rows) for m in _spread(pool, _measured, block)]
            measured = [m for m in found if m is not None]
            if not measured:
                raise UserError(f"None of the {len(rows)} images of {self.name} can be read; check that they are complete image files.")
            shape = _three(wanted) if wanted is not None else _common_shape(measured, size)
            broken = {place for place, one in enumerate(found) if one is None}
            write_blocks(file, (len(rows), *shape), np.uint8, self._decoded(pool, rows, shape, broken))
        resized = sum(one is not None and one[:2] != shape[1:] for one in found)
        return {"unreadable": sorted(broken), "resized": resized, "shape": shape}

    def _blocks(self, rows: NDArray[np.int64]) -> Iterator[Sequence[Encoded]]:
        for start in range(0, len(rows), _BLOCK):
            yield self.encoded(rows[start : start + _BLOCK])

    def _decoded(self, pool: ThreadPoolExecutor, rows: NDArray[np.int64], shape: Shape, broken: set[int]) -> Iterator[NDArray[np.uint8]]:
        place = 0
        for block in self._blocks(rows):
            decoded = np.zeros((len(block), *shape), dtype=np.uint8)
            for target, one in zip(decoded, _spread(pool, lambda encoded: _pixels(encoded, shape), block), strict=True):
                if one is None:
                    broken.add(place)
                else:
                    target[:] = one
                place += 1
            yield decoded


def _spread(pool: ThreadPoolExecutor, work: Callable[[Encoded], Any], block: Sequence[Encoded]) -> list[Any]:
    """``work`` on each image of a block, in order, in tasks large enough for threads to pay."""
    tasks = [block[i : i + _TASK] for i in range(0, len(block), _TASK)]
    return [one for done in pool.map(lambda task: [work(encoded) for encoded in task], tasks) for one in done]


def _measured(encoded: Encoded) -> tuple[int, int, bool] | None:
    try:
        return measure(encoded)
    except Exception:  # Pillow's decoders raise nearly anything on broken files
        return None


def _pixels(encoded: Encoded, shape: Shape) -> NDArray[np.uint8] | None:
    try:
        return pixels(encoded, shape)
    except Exception:  # as above
        return None


def _common_shape(measured: Sequence[tuple[int, int, bool]], size: int | None) -> Shape:
    """Grey if all images are; of the wanted side, or as they are if all agree, or else square with the most common shorter side."""
    channels = 1 if all(grey for _, _, grey in measured) else 3
    if size is not None:
        return channels, size, size
    shapes = {(height, width) for height, width, _ in measured}
    if len(shapes) == 1 and max(next(iter(shapes))) <= LARGEST_SIDE:
        return channels, *shapes.pop()
    sides = Counter(min(height, width) for height, width, _ in measured)
    most_common = max(sides, key=lambda side: (sides[side], side))
    side = min(most_common, LARGEST_SIDE)
    return channels, side, side


def _three(shape: tuple[int, ...]) -> Shape:
    channels, height, width = shape
    return channels, height, width


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
