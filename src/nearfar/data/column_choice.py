"""Which column of a table is the image, the sound, the clip, the text or the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nearfar.data.options import DataOptions
from nearfar.data.sound import is_sound
from nearfar.errors import UserError

TEXT_NAMES = ("caption", "text", "sentence", "sentence1", "description", "title", "name")
PATH_NAMES = ("path", "file", "filename", "file_name", "filepath", "image_path", "audio_path", "image", "audio")

_SIGNATURES = (b"\x89PNG", b"\xff\xd8", b"GIF8", b"BM", b"RIFF")
"""How image files begin; RIFF holds both WebP and sound."""
_LOOKED_AT = 100
"""Rows that are looked at to tell what a column holds."""


class Piece(Protocol):
    """One table of several with the same columns."""

    @property
    def part(self) -> str:
        """"train", "test" ..., or "" if it says nothing."""

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
        """Bytes in some ascending rows of a column, b"" where there are none; of a column of lists, lists of bytes."""


@dataclass(frozen=True)
class Choice:
    """Which column is what; at most one of ``blobs`` and ``path`` is set.

    Attributes:
        blobs: column of encoded samples.
        kind: what these are: "image", "audio" or "video" (lists of images).
        path: column of file names.
        text: column of texts.
    """

    blobs: str | None
    kind: str
    path: str | None
    text: str | None


def choose(piece: Piece, columns: Mapping[str, NDArray[Any]], name: str, options: DataOptions, folder: Path | None) -> Choice:
    """Tell by names and by the first rows what each column holds.

    Args:
        piece: the first of the tables.
        columns: the plain ones of all tables.
        name: of the data, for errors.
        options: which columns, if the user said.
        folder: where the files lie that a column names; None if none does.

    Raises:
        UserError: if there is no column with samples, or not the one that was asked for.
    """
    blobs, kind = _blob_column(piece, columns, name, options)
    path = None
    if blobs is None or blobs in columns:  # a column of file names, asked for or found
        path, blobs = _path_column(columns, blobs, folder), None
    text = options.text_column
    if text is not None and text not in columns:
        raise UserError(f"{name} has no text column {text!r}; its columns: {_listed(piece.schema)}.")
    if text is not None and kind != "image":
        raise UserError(f"{name} holds {kind} data, which cannot be paired with the texts in {text!r}; leave --text-column out.")
    if text is None and options.image_column is None and kind == "image":
        text = _text_column(columns, path)
    if blobs is None and path is None and text is None:
        raise UserError(
            f"{name} has no column of images, recordings or frames (bytes), texts (several words) or file paths that exist; its columns: "
            f"{_listed(piece.schema)}."
        )
    return Choice(blobs, kind, path, text)


def is_plain(kind: pa.DataType) -> bool:
    """Whether a column's values are single numbers or strings."""
    types = pa.types
    tests = (types.is_integer, types.is_floating, types.is_boolean, types.is_string, types.is_large_string, types.is_dictionary)
    return any(test(kind) for test in tests)


def _blob_column(piece: Piece, columns: Mapping[str, NDArray[Any]], name: str, options: DataOptions) -> tuple[str | None, str]:
    """The first column of encoded samples, or the one that was asked for, and what it holds."""
    asked = options.image_column
    blobs = [f.name for f in piece.schema if _is_blob(f.type)]
    if asked is not None and asked not in blobs and asked not in columns:
        raise UserError(f"{name} has no image column {asked!r}; its columns: {_listed(piece.schema)}.")
    for blob in [asked] if asked in blobs else blobs if asked is None else []:
        kind = _kind(piece.blobs(str(blob), np.arange(min(len(piece), _LOOKED_AT))))
        if kind:
            return blob, kind
    return asked, "image"


def _path_column(columns: Mapping[str, NDArray[Any]], asked: str | None, folder: Path | None) -> str | None:
    if folder is None:
        return None
    for name in [asked] if asked else [name for name in PATH_NAMES if name in columns]:
        first = columns[name][:_LOOKED_AT]
        if any(isinstance(value, str) and (folder / value).is_file() for value in first):
            return name
    return None


def _text_column(columns: Mapping[str, NDArray[Any]], path: str | None) -> str | None:
    """The first column with a telling name in which some value has several words."""
    for name in TEXT_NAMES:
        if name in columns and name != path:
            values = columns[name][:_LOOKED_AT]
            if any(isinstance(value, str) and " " in value.strip() for value in values):
                return name
    return None


def _kind(found: list[Any]) -> str:
    """What encoded values are; "" for anything else."""
    if any(isinstance(value, list) for value in found):
        return "video" if any(_is_image(frame) for value in found for frame in (value or ())[:1]) else ""
    if any(_is_image(content) for content in found):
        return "image"
    return "audio" if any(is_sound(content) for content in found) else ""


def _listed(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)


def _is_blob(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return (_is_blob(kind.value_type) and not pa.types.is_nested(kind.value_type)) or _is_blob_struct(kind.value_type)
    return _is_blob_struct(kind) or bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_blob_struct(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and any(field.name == "bytes" and _is_blob(field.type) for field in kind)


def _is_image(content: bytes) -> bool:
    return content.startswith(_SIGNATURES) and content[8:12] != b"WAVE"
