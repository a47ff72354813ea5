"""Files of results."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nearfar.errors import UserError
from nearfar.files import replacing

_KEPT = re.compile(r"[^\w.\-]+")


def write_table(path: Path, columns: Mapping[str, Sequence[Any]]) -> Path:
    """A parquet table.

    Raises:
        UserError: If the file exists.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        pq.write_table(pa.table(dict(columns)), file)
    return path


def refuse_existing(path: Path) -> None:
    """Refuse to write over a file.

    Raises:
        UserError: If it exists.
    """
    if path.exists():
        raise UserError(f"{path} exists already; choose another --output.")


def file_names(ids: Sequence[str], ending: str) -> list[str]:
    """A file name for each sample, from its id, none twice and none outside of the folder.

    >>> file_names(["a/b.png", "../b.png", "b"], ".png")
    ['a_b.png', 'b.png', 'b-2.png']
    """
    used: dict[str, int] = {}
    found = []
    for one in ids:
        bare = _KEPT.sub("_", str(Path(one).with_suffix(""))).strip("._") or "sample"
        used[bare] = used.get(bare, 0) + 1
        found.append(bare + (f"-{used[bare]}" if used[bare] > 1 else "") + ending)
    return found
