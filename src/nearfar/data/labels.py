"""Labels and groups: from values of any type to numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.tables.names import as_texts
from nearfar.errors import UserError

LABEL_NAMES = ("label", "labels", "y", "target", "targets", "class", "category")
"""Columns that are taken as labels when none is named, the first that occurs."""

GROUP_NAMES = ("group", "patient", "subject", "speaker", "participant")
"""Columns whose members are kept on one side of the split when none is named; also Patient,
patient_id and PatientID."""
_GAP_WORDS = ("nan", "na", "n/a", "#n/a", "null", "none", "nat", "?", "-")
"""Texts that programs write where a value is missing, in small letters."""

_MOST_CLASSES_OF_FLOATS = 50


@dataclass(frozen=True)
class Labels:
    """Labels as numbers.

    Attributes:
        values: (N,) int64 in [0, number of classes), or float32 (N,), or (N, K) from K columns, or
            bool (N, number of classes); None without labels.
        classes: names of the classes in label order; empty for values.
        target: "class", "classes" (several a sample, or none), "value" or "none".
        notes: what a user should know of them.
    """

    values: NDArray[Any] | None = None
    classes: tuple[str, ...] = ()
    target: str = "none"
    notes: list[str] = field(default_factory=list)


def label_texts(
    values: NDArray[Any] | None, classes: Sequence[str], count: int
) -> list[str | None]:
    """Each of ``count`` samples' label as text, by which it can be compared later; None without."""
    if values is None:
        return [None] * count
    if classes and values.ndim == 2:
        return [joined_names(row, classes) for row in values.tolist()]
    if classes:
        return [classes[number] for number in values.tolist()]
    return [repr(value) for value in values.astype(np.float32).tolist()]


def joined_names(held: Sequence[bool], classes: Sequence[str]) -> str:
    """The names of the classes that a sample has, of several.

    >>> joined_names([True, False, True], ["a", "b", "c"])
    'a, c'
    """
    return ", ".join(name for name, one in zip(classes, held, strict=True) if one)


def chosen_column(
    columns: Mapping[str, Any], asked: str | None, kind: str, common: Iterable[str], source: str
) -> str | None:
    """The column that was asked for, or else the first with a common name.

    Raises:
        UserError: if the column that was asked for is not there; lists those that are.
    """
    if asked is None:
        return next((name for name in common if name in columns), None)
    if asked not in columns:
        there = ", ".join(columns) or "none"
        raise UserError(f"{source} has no {kind} column {asked!r}; its columns: {there}.")
    return asked


def group_columns(columns: Iterable[str]) -> list[str]:
    """The columns with a common name for groups, those that come first in ``GROUP_NAMES`` first.

    >>> group_columns(["age", "Subject ID", "patient_id"])
    ['patient_id', 'Subject ID']
    """
    places = {name: n for n, name in enumerate(GROUP_NAMES)}
    plain = {name: re.sub("[^a-z]", "", name.lower()).removesuffix("id") for name in columns}
    return sorted((name for name in plain if plain[name] in places), key=lambda n: places[plain[n]])


def as_labels(
    values: NDArray[Any], names: Sequence[str], column: str, source: str = "the data"
) -> Labels:
    """Number the classes, sorted by value, or keep real numbers as they are.

    Floats are classes if they are few and whole, otherwise values to regress. Labels with gaps
    (missing, NaN) are not used.

    Args:
        values: (N,) of any type, or (N, C) bool where a sample may have several classes.
        names: names of the classes where the values are their numbers or columns; may be empty.
        column: where the values come from, for the notes.
        source: name of the data, for errors.

    Raises:
        UserError: for labels that are infinite.
    """
    if values.ndim == 2 and values.dtype == bool:
        return Labels(values, tuple(names), "classes")
    count = int(missing(values).sum())
    if count:
        return Labels(
            notes=[
                f"The labels in {column!r} are not used: {count} of {len(values)} are missing; "
                f"fill them or choose others."
            ]
        )
    if values.dtype.kind == "f" and np.isinf(values).any():
        first = int(np.flatnonzero(np.isinf(values))[0])
        raise UserError(
            f"The label column {column!r} of {source} has {int(np.isinf(values).sum())} infinite "
            f"values, the first in row {first}; "
            "replace them by numbers or choose another column with --label."
        )
    if values.dtype.kind == "f" and not _few_and_whole(values):
        return Labels(values.astype(np.float32), (), "value")
    if (
        values.dtype.kind in "fiu"
        and len(names)
        and values.min() >= 0
        and values.max() < len(names)
    ):
        found = Labels(values.astype(np.int64), tuple(as_texts(list(map(str, names)))), "class")
    else:
        kept = values.astype(str) if values.dtype.kind == "O" else values
        if kept.dtype.kind == "U":
            kept = np.char.strip(kept)
        distinct, number = np.unique(kept, return_inverse=True)
        found = Labels(number.astype(np.int64), tuple(_name(v) for v in distinct), "class")
        found.notes.extend(_gap_notes(found, column))
    if len(values) > 1 and np.all(found.values == found.values[0]):  # type: ignore[index]
        only = found.classes[int(found.values[0])]  # type: ignore[index]
        found.notes.append(
            f"All {len(values)} samples are of one class, {only!r}: such labels can judge nothing."
        )
    return found


def _gap_notes(labels: Labels, column: str) -> list[str]:
    """A sentence on each class whose name reads like a gap: -1 beside numbers from 0, or a word
    such as "nan"."""
    assert labels.values is not None
    counts = np.bincount(labels.values, minlength=len(labels.classes))
    numbers = all(name.isdigit() or name == "-1" for name in labels.classes)
    odd = [
        number
        for number, name in enumerate(labels.classes)
        if len(labels.classes) > 2 and (name.lower() in _GAP_WORDS or (numbers and name == "-1"))
    ]
    return [
        f"The label {labels.classes[number]!r} in {column!r} is taken as a class of "
        f"{counts[number]:,} samples; if it stands for a missing label, leave it blank."
        for number in odd
    ]


def as_joined_labels(
    columns: Mapping[str, NDArray[Any]], names: Sequence[str], source: str
) -> Labels:
    """Real numbers of several columns as labels (N, K) to regress.

    Raises:
        UserError: if a column is not there, or holds what is no finite number.
    """
    parts = []
    for name in names:
        values = columns[str(chosen_column(columns, name, "label", (), source))]
        try:
            parts.append(values.astype(np.float32))
        except (TypeError, ValueError) as error:
            said = (
                f"The label column {name!r} of {source} holds {str(values[0])!r}; "
                "of several columns all must be numbers."
            )
            raise UserError(said) from error
        if not np.isfinite(parts[-1]).all():
            raise UserError(
                f"The label column {name!r} of {source} has values that are missing or infinite; "
                f"fill them or choose others."
            )
    return Labels(np.stack(parts, axis=1), (), "value")


def as_groups(values: NDArray[Any]) -> NDArray[np.int64]:
    """Numbers (N,) from 0 of the distinct values, in sorted order; missing ones are a group of
    their own."""
    kept = values.astype(str) if values.dtype.kind == "O" else values
    return np.unique(kept, return_inverse=True)[1].astype(np.int64)


def group_names(values: NDArray[Any]) -> tuple[str, ...]:
    """The names of the groups that ``as_groups`` numbers."""
    return tuple(map(str, np.unique(values.astype(str) if values.dtype.kind == "O" else values)))


def missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of (N,) values are none: NaN, None, or text without a character that can be seen."""
    if values.dtype.kind in "fc":
        found: NDArray[np.bool_] = np.isnan(values)
        return found
    if values.dtype.kind in "mM":
        return np.asarray(np.isnat(values))
    if values.dtype.kind in "OU":
        return np.array([_is_missing(value) for value in values.tolist()], dtype=bool)
    return np.zeros(len(values), dtype=bool)


def _is_missing(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def _few_and_whole(values: NDArray[Any]) -> bool:
    distinct = np.unique(values)
    return len(distinct) <= _MOST_CLASSES_OF_FLOATS and bool(np.all(distinct == np.floor(distinct)))


def _name(value: Any) -> str:
    return str(int(value)) if isinstance(value, np.floating) else str(value)
