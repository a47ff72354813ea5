"""Tables of named columns (parquet, CSV, TSV, Hugging Face) as samples: from the chosen columns to content, ids and labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.cache import file_facts
from nearfar.data.clips import Clips
from nearfar.data.column_choice import Piece, choose, is_plain
from nearfar.data.labels import LABEL_NAMES
from nearfar.data.options import DataOptions
from nearfar.data.pictures import Pictures
from nearfar.data.recordings import Recordings
from nearfar.data.series import SeriesFiles
from nearfar.data.sound import SOUND_ENDINGS
from nearfar.data.table import Content, Table
from nearfar.errors import UserError

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
SERIES_ENDINGS = (".csv", ".tsv")
SCORE_NAMES = ("score", "similarity", "similarity_score", "relatedness")
"""Columns that say how near two texts are in meaning."""
ID_NAMES = ("id", "name", "short_name")


class _Columns(Mapping[str, NDArray[Any]]):
    """The plain columns of all pieces, joined and converted when asked for."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = pieces
        self._names = [f.name for f in pieces[0].schema if is_plain(f.type)]

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._names:
            raise KeyError(name)
        return np.concatenate([piece.column(name).to_numpy() for piece in self._pieces])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


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
    choice = choose(pieces[0], columns, name, options, folder)
    files = [str(value) for value in columns[choice.path]] if choice.path else []
    ids = files or _ids(pieces, columns)
    content = _files(files, folder, name) if folder is not None and files else None
    if choice.blobs is not None:
        content = _encoded(pieces, choice.blobs, choice.kind, ids, name)
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


def _encoded(pieces: Sequence[Piece], column: str, kind: str, ids: Sequence[str], name: str) -> Content:
    starts = np.cumsum([0, *map(len, pieces)])

    def encoded(rows: NDArray[np.int64]) -> list[Any]:
        found: list[Any] = []
        for piece, start, end in zip(pieces, starts, starts[1:], strict=False):
            inside = rows[(rows >= start) & (rows < end)] - start
            if len(inside):
                found += piece.blobs(column, inside)
        return found

    facts = (column, *(piece.facts for piece in pieces))
    if kind == "audio":
        return Recordings(encoded, ids, facts, name)
    if kind == "video":
        return Clips(encoded, ids, facts, name, max(1, len(encoded(np.zeros(1, dtype=np.int64))[0])))
    return Pictures(encoded, ids, facts, name)


def _files(files: Sequence[str], folder: Path, name: str) -> Content:
    paths = [folder / file for file in files]
    if paths[0].suffix.lower() in SERIES_ENDINGS:
        return SeriesFiles(paths, files, name)
    facts = tuple(file_facts(path for path in paths if path.is_file()))
    kind = Recordings if paths[0].suffix.lower() in SOUND_ENDINGS else Pictures
    return kind(lambda rows: [paths[row] for row in rows], files, facts, name)


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
