"""Parquet, CSV and TSV files, alone or several in a folder."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from csv import Error as CsvError
from csv import reader
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nearfar.data.cache import file_facts
from nearfar.data.content.bounds import check_memory
from nearfar.data.content.series import counts_rows
from nearfar.data.options import DataOptions
from nearfar.data.readers.endings import SERIES_ENDINGS
from nearfar.data.split import part_word
from nearfar.data.tables.column_choice import PATH_NAMES, is_plain
from nearfar.data.tables.columns import ID_NAMES, table_of
from nearfar.data.tables.csv_text import read_text
from nearfar.data.tables.names import as_text
from nearfar.data.tables.table import Table
from nearfar.errors import UserError


class ParquetPiece:
    """A parquet file; bytes are read one row group at a time."""

    def __init__(self, path: Path, part: str = "") -> None:
        self._path = path
        with self._reading():
            self._file = pq.ParquetFile(path)
            self.schema = self._file.schema_arrow
            groups = range(self._file.num_row_groups)
            self._starts = np.cumsum(
                [0, *(self._file.metadata.row_group(i).num_rows for i in groups)]
            )
            check_memory(self._memory(), f"The table {path}, read without its columns of bytes,")
        self.part = part
        self.notes: list[str] = []
        self.facts = tuple(file_facts([path]))
        self._group = lru_cache(maxsize=1)(self._read_group)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def column(self, name: str) -> pa.ChunkedArray:
        with self._reading():
            return self._file.read(columns=[name])[name]

    def blobs(self, name: str, rows: NDArray[np.int64]) -> list[Any]:
        groups = np.searchsorted(self._starts, rows, side="right") - 1
        found: list[Any] = []
        for group in np.unique(groups):
            found += bytes_in(
                self._group(name, int(group)), rows[groups == group] - self._starts[group]
            )
        return found

    def counts(self, name: str) -> NDArray[np.int64]:
        return np.concatenate(
            [lengths_in(self._group(name, group)) for group in range(self._file.num_row_groups)]
        )

    def _read_group(self, name: str, group: int) -> pa.ChunkedArray:
        with self._reading():
            return self._file.read_row_group(group, columns=[name])[name]

    def _memory(self) -> int:
        """Bytes of the plain columns, unpacked, as the file states them."""
        metadata = self._file.metadata
        plain = {f.name for f in self.schema if is_plain(f.type)}
        columns = [
            i
            for i in range(metadata.num_columns)
            if metadata.schema.column(i).path.partition(".")[0] in plain
        ]
        stated = sum(
            metadata.row_group(g).column(i).total_uncompressed_size
            for g in range(metadata.num_row_groups)
            for i in columns
        )
        return max(int(stated), 8 * int(metadata.num_rows) * max(1, len(columns)))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(
                f"{self._path} cannot be read as parquet ({reason}); check that the file is "
                f"complete."
            ) from error


class CsvPiece:
    """A CSV or TSV file with a header."""

    def __init__(self, path: Path, part: str = "") -> None:
        try:
            text = read_text(path)
            header = next(iter(reader([text.line(0)], delimiter=text.delimiter)), [])
            _check_names(header, path)
            strings = [name for name in header if name.strip().lower() in (*ID_NAMES, *PATH_NAMES)]
            table = text.typed_table(strings)
        except UserError:
            raise
        except (pa.ArrowException, CsvError, OSError, ValueError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(
                f"{path} cannot be read as a table ({reason}); expected a header and even rows."
            ) from error
        self.notes = list(text.notes)
        self._table = self._without_index(table, path)
        self.part = part
        self.schema = self._table.schema
        self.facts = tuple(file_facts([path]))

    def _without_index(self, table: pa.Table, path: Path) -> pa.Table:
        """Without a first column of row numbers, and without empty columns that have no name."""
        nameless = [
            i
            for i, name in enumerate(table.column_names)
            if name.strip().lower() in ("", "unnamed: 0")
        ]
        if nameless and nameless[0] == 0 and counts_rows(table.column(0)):
            self.notes.append(
                f"The first column of {as_text(path.name)} counts the rows and is left out."
            )
        for place in reversed(nameless):
            table = table.remove_column(place)
        return table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def column(self, name: str) -> pa.ChunkedArray:
        return self._table[name]

    def blobs(self, name: str, rows: NDArray[np.int64]) -> list[Any]:
        raise NotImplementedError(f"{name}: text files hold no bytes")

    def counts(self, name: str) -> NDArray[np.int64]:
        raise NotImplementedError(f"{name}: text files hold no lists")


def _check_names(names: Sequence[str], path: Path) -> None:
    """Refuse columns that could be told apart by place alone."""
    for name, count in Counter(names).items():
        if count > 1 and name.strip():
            times = "twice" if count == 2 else f"{count} times"
            raise UserError(
                f"The column name {name!r} occurs {times} in {path}; rename one of the columns."
            )


def lengths_in(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """How many values each list of a column holds, 0 where there is no list."""
    return np.asarray(pc.fill_null(pc.list_value_length(column), 0).cast(pa.int64()))


def bytes_in(column: pa.ChunkedArray, rows: NDArray[np.int64]) -> list[Any]:
    """Bytes in some rows of a binary column or of a struct's field ``bytes``; b"" where there are
    none. Of lists of such, lists."""
    return [_bytes(value) for value in column.take(pa.array(rows)).to_pylist()]


def _bytes(value: Any) -> Any:
    if isinstance(value, list):
        return [_bytes(one) for one in value]
    return (value["bytes"] if isinstance(value, dict) else value) or b""


def read_files(
    paths: Sequence[Path], name: str, options: DataOptions, folder: Path | None = None
) -> Table:
    """Samples of files of one kind with the same columns.

    Args:
        paths: of the files.
        name: of the data.
        options: which columns, if the user said.
        folder: above all of the files, whose folders may be called train and test; by default they
            have no part but by name.

    Raises:
        UserError: for a file that is not what its name says, or columns that differ.
    """
    several = len(paths) > 1
    pieces = [
        _piece(path, (part_of(path) or _part_above(path, folder)) if several else "")
        for path in paths
    ]
    for piece, path in zip(pieces, paths, strict=True):
        if len(piece.schema.names) != len(set(piece.schema.names)):
            _check_names(piece.schema.names, path)
        if set(piece.schema.names) != set(pieces[0].schema.names):
            raise UserError(
                f"{path.name} has other columns than {paths[0].name}: "
                f"{', '.join(piece.schema.names)}; "
                f"name one file alone, such as {paths[0]}."
            )
    table = table_of(pieces, as_text(name), _classes(pieces[0].schema), options, paths[0].parent)
    table.notes += [note for piece in pieces for note in piece.notes]
    return table


def _piece(path: Path, part: str) -> ParquetPiece | CsvPiece:
    return (
        CsvPiece(path, part) if path.suffix.lower() in SERIES_ENDINGS else ParquetPiece(path, part)
    )


def is_embeddings(path: Path) -> bool:
    """Whether ``nearfar embed`` wrote a parquet file."""
    try:
        names = set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, ValueError):
        return False
    return {"id", "split", "label", "embedding"} <= names


def _part_above(path: Path, folder: Path | None) -> str:
    """The part that a folder above a file is called after, or ""."""
    above = path.relative_to(folder).parts[:-1] if folder is not None else ()
    return next(filter(None, map(part_word, above)), "")


def part_of(path: Path) -> str:
    """The part that a file's name begins or ends with ("train-00000-of-00002.parquet"), or ""."""
    return part_word(re.sub("-[0-9]{3,}-of-[0-9]{3,}$", "", path.stem))


def _classes(schema: pa.Schema) -> Any:
    """Class names that the file carries in its metadata: a list, a list for each of several sets,
    or None."""
    text = (schema.metadata or {}).get(b"classes")
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None
