"""Data sets of the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nearfar.data.options import DataOptions
from nearfar.data.readers.catalogue import HUGGING_FACE, missing
from nearfar.data.tables.columns import table_of
from nearfar.data.tables.table import Table
from nearfar.data.tables.tables import bytes_in, lengths_in
from nearfar.errors import UserError

_NO_SCRIPTS = 4
"""The first version of the library that runs no script of a data set."""
_BLOCK = 256
"""Rows of lists that are counted at a time."""


class HuggingFacePiece:
    """One part of a data set; its images and recordings stay encoded."""

    def __init__(self, part: str, data: Any) -> None:
        from datasets import Audio, Image

        for name, feature in data.features.items():
            for kind in (Image, Audio):
                if isinstance(feature, kind):
                    data = data.cast_column(name, kind(decode=False))
        self._data = data
        self.part = part
        self.schema = data.features.arrow_schema
        self.facts = data._fingerprint
        self.notes: list[str] = []

    def __len__(self) -> int:
        return len(self._data)

    def column(self, name: str) -> pa.ChunkedArray:
        return self._data.select_columns([name]).with_format("arrow")[:][name]

    def blobs(self, name: str, rows: NDArray[np.int64]) -> list[Any]:
        column = self._data.select_columns([name]).with_format("arrow")[rows][name]
        found = bytes_in(column, np.arange(len(rows)))
        if all(found) or not pa.types.is_struct(column.type):
            return found
        named = column.to_pylist()  # what was made from paths holds these alone
        return [one or _in_file(value) for one, value in zip(found, named, strict=True)]

    def counts(self, name: str) -> NDArray[np.int64]:
        data = self._data.select_columns([name]).with_format("arrow")
        blocks = range(0, len(self), _BLOCK)
        return np.concatenate([lengths_in(data[start : start + _BLOCK][name]) for start in blocks])


def _in_file(value: Any) -> bytes:
    """The bytes in the file that an image or recording of the library names; b"" without one."""
    path = Path(str((value or {}).get("path") or ""))
    return path.read_bytes() if path.is_file() else b""


def read_hugging_face(name: str, options: DataOptions) -> Table:
    """A data set of the hub (or of a folder) by name; ``NAME:CONFIGURATION`` where there are
    several.

    Raises:
        UserError: if the library is not installed, or the data cannot be loaded.
    """
    if missing(HUGGING_FACE):
        raise UserError(f"hf:{name} {missing(HUGGING_FACE)}.")
    from datasets import __version__, load_dataset

    path, _, configuration = name.partition(":")
    # From version 4 on no data set brings code of its own; before, it must be refused.
    no_code = (
        {} if int(__version__.partition(".")[0]) >= _NO_SCRIPTS else {"trust_remote_code": False}
    )
    try:
        found = load_dataset(path, configuration or None, **no_code)
    except Exception as error:  # the library passes on whatever its network layer raises
        reason = " ".join(str(error).split())
        raise UserError(
            f"hf:{name} cannot be loaded ({reason}); check the name, and the network connection "
            f"for the first use."
        ) from error
    pieces = [HuggingFacePiece(part, data) for part, data in found.items()]
    features = found[pieces[0].part].features
    classes = {
        name: feature.names for name, feature in features.items() if hasattr(feature, "names")
    }
    return table_of(pieces, path.rstrip("/").rpartition("/")[2], classes, options)
