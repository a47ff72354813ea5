"""Tables of named columns (parquet, CSV, TSV, Hugging Face) as samples: from the chosen columns to
content, ids and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.cache import file_facts
from nearfar.data.content.clips import Clips
from nearfar.data.content.pictures import Pictures
from nearfar.data.content.recordings import Recordings
from nearfar.data.content.series import SeriesFiles
from nearfar.data.labels import LABEL_NAMES, missing
from nearfar.data.options import DataOptions
from nearfar.data.readers.endings import kind_of
from nearfar.data.split import (
    SPLIT_NAME,
    SPLIT_WORDS,
    are_both_parts,
    flagged_part,
    may_name_parts,
)
from nearfar.data.tables.column_choice import Piece, choose, is_file, is_plain, plain_values
from nearfar.data.tables.names import as_texts, listed
from nearfar.data.tables.table import Content, Table
from nearfar.errors import UserError

SCORE_NAMES = ("score", "similarity", "similarity_score", "relatedness")
"""Columns that say how near two texts are in meaning."""
ID_NAMES = ("id", "name", "short_name")
_LOOKED_AT = 1000
_MOST_PARTS = 12
"""Of so many first rows of a column, the most different values that can be names of parts."""


class _Columns(Mapping[str, NDArray[Any]]):
    """The plain columns of all pieces, joined and converted when asked for."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = pieces
        self._names = [f.name for f in pieces[0].schema if is_plain(f.type)]
        self._read: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._read:
            self._read[name] = self._joined_column(name)
        return self._read[name]

    def _joined_column(self, name: str) -> NDArray[Any]:
        return _joined([plain_values(piece.column(name)) for piece in self._pieces])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Values of several files; where only some hold text, numbers of the others become text."""
    if len({part.dtype.kind == "O" for part in parts}) > 1:
        parts = [
            part
            if part.dtype.kind == "O"
            else np.array([str(value) for value in part], dtype=object)
            for part in parts
        ]
    return np.concatenate(parts)


def table_of(
    pieces: Sequence[Piece],
    name: str,
    classes: Any,
    options: DataOptions,
    folder: Path | None = None,
) -> Table:
    """Samples from tables.

    Args:
        pieces: at least one, all with the columns of the first.
        name: of the data.
        classes: names of the classes: a list for the label column, a list for each of several
            columns, or, where the same numbers mean different classes in different sets, a list for
            each value of the column that names the set.
        options: which columns, if the user said.
        folder: where the files lie that a column names; None if none does.

    Raises:
        UserError: if there is no row, no column with samples, or not the one that was asked for.
    """
    if not sum(map(len, pieces)):
        raise UserError(f"{name} has no rows; expected at least 2 samples.")
    columns = _Columns(pieces)
    choice = choose(pieces, columns, name, options, folder)
    _check_asked(pieces[0], columns, name, options)
    notes = list(choice.notes)
    files = (
        ["" if value is None else str(value) for value in columns[choice.path]]
        if choice.path
        else []
    )
    ids = files or _ids(pieces, columns)
    content = _files(files, folder, name, notes) if folder is not None and files else None
    if choice.blobs is not None:
        content = _encoded(pieces, choice.blobs, choice.kind, ids, name)
    texts = (
        ["" if text is None else str(text) for text in columns[choice.text]]
        if choice.text
        else None
    )
    table = Table(name, as_texts(ids), content, texts, columns)
    table.notes += notes
    if texts is not None and content is None:
        _add_partners(table, str(choice.text))
    if any(piece.part for piece in pieces):
        table.part = [piece.part for piece in pieces for _ in range(len(piece))]
    else:
        set_split(table)
    _name_classes(table, classes)
    return table


def _encoded(
    pieces: Sequence[Piece], column: str, kind: str, ids: Sequence[str], name: str
) -> Content:
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
        return Clips(
            encoded, ids, facts, name, np.concatenate([piece.counts(column) for piece in pieces])
        )
    return Pictures(encoded, ids, facts, name)


def _check_asked(
    piece: Piece, columns: Mapping[str, NDArray[Any]], name: str, options: DataOptions
) -> None:
    """Refuse columns that were asked for and are there, but hold what can be neither label nor
    group.

    Raises:
        UserError: that states their type.
    """
    types = {f.name: f.type for f in piece.schema}
    for kind, asked in (("label", options.label), ("group", options.group)):
        if asked in types and asked not in columns:
            raise UserError(
                f"The {kind} column {asked!r} of {name} holds {types[asked]}, which cannot be a "
                f"{kind}; expected one number, string or "
                "date a row."
            )


def set_split(table: Table) -> None:
    """Take the parts of the rows from a column that names them.

    A column called ``split`` must do so. One with a name such as ``data_split`` does so if it holds
    common words for both parts, one such as ``is_test`` if it holds truths.
    """
    names = [name for name in table.columns if may_name_parts(name) and name not in LABEL_NAMES]
    for name in sorted(names, key=lambda one: one.strip().lower() != SPLIT_NAME):
        parts = _parts_in(name, np.asarray(table.columns[name]))
        if parts is not None:
            table.part = parts
            table.split_column = name
            if name not in SPLIT_WORDS:
                table.notes.append(f"The column {name!r} says which part each row belongs to.")
            return


def _parts_in(name: str, values: NDArray[Any]) -> list[str] | None:
    """Each row's part, where a column states it."""
    is_named = name.strip().lower() == SPLIT_NAME
    if not is_named and _are_truths(values):
        return flagged_part(name, values.astype(bool))
    if not is_named and (
        values.dtype.kind not in "OU" or len(set(values[:_LOOKED_AT].tolist())) > _MOST_PARTS
    ):
        return None
    lacking = missing(values)
    parts = ["" if gap else str(one) for one, gap in zip(values.tolist(), lacking, strict=True)]
    words = {part.strip().lower() for part in parts}
    return parts if is_named or are_both_parts(words) else None


def _are_truths(values: NDArray[Any]) -> bool:
    if values.dtype.kind == "b":
        return True
    if values.dtype.kind == "O":
        return all(isinstance(value, bool) for value in values.tolist())
    return values.dtype.kind in "iu" and set(np.unique(values).tolist()) <= {0, 1}


def _files(files: Sequence[str], folder: Path, name: str, notes: list[str]) -> Content:
    """Content of files that a column names: of the kind that most of those have that are there."""
    paths = [folder / file for file in files]
    there = [file and is_file(folder, file) for file in files]
    kinds = Counter(kind_of(file) for file, is_there in zip(files, there, strict=True) if is_there)
    kind = max(kinds, key=lambda one: (kinds[one], one == "image")) if kinds else None
    others = [
        file
        for file, is_there in zip(files, there, strict=True)
        if is_there and kind_of(file) != kind
    ]
    if others:
        notes.append(
            f"{len(others):,} of the {len(files):,} files that {name} names are of another kind "
            f"than most: {listed(others)}."
        )
    ids = as_texts(files)
    if kind == "series":
        return SeriesFiles(paths, ids, name)
    facts = tuple(file_facts(path for path, is_there in zip(paths, there, strict=True) if is_there))
    content = Recordings if kind == "sound" else Pictures
    return content(
        lambda rows: [paths[row] if there[row] else b"" for row in rows],
        ids,
        (facts, tuple(files)),
        name,
    )


def _ids(pieces: Sequence[Piece], columns: Mapping[str, NDArray[Any]]) -> list[str]:
    """Values of a naming column if they are distinct, or else part and row number."""
    for name in ID_NAMES:
        if name in columns:
            values = [str(value) for value in columns[name]]
            if len(set(values)) == len(values):
                return values
    return [
        f"{piece.part}{'/' if piece.part else ''}{row}"
        for piece in pieces
        for row in range(len(piece))
    ]


def _name_classes(table: Table, classes: Any) -> None:
    """Attach the names of the classes; where each value of another column has its own, both
    together name a class."""
    table.label = next((name for name in LABEL_NAMES if name in table.columns), None)
    if isinstance(classes, dict) and classes and set(classes) <= set(table.columns):
        table.classes = classes
        table.label = table.label or next(iter(classes))
    elif isinstance(classes, list) and table.label:
        table.classes = {table.label: classes}
    elif isinstance(classes, dict) and table.label:
        kind = next(
            (
                n
                for n in table.columns
                if n != table.label and set(map(str, table.columns[n])) <= set(classes)
            ),
            None,
        )
        if kind is not None:
            pairs = zip(table.columns[kind], table.columns[table.label], strict=True)
            full = np.array([f"{value}/{classes[value][number]}" for value, number in pairs])
            table.columns = {**table.columns, table.label: full}


def _add_partners(table: Table, text: str) -> None:
    """Where ``sentence1`` has a ``sentence2`` beside it and a score: the second text of each row,
    and how near it is in meaning."""
    second = f"{text[:-1]}2"
    score = next((name for name in SCORE_NAMES if name in table.columns), None)
    if not text.endswith("1") or second not in table.columns or score is None:
        return
    closeness = table.columns[score]
    if closeness.dtype.kind in "fiu" and np.isfinite(closeness).all():
        table.partners = ["" if value is None else str(value) for value in table.columns[second]]
        table.annotations["closeness"] = closeness.astype(np.float32)
