"""Encoded images (files, or bytes in a column): measured, brought to one shape, decoded on all
cores into the cache."""

from __future__ import annotations

import math
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
from nearfar.data.content.bounds import check_side
from nearfar.data.content.decode import (
    Encoded,
    Measured,
    Range,
    UnreadableError,
    measure,
    pixels,
    values_range,
)
from nearfar.data.options import DataOptions
from nearfar.data.spec import Spec
from nearfar.data.tables.table import Loaded, decoded_rows
from nearfar.errors import UserError

LARGEST_SIDE = 224
"""Images are shrunk to at most this unless a size is given."""

_BLOCK = 512
"""Images decoded between two writes."""
_TASK = 32
"""Images decoded by a thread at a time."""

_BLOCK_BYTES = 1 << 27
"""Most bytes of decoded images between two writes."""

_VERSION = 2
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

    def sizes(self, rows: NDArray[np.int64]) -> list[tuple[int, int] | None]:
        """Height and width of each image, told by its header; None where it cannot be read."""
        with ThreadPoolExecutor(_cores()) as pool:
            found = [
                m for block in self._blocks(rows, _BLOCK) for m in _spread(pool, _measured, block)
            ]
        return [(one.height, one.width) if isinstance(one, Measured) else None for one in found]

    def load(self, rows: NDArray[np.int64], options: DataOptions, like: Spec | None) -> Loaded:
        check_side(options.size)
        wanted = like.shape if like is not None else None
        values = range_of(like)
        key = key_of(_VERSION, self.facts, rows.tobytes(), options.size, wanted, values)
        array, about = remembered(
            key, lambda file: self._write(file, rows, options.size, wanted, values), options.cache
        )
        unreadable = dict(about["unreadable"])
        readable, notes = decoded_rows(
            unreadable, self.ids, rows, f"images of {self.name}", strict=options.strict
        )
        extra: dict[str, Any] = {}
        if about["resized"]:
            side = " x ".join(map(str, about["shape"][1:]))
            notes.append(
                f"{about['resized']} of {len(rows)} images were resized and cropped to {side} "
                f"pixels; --size sets another size."
            )
            extra["resized"] = about["resized"]
        if about["range"] is not None:
            extra["range"] = about["range"]
            least, largest = about["range"]
            notes.append(
                f"{about['deep']} of {len(rows)} images have values of more than 8 bits; their "
                f"range, {least:g} to {largest:g}, "
                "was scaled to 0 to 255."
            )
        if about["cut"]:
            notes.append(
                f"{about['cut']} of {len(rows)} images have colours of 16 bits, of which the upper "
                f"8 are read."
            )
        return Loaded(torch.from_numpy(array), readable, notes, extra)

    def _write(
        self,
        file: BinaryIO,
        rows: NDArray[np.int64],
        size: int | None,
        wanted: tuple[int, ...] | None,
        values: Range | None,
    ) -> dict[str, Any]:
        """Decode all rows into an open .npy; the facts say which are broken (and black) and how
        many changed their shape."""
        with ThreadPoolExecutor(_cores()) as pool:
            found = [
                m for block in self._blocks(rows, _BLOCK) for m in _spread(pool, _measured, block)
            ]
            measured = [m for m in found if isinstance(m, Measured)]
            broken = {place: one for place, one in enumerate(found) if isinstance(one, str)}
            if not measured:
                reasons = (
                    "; ".join(dict.fromkeys(filter(None, broken.values())))
                    or "check that they are complete image files"
                )
                raise UserError(
                    f"None of the {len(rows)} images of {self.name} can be read: {reasons}."
                )
            shape = (
                _three(wanted)
                if wanted is not None and len(wanted) == 3
                else _common_shape(measured, size, wanted)
            )
            deep = np.array([isinstance(one, Measured) and one.deep for one in found])
            if deep.any() and values is None:
                values = self._values(pool, rows[deep])
            write_blocks(
                file,
                (len(rows), *shape),
                np.uint8,
                self._decoded(pool, rows, shape, values, broken),
            )
        resized = sum(
            isinstance(one, Measured) and (one.height, one.width) != shape[1:] for one in found
        )
        cut = sum(isinstance(one, Measured) and one.cut for one in found)
        return {
            "unreadable": sorted(broken.items()),
            "resized": resized,
            "shape": shape,
            "deep": int(deep.sum()),
            "cut": cut,
            "range": values if deep.any() else None,
        }

    def _values(self, pool: ThreadPoolExecutor, rows: NDArray[np.int64]) -> Range | None:
        """Least and largest value of all images with more than 8 bits."""
        ranges = [
            one
            for block in self._blocks(rows, _BLOCK)
            for one in _spread(pool, _range, block)
            if one is not None
        ]
        return (
            (min(least for least, _ in ranges), max(largest for _, largest in ranges))
            if ranges
            else None
        )

    def _blocks(self, rows: NDArray[np.int64], count: int) -> Iterator[Sequence[Encoded]]:
        for start in range(0, len(rows), count):
            yield self.encoded(rows[start : start + count])

    def _decoded(
        self,
        pool: ThreadPoolExecutor,
        rows: NDArray[np.int64],
        shape: Shape,
        values: Range | None,
        broken: dict[int, str],
    ) -> Iterator[NDArray[np.uint8]]:
        place = 0
        for block in self._blocks(rows, max(1, min(_BLOCK, _BLOCK_BYTES // math.prod(shape)))):
            decoded = np.zeros((len(block), *shape), dtype=np.uint8)
            for target, one in zip(
                decoded,
                _spread(pool, lambda encoded: _pixels(encoded, shape, values), block),
                strict=True,
            ):
                if isinstance(one, str):
                    broken.setdefault(place, one)
                else:
                    target[:] = one
                place += 1
            yield decoded


def range_of(spec: Spec | None) -> Range | None:
    """The values that became 0 and 255 when the images of a spec were read; None if they had 8
    bits."""
    found = None if spec is None else spec.extra.get("range")
    return None if found is None else (float(found[0]), float(found[1]))


def _spread(
    pool: ThreadPoolExecutor, work: Callable[[Encoded], Any], block: Sequence[Encoded]
) -> list[Any]:
    """``work`` on each image of a block, in order, in tasks large enough for threads to pay."""
    tasks = [block[i : i + _TASK] for i in range(0, len(block), _TASK)]
    return [
        one
        for done in pool.map(lambda task: [work(encoded) for encoded in task], tasks)
        for one in done
    ]


def _measured(encoded: Encoded) -> Measured | str:
    try:
        return measure(encoded)
    except UnreadableError as error:
        return str(error)


def _range(encoded: Encoded) -> Range | None:
    try:
        return values_range(encoded)
    except UnreadableError:
        return None


def _pixels(encoded: Encoded, shape: Shape, values: Range | None) -> NDArray[np.uint8] | str:
    try:
        return pixels(encoded, shape, values)
    except UnreadableError as error:
        return str(error)


def _common_shape(
    measured: Sequence[Measured], size: int | None, wanted: tuple[int, ...] | None = None
) -> Shape:
    """Grey if all images are, or with as many channels as are wanted; of the wanted side, or as
    they are if all agree, or else square with the most common shorter side."""
    channels = wanted[0] if wanted else (1 if all(one.grey for one in measured) else 3)
    if size is not None:
        return channels, size, size
    shapes = {(one.height, one.width) for one in measured}
    if len(shapes) == 1 and max(next(iter(shapes))) <= LARGEST_SIDE:
        return channels, *shapes.pop()
    sides = Counter(min(one.height, one.width) for one in measured)
    most_common = max(sides, key=lambda side: (sides[side], side))
    side = min(most_common, LARGEST_SIDE)
    return channels, side, side


def _three(shape: tuple[int, ...]) -> Shape:
    channels, height, width = shape
    return channels, height, width


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
