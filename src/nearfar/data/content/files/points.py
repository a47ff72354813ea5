"""Files of points: PLY, lines of numbers, and arrays, one cloud a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nearfar.data.content.bounds import MOST_STEPS, check_memory, check_steps
from nearfar.data.content.files.encoded import UnreadableError
from nearfar.data.content.files.npy import NPY_ENDING, shape_of
from nearfar.data.content.points import as_many
from nearfar.data.options import DataOptions
from nearfar.data.spec import Spec
from nearfar.data.tables.table import Loaded, decoded_rows

__all__ = ["CloudFiles", "read_points"]

_KINDS = {
    "char": "i1",
    "int8": "i1",
    "uchar": "u1",
    "uint8": "u1",
    "short": "i2",
    "int16": "i2",
    "ushort": "u2",
    "uint16": "u2",
    "int": "i4",
    "int32": "i4",
    "uint": "u4",
    "uint32": "u4",
    "float": "f4",
    "float32": "f4",
    "double": "f8",
    "float64": "f8",
}
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
_LONGEST_HEADER = 1 << 16
_MOST_BYTES = 1 << 30
_DEFAULT = 1024
"""Points that are taken of each cloud where they have different numbers, at most."""


@dataclass(frozen=True)
class CloudFiles:
    """One cloud of points a file, with x, y and z of each point.

    Attributes:
        paths: Of the files.
        ids: Their names.
        name: Of the data.
    """

    paths: Sequence[Path]
    ids: Sequence[str]
    name: str

    @property
    def modality(self) -> str:
        return "points"

    def load(self, rows: NDArray[np.int64], options: DataOptions, like: Spec | None) -> Loaded:
        if options.size is not None:
            check_steps(options.size, "The data option size is")
        wanted = like.shape[-1] if like is not None else options.size
        found: dict[int, NDArray[np.float32]] = {}
        unreadable: dict[int, str] = {}
        for place, row in enumerate(rows.tolist()):
            try:
                cloud = read_points(self.paths[row])
            except UnreadableError as error:
                unreadable[place] = str(error)
            else:
                found[place] = as_many(cloud[None], wanted or min(len(cloud), MOST_STEPS))[0]
        readable, notes = decoded_rows(
            unreadable, self.ids, rows, f"clouds of {self.name}", strict=options.strict
        )
        counts = {len(cloud) for cloud in found.values()}
        count = wanted or (counts.pop() if len(counts) == 1 else min(_DEFAULT, max(counts)))
        if wanted is None and counts:
            notes.append(
                f"The clouds of {self.name} have different numbers of points; {count:,} evenly "
                "chosen ones of each are taken, those of smaller clouds again; --size sets another "
                "number."
            )
        check_memory(12 * count * len(rows), f"The clouds of {self.name}")
        content = np.zeros((len(rows), 3, count), dtype=np.float32)
        for place, cloud in found.items():
            content[place] = as_many(cloud[None], count)[0].T
        return Loaded(torch.from_numpy(content), readable, notes)


def read_points(path: Path) -> NDArray[np.float32]:
    """The points (K, 3) in a file.

    Args:
        path: A .ply file (ASCII or binary), a .npy array (K, 3 or more) or (3, K), or a text file
            with x, y and z first in every line, whose first line may be the number of points.

    Raises:
        UnreadableError: If the file is broken, holds no points, or points at no place.
    """
    ending = path.suffix.lower()
    try:
        if ending == ".ply":
            found = _ply(path)
        elif ending == NPY_ENDING:
            found = _array(path)
        else:
            found = _lines(path)
    except UnreadableError:
        raise
    except (OSError, ValueError, EOFError, IndexError, UnicodeDecodeError) as error:
        raise UnreadableError(" ".join(str(error).split())[:80]) from error
    if not len(found):
        raise UnreadableError("it holds no points")
    if not np.isfinite(found).all():
        raise UnreadableError("it has points at missing or infinite places")
    return found.astype(np.float32)


def _array(path: Path) -> NDArray[Any]:
    shape, _ = shape_of(path)
    if len(shape) != 2 or (shape[1] < 3 and shape[0] != 3):
        raise UnreadableError(f"it has the shape {shape}; expected points (K, 3)")
    array = np.load(path, allow_pickle=False)
    return np.asarray(array.T if shape[0] == 3 and shape[1] != 3 else array[:, :3])


def _lines(path: Path) -> NDArray[Any]:
    if path.stat().st_size > _MOST_BYTES:
        raise UnreadableError(f"it has over {_MOST_BYTES:,} bytes")
    lines = path.read_text(encoding="utf-8").replace(",", " ").split("\n")
    rows = [line.split() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    stated = None
    if rows and len(rows[0]) == 1:
        stated = int(rows[0][0])
        rows = rows[1:]
    if any(len(row) < 3 for row in rows):
        raise UnreadableError("a line has fewer than three numbers")
    if stated is not None and len(rows) < stated:
        raise UnreadableError(f"it is cut off: {len(rows):,} of {stated:,} points are there")
    return np.array([row[:3] for row in rows], dtype=np.float64).reshape(-1, 3)


def _ply(path: Path) -> NDArray[Any]:
    """The vertices of a PLY file; Turk 1994, "The PLY Polygon File Format"."""
    if path.stat().st_size > _MOST_BYTES:
        raise UnreadableError(f"it has over {_MOST_BYTES:,} bytes")
    content = path.read_bytes()
    end = content.find(b"end_header", 0, _LONGEST_HEADER)
    if not content.startswith(b"ply") or end < 0:
        raise UnreadableError("it does not begin as a PLY file")
    start = content.index(b"\n", end) + 1
    order, elements = _ply_header(content[:end].decode("ascii"))
    name, count, fields = elements[0]
    if name != "vertex" or not {"x", "y", "z"} <= dict(fields).keys():
        raise UnreadableError("its first element is no vertex with x, y and z")
    if any(kind == "list" for _, kind in fields):
        raise UnreadableError("its vertices have lists")
    if not order:
        words = content[start:].split()
        if len(words) < count * len(fields):
            raise UnreadableError("it is cut off")
        table = np.array(words[: count * len(fields)], dtype=np.float64).reshape(count, len(fields))
        names = [one for one, _ in fields]
        return table[:, [names.index(axis) for axis in "xyz"]]
    kind = np.dtype([(one, order + _KINDS[of]) for one, of in fields])
    if len(content) - start < count * kind.itemsize:
        raise UnreadableError("it is cut off")
    vertices = np.frombuffer(content, dtype=kind, count=count, offset=start)
    return np.stack([vertices[axis].astype(np.float64) for axis in "xyz"], axis=1)


def _ply_header(text: str) -> tuple[str, list[tuple[str, int, list[tuple[str, str]]]]]:
    """The order of bytes ("" for ASCII), and of each element its name, number and fields."""
    order: str | None = None
    elements: list[tuple[str, int, list[tuple[str, str]]]] = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["format"]:
            order = _ORDERS.get(words[1])
        elif words[:1] == ["element"]:
            elements.append((words[1], int(words[2]), []))
        elif words[:1] == ["property"] and elements:
            kind = words[1]
            if kind != "list" and kind not in _KINDS:
                raise UnreadableError(f"it has a property of the unknown type {kind}")
            elements[-1][2].append((words[-1], kind))
    if order is None or not elements or elements[0][1] < 0:
        raise UnreadableError("its header names no format or no element")
    return order, elements
