"""Encoded images (files, or bytes in a column): measured, brought to one shape, decoded on all
cores into the cache."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from nearfar.data.cache import has_room, key_of, remembered, write_blocks
from nearfar.data.content.bounds import check_side
from nearfar.data.content.decode import Measured, measure, pixels, values_range
from nearfar.data.content.files.encoded import Encoded, UnreadableError
from nearfar.data.content.files.kinds import lacking
from nearfar.data.content.pixels.heads import FIELDS, Heads, Shape, common_shape
from nearfar.data.content.pixels.scaling import Range
from nearfar.data.content.pixels.streamed import Streamed
from nearfar.data.options import DataOptions
from nearfar.data.spec import Spec
from nearfar.data.tables.table import Loaded, decoded_rows
from nearfar.errors import UserError
from nearfar.rows import Whole

_BLOCK = 512
"""Images decoded between two writes."""
_TASK = 32
"""Images decoded by a thread at a time."""

_BLOCK_BYTES = 1 << 27
"""Most bytes of decoded images between two writes."""

_VERSION = 3
"""Of what is written; a change makes old cache entries unused."""


@dataclass(frozen=True)
class Pictures:
    """N images that have not been decoded.

    Attributes:
        encoded: from ascending rows to the images' bytes, files or images.
        ids: N names, for the list of unreadable ones.
        facts: what tells this content from any other, for the cache.
        name: of the data, for errors.
        ranged: numbers of the images whose least and largest value are those of all, the training
            images; None: of those that are loaded.
        streams: whether images of which no decoded copy fits the disk are decoded when they are
            taken.
    """

    encoded: Callable[[NDArray[np.int64]], Sequence[Encoded]]
    ids: Sequence[str]
    facts: object
    name: str
    ranged: NDArray[np.int64] | None = None
    streams: bool = True

    @property
    def modality(self) -> str:
        return "image"

    def ranged_by(self, rows: NDArray[np.int64]) -> Pictures:
        """The same images, whose least and largest value are looked for among these alone."""
        return replace(self, ranged=rows)

    def sizes(self, rows: NDArray[np.int64]) -> list[tuple[int, int] | None]:
        """Height and width of each image, told by its header; None where it cannot be read."""
        return self.heads(rows, None).sizes()

    def heads(self, rows: NDArray[np.int64], cache: Path | None) -> Heads:
        """What the headers of some images say, looked at once and remembered.

        Args:
            rows: (M,) which.
            cache: as in ``DataOptions``.
        """

        def write(file: BinaryIO) -> dict[str, Any]:
            with ThreadPoolExecutor(_cores()) as pool:
                found = [
                    one
                    for block in self._blocks(rows, _BLOCK)
                    for one in _spread(pool, _measured, block)
                ]
            table = np.array([_row(one) for one in found], dtype=np.int64)
            write_blocks(file, table.shape, np.int64, [table])
            return {"broken": [(n, one) for n, one in enumerate(found) if isinstance(one, str)]}

        key = key_of(_VERSION, "heads", lacking(), self.facts, rows.tobytes())
        table, about = remembered(key, write, cache)
        return Heads(np.asarray(table), {int(place): one for place, one in about["broken"]})

    def load(self, rows: NDArray[np.int64], options: DataOptions, like: Spec | None) -> Loaded:
        check_side(options.size)
        check_side(options.store)
        heads = self.heads(rows, options.cache)
        self._check(heads, len(rows))
        shape = common_shape(heads, options.size, None if like is None else like.shape)
        values = range_of(like)
        is_deep = bits_of(like) > 8 if like is not None else bool(heads.deep.any())
        view = shape[1:]
        if options.store is not None:
            if like is None and options.store < max(view):
                raise UserError(
                    f"The data option store is {options.store}, but views are of "
                    f"{' x '.join(map(str, view))} pixels; expected at least {max(view)}, or a "
                    "smaller --size."
                )
            shape = (shape[0], options.store, options.store)
        way = _Way(shape, values, is_deep, options.store is not None)
        ranged = None
        if heads.deep.any() and values is None:
            ranged = self._ranging(rows, heads.deep)
        key = key_of(
            _VERSION,
            lacking(),
            self.facts,
            rows.tobytes(),
            way,
            None if ranged is None else ranged.tobytes(),
        )
        size = len(rows) * math.prod(way.shape) * np.dtype(way.kind).itemsize
        is_streamed = self.streams and not has_room(key, size, options.cache)
        content: Any
        if is_streamed:
            content, about = self._streamed(rows, heads, way, ranged, options.cache)
        else:
            array, about = remembered(
                key, lambda file: self._write(file, rows, heads, way, ranged), options.cache
            )
            content = torch.from_numpy(array)
        readable, notes = decoded_rows(
            dict(about["unreadable"]),
            self.ids,
            rows,
            f"images of {self.name}",
            strict=options.strict,
        )
        extra: dict[str, Any] = {}
        count = heads.resized(shape)
        if options.store is not None:
            notes.append(
                f"Whole pictures of {self.name} are stored as squares of {options.store} pixels; "
                f"views of {' x '.join(map(str, view))} are cropped from all of each."
            )
        elif count:
            side = " x ".join(map(str, shape[1:]))
            notes.append(
                f"{count} of {len(rows)} images were resized and cropped to {side} "
                f"pixels; --size sets another size."
            )
            extra["resized"] = count
        notes += self._notes(heads, about["range"], is_deep)
        if about["range"] is not None:
            extra["range"] = about["range"]
        if is_deep:
            extra["bits"] = 16
        if is_streamed:
            notes.append(
                f"The decoded images of {self.name} would take {size / 2**30:,.1f} GiB, more than "
                "the disk of the cache has room for: they are decoded whenever they are taken, "
                "which is slower; NEARFAR_CACHE names another folder."
            )
        if options.store is not None:
            content = Whole(content, torch.from_numpy(heads.aspect()), (view[0], view[1]))
        return Loaded(content, readable, notes, extra)

    def _streamed(
        self,
        rows: NDArray[np.int64],
        heads: Heads,
        way: _Way,
        ranged: NDArray[np.int64] | None,
        cache: Path | None,
    ) -> tuple[Streamed, dict[str, Any]]:
        """The images without a decoded copy, and the facts that ``_write`` would tell.

        All are decoded once to know which are broken, and that alone is remembered.
        """
        if ranged is not None:
            with ThreadPoolExecutor(_cores()) as pool:
                way = replace(way, values=self._values(pool, ranged))

        def checked(file: BinaryIO) -> dict[str, Any]:
            broken = dict(heads.broken)
            with ThreadPoolExecutor(_cores()) as pool:
                for _ in self._decoded(pool, rows, way, broken):
                    pass
            write_blocks(file, (1,), np.int64, [np.zeros(1)])
            return {"unreadable": sorted(broken.items())}

        key = key_of(_VERSION, "broken", lacking(), self.facts, rows.tobytes(), way)
        _, about = remembered(key, checked, cache)

        def decode(numbers: NDArray[np.int64]) -> NDArray[Any]:
            with ThreadPoolExecutor(_cores()) as pool:
                return np.concatenate(list(self._decoded(pool, rows[numbers], way, {})))

        kind = torch.uint16 if way.deep else torch.uint8
        content = Streamed(decode, torch.arange(len(rows)), way.shape, kind)
        return content, {**about, "range": way.values if heads.deep.any() else None}

    def _check(self, heads: Heads, count: int) -> None:
        if len(heads.broken) < count:
            return
        reasons = (
            "; ".join(dict.fromkeys(filter(None, heads.broken.values())))
            or "check that they are complete image files"
        )
        raise UserError(f"None of the {count} images of {self.name} can be read: {reasons}.")

    def _ranging(self, rows: NDArray[np.int64], deep: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The images in which the least and largest value are looked for: those of more than 8
        bits, of the training set where it is known and has any."""
        found = rows[deep]
        if self.ranged is None:
            return found
        trained = found[np.isin(found, self.ranged)]
        return trained if len(trained) else found

    def _notes(self, heads: Heads, values: Range | None, is_deep: bool) -> list[str]:
        """What a user should know of bits, bands and pages."""
        notes = []
        count = len(heads.table)
        deep = int(heads.deep.sum())
        if deep and values is not None:
            least, largest = values
            levels = "65,535 (16 bits are kept)" if is_deep else "255"
            notes.append(
                f"{deep} of {count} images have values of more than 8 bits; their "
                f"range, {least:g} to {largest:g}, was scaled to 0 to {levels}."
            )
        cut = int(heads.of("cut").sum())
        if cut:
            notes.append(
                f"{cut} of {count} images have colours of 16 bits, of which the upper 8 are read; "
                "TIFF files are read whole with pip install 'nearfar[tiff]'."
            )
        pages = int((heads.of("pages") > 1).sum())
        if pages:
            notes.append(
                f"{pages} of {count} files have several pages, of which the first is read; "
                "--volumes slices reads every page as a sample, --volumes whole all of a file as "
                "one clip."
            )
        return notes

    def _write(
        self,
        file: BinaryIO,
        rows: NDArray[np.int64],
        heads: Heads,
        way: _Way,
        ranged: NDArray[np.int64] | None,
    ) -> dict[str, Any]:
        """Decode all rows into an open .npy; the facts say which are broken (and black)."""
        broken = dict(heads.broken)
        with ThreadPoolExecutor(_cores()) as pool:
            if ranged is not None:
                way = replace(way, values=self._values(pool, ranged))
            write_blocks(
                file,
                (len(rows), *way.shape),
                way.kind,
                self._decoded(pool, rows, way, broken),
            )
        return {
            "unreadable": sorted(broken.items()),
            "range": way.values if heads.deep.any() else None,
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
        way: _Way,
        broken: dict[int, str],
    ) -> Iterator[NDArray[Any]]:
        place = 0
        most = _BLOCK_BYTES // (math.prod(way.shape) * np.dtype(way.kind).itemsize)
        for block in self._blocks(rows, max(1, min(_BLOCK, most))):
            decoded = np.zeros((len(block), *way.shape), dtype=way.kind)
            for target, one in zip(
                decoded,
                _spread(pool, lambda encoded: _pixels(encoded, way), block),
                strict=True,
            ):
                if isinstance(one, str):
                    broken.setdefault(place, one)
                else:
                    target[:] = one
                place += 1
            yield decoded


@dataclass(frozen=True)
class _Way:
    """How images are decoded.

    Attributes:
        shape: of each.
        values: what becomes the least and the largest level of those with more than 8 bits.
        deep: whether 16 bits are kept.
        whole: whether each is stretched over the shape and nothing is cropped off.
    """

    shape: Shape
    values: Range | None
    deep: bool
    whole: bool = False

    @property
    def kind(self) -> Any:
        return np.uint16 if self.deep else np.uint8


def range_of(spec: Spec | None) -> Range | None:
    """The values that became the least and largest level when the images of a spec were read; None
    if they had 8 bits."""
    found = None if spec is None else spec.extra.get("range")
    return None if found is None else (float(found[0]), float(found[1]))


def bits_of(spec: Spec | None) -> int:
    """Bits of each value of the images of a spec, 8 or 16."""
    return 8 if spec is None else int(spec.extra.get("bits", 8))


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
        found = measure(encoded)
    except UnreadableError as error:
        return str(error)
    if min(found.height, found.width, found.channels) < 1:
        return "its header says that it has no pixels"
    return found


def _range(encoded: Encoded) -> Range | None:
    try:
        return values_range(encoded)
    except UnreadableError:
        return None


def _pixels(encoded: Encoded, way: _Way) -> NDArray[Any] | str:
    try:
        return pixels(encoded, way.shape, way.values, deep=way.deep, whole=way.whole)
    except UnreadableError as error:
        return str(error)


def _row(one: Measured | str) -> tuple[int, ...]:
    """The fields of ``Heads`` for one image."""
    if isinstance(one, str):
        return (0,) * len(FIELDS)
    return 1, one.height, one.width, one.channels, int(one.deep), int(one.cut), one.pages


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
