"""Tables of named columns (parquet, CSV, TSV, Hugging Face) as samples: which column is the image, the text, the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nearfar.data.cache import file_facts
from nearfar.data.labels import LABEL_NAMES
from nearfar.data.options import DataOptions
from nearfar.data.pictures import Pictures
from nearfar.data.series import SeriesFiles
from nearfar.data.table import Content, Table
from nearfar.errors import UserError

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
SERIES_ENDINGS = (".csv", ".tsv")
TEXT_NAMES = ("caption", "text", "sentence", "sentence1", "description", "title", "name")
PATH_NAMES = ("path", "file", "filename", "file_name", "filepath", "image_path", "image")
SCORE_NAMES = ("score", "similarity", "similarity_score", "relatedness")
"""Columns that say how near two texts are in meaning."""
ID_NAMES = ("id", "name", "short_name")

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

    def blobs(self, name: str, rows: NDArray[np.int64]) -> list[bytes]:
        """Bytes in some ascending rows of a column, b"" where there are none."""


class _Columns(Mapping[str, NDArray[Any]]):
    """The plain columns of all pieces, joined and converted when asked for."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = pieces
        self._names = [f.name for f in pieces[0].schema if _is_plain(f.type)]

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._names:
            raise KeyError(name)
        return np.concatenate([piece.column(name).to_numpy() for piece in self._pieces])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclass(frozen=True)
class _Choice:
    """Which column is what; at most one of ``image`` and ``path`` is set."""

    image: str | None
    path: str | None
    text: str | None


def table_of(pieces: Sequence[Piece], name: str, classes: Any, options: DataOptions, folder: Path | None = None) -> Table:
    """Samples from tables.

    Args:
        pieces: at least one, all with the columns of the first.
        name: of the data.
        classes: names of the classes: a list for the label column, a list for each of several columns, or, where the same
            numbers mean different classes in different sets, a list for each value of the column that names the set.
        options: which columns, if the user said.
        folder: where the files lie that a column names; None if none does.

    Raises:
        UserError: if there is no row, no column with samples, or not the one that was asked for.
    """
    if not sum(map(len, pieces)):
        raise UserError(f"{name} has no rows; expected at least 2 samples.")
    columns = _Columns(pieces)
    choice = _choose(pieces[0], columns, name, options, folder)
    files = [str(value) for value in columns[choice.path]] if choice.path else []
    ids = files or _ids(pieces, columns)
    content = _files(files, folder, name) if folder is not None and files else None
    if choice.image is not None:
        content = _blobs(pieces, choice.image, ids, name)
    texts = ["" if text is None else str(text) for text in columns[choice.text]] if choice.text else None
    table = Table(name, ids, content, texts, columns)
    if texts is not None and content is None:
        _add_partners(table, str(choice.text))
    if any(piece.part for piece in pieces):
        table.part = [piece.part for piece in pieces for _ in range(len(piece))]
    elif "split" in columns:
        table.part = [str(value) for value in columns["split"]]
    _name_classes(table, classes)
    return table


def _choose(piece: Piece, columns: Mapping[str, NDArray[Any]], name: str, options: DataOptions, folder: Path | None) -> _Choice:
    image = _image_column(piece, columns, name, options)
    path = None
    if image is None or image in columns:  # a column of file names, asked for or found
        path, image = _path_column(columns, image, folder), None
    text = options.text_column
    if text is not None and text not in columns:
        raise UserError(f"{name} has no text column {text!r}; its columns: {_listed(piece.schema)}.")
    if text is None and options.image_column is None:
        text = _text_column(columns, path)
    if image is None and path is None and text is None:
        raise UserError(
            f"{name} has no column of images (bytes), texts (several words) or file paths that exist; its columns: {_listed(piece.schema)}."
        )
    return _Choice(image, path, text)


def _image_column(piece: Piece, columns: Mapping[str, NDArray[Any]], name: str, options: DataOptions) -> str | None:
    asked = options.image_column
    blobs = [f.name for f in piece.schema if _is_blob(f.type)]
    if asked is not None:
        if asked not in blobs and asked not in columns:
            raise UserError(f"{name} has no image column {asked!r}; its columns: {_listed(piece.schema)}.")
        return asked
    rows = np.arange(min(len(piece), _LOOKED_AT))
    return next((blob for blob in blobs if any(_is_image(content) for content in piece.blobs(blob, rows))), None)


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


def _blobs(pieces: Sequence[Piece], column: str, ids: Sequence[str], name: str) -> Content:
    starts = np.cumsum([0, *map(len, pieces)])

    def encoded(rows: NDArray[np.int64]) -> list[bytes]:
        found: list[bytes] = []
        for piece, start, end in zip(pieces, starts, starts[1:], strict=False):
            inside = rows[(rows >= start) & (rows < end)] - start
            if len(inside):
                found += piece.blobs(column, inside)
        return found

    return Pictures(encoded, ids, (column, *(piece.facts for piece in pieces)), name)


def _files(files: Sequence[str], folder: Path, name: str) -> Content:
    paths = [folder / file for file in files]
    if paths[0].suffix.lower() in SERIES_ENDINGS:
        return SeriesFiles(paths, files, name)
    facts = tuple(file_facts(path for path in paths if path.is_file()))
    return Pictures(lambda rows: [paths[row] for row in rows], files, facts, name)


def _ids(pieces: Sequence[Piece], columns: Mapping[str, NDArray[Any]]) -> list[str]:
    """Values of a naming column if they are distinct, or else part and row number."""
    for name in ID_NAMES:
        if name in columns:
            values = [str(value) for value in columns[name]]
            if len(set(values)) == len(values):
                return values
    return [f"{piece.part}{'/' if piece.part else ''}{row}" for piece in pieces for row in range(len(piece))]


def _name_classes(table: Table, classes: Any) -> None:
    """Attach the names of the classes; where each value of another column has its own, both together name a class."""
    table.label = next((name for name in LABEL_NAMES if name in table.columns), None)
    if isinstance(classes, dict) and classes and set(classes) <= set(table.columns):
        table.classes = classes
        table.label = table.label or next(iter(classes))
    elif isinstance(classes, list) and table.label:
        table.classes = {table.label: classes}
    elif isinstance(classes, dict) and table.label:
        kind = next((n for n in table.columns if n != table.label and set(map(str, table.columns[n])) <= set(classes)), None)
        if kind is not None:
            pairs = zip(table.columns[kind], table.columns[table.label], strict=True)
            full = np.array([f"{value}/{classes[value][number]}" for value, number in pairs])
            table.columns = {**table.columns, table.label: full}


def _add_partners(table: Table, text: str) -> None:
    """Where ``sentence1`` has a ``sentence2`` beside it and a score: the second text of each row, and how near it is in meaning."""
    second = f"{text[:-1]}2"
    score = next((name for name in SCORE_NAMES if name in table.columns), None)
    if not text.endswith("1") or second not in table.columns or score is None:
        return
    closeness = table.columns[score]
    if closeness.dtype.kind in "fiu" and np.isfinite(closeness).all():
        table.partners = ["" if value is None else str(value) for value in table.columns[second]]
        table.annotations["closeness"] = closeness.astype(np.float32)


def _listed(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)


def _is_plain(kind: pa.DataType) -> bool:
    types = pa.types
    tests = (types.is_integer, types.is_floating, types.is_boolean, types.is_string, types.is_large_string, types.is_dictionary)
    return any(test(kind) for test in tests)


def _is_blob(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _is_blob(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_image(content: bytes) -> bool:
    return content.startswith(_SIGNATURES) and content[8:12] != b"WAVE"
