"""Which column of a table is the image, the sound, the clip, the text or the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nearfar.data.content.sound import is_sound
from nearfar.data.labels import LABEL_NAMES
from nearfar.data.options import DataOptions
from nearfar.data.tables.names import as_text
from nearfar.errors import UserError

TEXT_NAMES = ("caption", "text", "sentence", "sentence1", "description", "title", "name")
PATH_NAMES = (
    "path",
    "file",
    "filename",
    "file_name",
    "filepath",
    "image_path",
    "audio_path",
    "image",
    "audio",
)

_SIGNATURES = (
    b"\x89PNG",
    b"\xff\xd8",
    b"GIF8",
    b"BM",
    b"RIFF",
    b"II*\0",
    b"MM\0*",
    b"II+\0",
    b"MM\0+",
    b"\0\0\0\x0cjP  ",
    b"\0\0\0\x1cftypavif",
    b"\0\0\0\x20ftypavif",
    b"P4",
    b"P5",
    b"P6",
)
"""How image files begin; RIFF holds both WebP and sound."""
_LOOKED_AT = 100
"""Rows with a value that are looked at to tell what a column holds."""
_PROSE_NAMES = ("caption", "text", "sentence", "sentence1", "description")
"""Columns that are texts whatever their values look like; the other names are texts only if some
value has several words."""


class Piece(Protocol):
    """One table of several with the same columns."""

    @property
    def part(self) -> str:
        """ "train", "test" ..., or "" if it says nothing."""

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""

    @property
    def facts(self) -> object:
        """What tells this content from any other."""

    def __len__(self) -> int: ...

    def column(self, name: str) -> pa.ChunkedArray:
        """A whole column of plain values."""

    def blobs(self, name: str, rows: NDArray[np.int64]) -> list[Any]:
        """Bytes in some ascending rows of a column, b"" where there are none; of a column of lists,
        lists of bytes."""

    def counts(self, name: str) -> NDArray[np.int64]:
        """How many values each list of a column of lists holds."""


@dataclass(frozen=True)
class Choice:
    """Which column is what; at most one of ``blobs`` and ``path`` is set.

    Attributes:
        blobs: column of encoded samples.
        kind: what these are: "image", "audio" or "video" (lists of images).
        path: column of file names.
        text: column of texts.
        notes: what a user should know of the columns.
    """

    blobs: str | None
    kind: str
    path: str | None
    text: str | None
    notes: tuple[str, ...] = ()


def choose(
    pieces: Sequence[Piece],
    columns: Mapping[str, NDArray[Any]],
    name: str,
    options: DataOptions,
    folder: Path | None,
) -> Choice:
    """Tell by names and by the first rows that hold something what each column holds.

    Args:
        pieces: the tables.
        columns: the plain ones of all tables.
        name: of the data, for errors.
        options: which columns, if the user said.
        folder: where the files lie that a column names; None if none does.

    Raises:
        UserError: if there is no column with samples, or not the one that was asked for.
    """
    schema = pieces[0].schema
    blobs, kind = _blob_column(pieces, columns, name, options)
    path = None
    if blobs is None or blobs in columns:  # a column of file names, asked for or found
        path = _path_column(columns, blobs, folder)
        blobs = None
    text = options.text_column
    if text is not None and text not in columns:
        raise UserError(f"{name} has no text column {text!r}; its columns: {_listed(schema)}.")
    if text is not None and kind != "image":
        raise UserError(
            f"{name} holds {kind} data, which cannot be paired with the texts in {text!r}; leave "
            f"--text-column out."
        )
    if text is None and options.image_column is None and kind == "image":
        text = _text_column(columns, path)
    if blobs is None and path is None and text is None:
        raise UserError(
            f"{name} has no column of images, recordings or frames (bytes), texts (several words) "
            f"or file paths that exist; its columns: "
            f"{_listed(schema)}; if one of them holds texts, name it with --text-column."
        )
    return Choice(
        blobs, kind, path, text, _unused(schema, columns, blobs, path, text, folder, options)
    )


def _unused(
    schema: pa.Schema,
    columns: Mapping[str, NDArray[Any]],
    blobs: str | None,
    path: str | None,
    text: str | None,
    folder: Path | None,
    options: DataOptions,
) -> tuple[str, ...]:
    """Sentences on columns that hold samples, texts or labels and are not used."""
    notes = []
    others = [f"{f.name} ({f.type})" for f in schema if f.name not in columns and f.name != blobs]
    if others:
        notes.append(
            f"Columns that are not used, as their values are no single numbers or strings: "
            f"{', '.join(others)}."
        )
    if blobs is not None and text is None and options.image_column is None:
        left = [
            n
            for n in TEXT_NAMES
            if n in columns and n != path and n not in LABEL_NAMES and _looks_like_text(columns[n])
        ]
        if left:
            notes.append(
                f"The texts in {', '.join(left)} are not used; name their column with "
                f"--text-column."
            )
    return tuple(notes)


def is_plain(kind: pa.DataType) -> bool:
    """Whether a column's values are single numbers or strings, or can be made such (see
    ``plain_values``)."""
    if pa.types.is_dictionary(kind):
        return is_plain(kind.value_type)
    types = pa.types
    tests = (
        types.is_integer,
        types.is_floating,
        types.is_boolean,
        types.is_string,
        types.is_large_string,
        types.is_decimal,
        types.is_temporal,
        types.is_null,
    )
    return any(test(kind) for test in tests) or str(kind) == "string_view"


def plain_values(column: pa.ChunkedArray) -> NDArray[Any]:
    """The values of a plain column (N,): decimals as floats, dates and times as text (2020-01-31),
    all others as they are."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = kind.value_type
    if pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    elif pa.types.is_temporal(kind):
        column = pa.chunked_array(
            [
                pa.array(
                    [None if value is None else str(value) for value in column.to_pylist()],
                    pa.string(),
                )
            ]
        )
    elif pa.types.is_null(kind):
        return np.full(len(column), None, dtype=object)
    values: NDArray[Any] = column.to_numpy()
    if values.dtype.kind == "O":
        return np.array(
            [as_text(value) if isinstance(value, str) else value for value in values], dtype=object
        )
    return values


def _blob_column(
    pieces: Sequence[Piece], columns: Mapping[str, NDArray[Any]], name: str, options: DataOptions
) -> tuple[str | None, str]:
    """The first column of encoded samples, or the one that was asked for, and what it holds."""
    asked = options.image_column
    schema = pieces[0].schema
    blobs = [f.name for f in schema if _is_blob(f.type)]
    if asked is not None and asked not in blobs and asked not in columns:
        raise UserError(f"{name} has no image column {asked!r}; its columns: {_listed(schema)}.")
    for blob in [asked] if asked in blobs else blobs if asked is None else []:
        kind = _kind(_first_blobs(pieces, str(blob)))
        if kind:
            return blob, kind
    return asked, "image"


def _first_blobs(pieces: Sequence[Piece], column: str) -> list[Any]:
    """The first values of a column of bytes that are not empty."""
    for piece in pieces:
        for start in range(0, len(piece), _LOOKED_AT):
            found = piece.blobs(column, np.arange(start, min(len(piece), start + _LOOKED_AT)))
            if any(any(one) if isinstance(one, list) else one for one in found):
                return found
    return []


def _path_column(
    columns: Mapping[str, NDArray[Any]], asked: str | None, folder: Path | None
) -> str | None:
    if folder is None:
        return None
    for name in [asked] if asked else [name for name in PATH_NAMES if name in columns]:
        values = [value for value in columns[name] if isinstance(value, str) and value.strip()]
        if any(is_file(folder, value) for value in values[:_LOOKED_AT]) or any(
            is_file(folder, value) for value in values[_LOOKED_AT:]
        ):
            return name
    return None


def is_file(folder: Path, name: str) -> bool:
    """Whether a name in a column is that of a file; a name that no file can have is not."""
    try:
        return (folder / name).is_file()
    except (OSError, ValueError):
        return False


def _text_column(columns: Mapping[str, NDArray[Any]], path: str | None) -> str | None:
    """The first column with a telling name whose values are texts."""
    return next(
        (
            name
            for name in TEXT_NAMES
            if name in columns and name != path and _is_text(name, columns[name])
        ),
        None,
    )


def _is_text(name: str, values: NDArray[Any]) -> bool:
    there = [value.strip() for value in values if isinstance(value, str) and value.strip()]
    if any(any(character.isspace() for character in value) for value in there):
        return True
    return name in _PROSE_NAMES and bool(there)


def _looks_like_text(values: NDArray[Any]) -> bool:
    return any(isinstance(value, str) and " " in value.strip() for value in values)


def _kind(found: list[Any]) -> str:
    """What encoded values are; "" for anything else."""
    if any(isinstance(value, list) for value in found):
        return "video" if any(_is_image(frame) for value in found for frame in value or ()) else ""
    if any(_is_image(content) for content in found):
        return "image"
    return "audio" if any(is_sound(content) for content in found) else ""


def _listed(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)


def _is_blob(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return (
            _is_blob(kind.value_type) and not pa.types.is_nested(kind.value_type)
        ) or _is_blob_struct(kind.value_type)
    return _is_blob_struct(kind) or bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_blob_struct(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and any(
        field.name == "bytes" and _is_blob(field.type) for field in kind
    )


def _is_image(content: bytes) -> bool:
    return content.startswith(_SIGNATURES) and content[8:12] != b"WAVE"
