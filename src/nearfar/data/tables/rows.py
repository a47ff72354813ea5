"""Some rows of a data set: ``PATH#COLUMN=VALUE``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.options import DataOptions
from nearfar.data.spec import Spec
from nearfar.data.tables.table import Content, Loaded, Table, ranged_by
from nearfar.errors import UserError

_LISTED = 10


def condition_of(name: str) -> tuple[str, tuple[str, str] | None]:
    """A name without its condition, and the condition's column and value."""
    bare, _, condition = name.rpartition("#")
    column, equals, value = condition.partition("=")
    return (bare, (column, value)) if bare and column and equals else (name, None)


def where(table: Table, column: str, value: str) -> Table:
    """The rows whose ``column`` has that value.

    Raises:
        UserError: if there is no such column or value; lists those that there are.
    """
    if column not in table.columns:
        raise UserError(
            f"{table.name} has no column {column!r}; its columns: "
            f"{', '.join(table.columns) or 'none'}."
        )
    values = np.asarray(table.columns[column]).astype(str)
    rows = np.flatnonzero(values == value)
    if not len(rows):
        distinct = np.unique(values)
        there = ", ".join(distinct[:_LISTED]) + (" ..." if len(distinct) > _LISTED else "")
        raise UserError(f"No row of {table.name} has {column} = {value!r}; its values: {there}.")

    return dataclasses.replace(some(table, rows), name=f"{table.name}-{value}")


def some(table: Table, rows: NDArray[np.int64]) -> Table:
    """The table of some of its rows, in their order."""
    if len(rows) == len(table.ids) and bool((rows == np.arange(len(rows))).all()):
        return table

    def of(sequence: Sequence[Any] | None) -> list[Any] | None:
        return None if sequence is None else [sequence[row] for row in rows]

    return dataclasses.replace(
        table,
        ids=of(table.ids) or [],
        content=None if table.content is None else _Some(table.content, rows),
        texts=of(table.texts),
        columns={name: one[rows] for name, one in table.columns.items()},
        part=of(table.part),
        partners=of(table.partners),
        annotations={name: one[rows] for name, one in table.annotations.items()},
    )


@dataclass(frozen=True)
class _Some:
    """Some rows of other content."""

    content: Content
    rows: NDArray[np.int64]

    @property
    def modality(self) -> str:
        return self.content.modality

    def sizes(self, rows: NDArray[np.int64]) -> list[tuple[int, int] | None]:
        inner: Any = self.content
        found: list[tuple[int, int] | None] = inner.sizes(self.rows[rows])
        return found

    def ranged_by(self, rows: NDArray[np.int64]) -> _Some:
        content = ranged_by(self.content, self.rows[rows])
        assert content is not None
        return dataclasses.replace(self, content=content)

    def load(self, rows: NDArray[np.int64], options: DataOptions, like: Spec | None) -> Loaded:
        return self.content.load(self.rows[rows], options, like)
