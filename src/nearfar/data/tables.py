"""Parquet, CSV and TSV files, alone or several in a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import csv

from nearfar.data.cache import file_facts
from nearfar.data.columns import table_of
from nearfar.data.options import DataOptions
from nearfar.data.split import TEST_NAMES, TRAIN_NAMES
from nearfar.data.table import Table
from nearfar.errors import UserError


class ParquetPiece:
    """A parquet file; bytes are read one row group at a time."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = pq.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path} cannot be read as parquet ({str(error).splitlines()[0]}); check that the file is complete.") from error
        self.part = part_of(path)
        self.schema = self._file.schema_arrow
        self.facts = tuple(file_facts([path]))
        groups = range(self._file.num_row_groups)
        self._starts = np.cumsum([0, *(self._file.metadata.row_group(i).num_rows for i in groups)])
        self._group = lru_cache(maxsize=1)(self._read_group)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def column(self, name: str) -> pa.ChunkedArray:
        return self._file.read(columns=[name])[name]

    def blobs(self, name: str, rows: NDArray[np.int64]) -> list[Any]:
        groups = np.searchsorted(self._starts, rows, side="right") - 1
        found: list[Any] = []
        for group in np.unique(groups):
            found += bytes_in(self._group(name, int(group)), rows[groups == group] - self._starts[group])
        return found

    def _read_group(self, name: str, group: int) -> pa.ChunkedArray:
        return self._file.read_row_group(group, columns=[name])[name]


class CsvPiece:
    """A CSV or TSV file with a header."""

    def __init__(self, path: Path) -> None:
        delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
        try:
            self._table = csv.read_csv(path, parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True))
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path} cannot be read as a table ({str(error).splitlines()[0]}); expected a header and even rows.") from error
        self.part = part_of(path)
        self.schema = self._table.schema
        self.facts = tuple(file_facts([path]))

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def column(self, name: str) -> pa.ChunkedArray:
        return self._table[name]

    def blobs(self, name: str, rows: NDArray[np.int64]) -> list[Any]:
        raise NotImplementedError(f"{name}: text files hold no bytes")


def bytes_in(column: pa.ChunkedArray, rows: NDArray[np.int64]) -> list[Any]:
    """Bytes in some rows of a binary column or of a struct's field ``bytes``; b"" where there are none. Of lists of such, lists."""
    return [_bytes(value) for value in column.take(pa.array(rows)).to_pylist()]


def _bytes(value: Any) -> Any:
    if isinstance(value, list):
        return [_bytes(one) for one in value]
    return (value["bytes"] if isinstance(value, dict) else value) or b""


def read_files(paths: Sequence[Path], name: str, options: DataOptions) -> Table:
    """Samples of files of one kind with the same columns.

    Raises:
        UserError: for a file that is not what its name says, or columns that differ.
    """
    pieces = [_piece(path) for path in paths]
    for piece, path in zip(pieces, paths, strict=True):
        if piece.schema.names != pieces[0].schema.names:
            raise UserError(f"{path.name} has other columns than {paths[0].name}: {', '.join(piece.schema.names)}; name one file alone.")
    if len(pieces) == 1:
        pieces[0].part = ""  # a file alone is the whole data set, whatever its name
    return table_of(pieces, name, _classes(pieces[0].schema), options, paths[0].parent)


def _piece(path: Path) -> ParquetPiece | CsvPiece:
    return CsvPiece(path) if path.suffix.lower() in (".csv", ".tsv") else ParquetPiece(path)


def part_of(path: Path) -> str:
    """The part that a file's name begins with ("train-00000-of-00002.parquet"), or ""."""
    first = path.stem.lower().replace("_", "-").partition("-")[0]
    return first if first in (*TRAIN_NAMES, *TEST_NAMES) else ""


def _classes(schema: pa.Schema) -> Any:
    """Class names that the file carries in its metadata: a list, a list for each of several sets, or None."""
    text = (schema.metadata or {}).get(b"classes")
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None
