"""Time series: files of rows over time, their lengths and gaps."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from nearfar.data.content.bounds import check_memory, check_steps
from nearfar.data.labels import LABEL_NAMES
from nearfar.data.options import DataOptions
from nearfar.data.spec import Spec
from nearfar.data.tables.csv_text import CsvText, read_text
from nearfar.data.tables.table import Loaded, skipped_note
from nearfar.errors import UserError

INDEX_NAMES = ("", "index", "unnamed: 0")
"""Names that programs give to a column of row numbers."""
_SURELY_NAMES = 3
"""Columns from which on a first row 0, 1, 2 ... is a header even where all values are whole
numbers."""
TIME_NAMES = ("time", "timestamp")
"""Columns of a file that count the time and are no channel."""
_MAYBE_TIMES = (*TIME_NAMES, "timestamps", "t", "date", "datetime", "elapsed", "seconds")
"""Columns that do so, also with a unit, as in "Time (s)", if their values rise from row to row."""


_UNIT = re.compile(r"\s*(\(.*\)|\[.*\]|_(s|sec|ms|us|ns|utc))$")
"""What stands behind a name to say its unit."""


def check_finite(series: NDArray[Any], name: str) -> None:
    """Refuse gaps.

    Args:
        series: (C, T).
        name: of the sample, as a user would know it.

    Raises:
        UserError: if a value is NaN or infinite; names the first and how to mend it.
    """
    bad = ~np.isfinite(series)
    if bad.any():
        channel, step = np.argwhere(bad)[0]
        raise UserError(
            f"The series in {name} has {int(bad.sum())} missing or infinite values, the first in "
            f"channel {channel} at step {step}; "
            "fill the gaps (by linear interpolation, say) or leave the sample out."
        )


def fit_lengths(
    series: Sequence[NDArray[Any]] | NDArray[Any], source: str, steps: int | None = None
) -> NDArray[np.float32]:
    """N series (C, T) as one float32 array (N, C, steps): longer ones cropped in the middle,
    shorter ones followed by zeros.

    Args:
        series: N arrays (C, T), or one array (N, C, T).
        source: name of the data, for errors.
        steps: wanted length; None if all have the same.

    Raises:
        UserError: if the numbers of channels differ, or the lengths do and ``steps`` is None.
    """
    channels = {len(one) for one in series}
    lengths = {one.shape[1] for one in series}
    if len(channels) > 1:
        raise UserError(
            f"The series of {source} have from {min(channels)} to {max(channels)} channels; give "
            f"all the same columns."
        )
    if steps is None and len(lengths) > 1:
        raise UserError(
            f"The series of {source} are from {min(lengths)} to {max(lengths)} steps long; give "
            f"one length with --size "
            "(longer ones are cropped in the middle, shorter ones followed by zeros)."
        )
    steps = steps or lengths.pop()
    if isinstance(series, np.ndarray) and series.shape[2] == steps:
        return series.astype(np.float32, copy=False)
    fitted = np.zeros((len(series), channels.pop(), steps), dtype=np.float32)
    for place, one in zip(fitted, series, strict=True):
        start = max(0, (one.shape[1] - steps) // 2)
        kept = one[:, start : start + steps]
        place[:, : kept.shape[1]] = kept
    return fitted


@dataclass(frozen=True)
class SeriesFiles:
    """One CSV or TSV file a sample: a row for each time step, a column for each channel, with or
    without a header."""

    paths: Sequence[Path]
    ids: Sequence[str]
    name: str

    @property
    def modality(self) -> str:
        return "series"

    def load(self, rows: NDArray[np.int64], options: DataOptions, like: Spec | None) -> Loaded:
        if options.size is not None:
            check_steps(options.size, "The data option size is")
        readable = np.zeros(len(rows), dtype=bool)
        series: list[NDArray[np.float32]] = []
        broken: list[str] = []
        told: Counter[str] = Counter()
        names: tuple[str, ...] = ()
        for place, row in enumerate(rows):
            try:
                one = read_channels(self.paths[row])
            except (OSError, ValueError, pa.ArrowException) as error:
                broken.append(f"{self.ids[row]} ({_first_line(error)})")
                continue
            names = names or one.names
            values = _in_order(one, names, self.ids[row])
            check_finite(values, self.ids[row])
            if options.size is None and like is None:
                check_steps(values.shape[1], f"The series in {self.ids[row]} has")
            series.append(values)
            told.update(one.told)
            readable[place] = True
        notes = skipped_note(broken, len(rows), f"series of {self.name}", strict=options.strict)
        notes += [
            f"{what} in {count:,} of {len(rows):,} series of {self.name}."
            for what, count in told.items()
        ]
        steps = like.shape[-1] if like is not None else options.size
        check_memory(
            4 * len(series) * len(series[0]) * (steps or series[0].shape[1]),
            f"The series of {self.name}",
        )
        fitted = fit_lengths(series, self.name, steps)
        if fitted.shape[1] > fitted.shape[2]:
            notes.append(
                f"The series of {self.name} are read as {fitted.shape[1]:,} channels (columns) of "
                f"{fitted.shape[2]:,} steps (rows); if it is the other way, transpose the files."
            )
        content = np.zeros((len(rows), *fitted.shape[1:]), dtype=np.float32)
        content[readable] = fitted
        return Loaded(torch.from_numpy(content), readable, notes)


@dataclass(frozen=True)
class Channels:
    """A series with what its file says of it.

    Attributes:
        values: (C, T).
        names: of the channels; () where the file has no header.
        told: what a user should know of how the file was read.
    """

    values: NDArray[np.float32]
    names: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


def read_series(path: Path) -> NDArray[np.float32]:
    """One file as (C, T); see ``read_channels``."""
    return read_channels(path).values


def read_channels(path: Path) -> Channels:
    """One file; empty cells are NaN, and a first row that is no numbers, or counts from 0, is the
    header.

    Columns that count the rows (named time or timestamp, index or nothing) are no channels.

    Raises:
        ValueError: (of pyarrow or ours) if it holds no numbers.
        OSError: if it cannot be read.
    """
    text = read_text(path)
    first = _cells(text, 0)
    second = _cells(text, 1)
    told: list[str] = []
    headed = not all(_is_number(cell) for cell in first)
    counting = (
        first[1:] if first[:1] == [""] else first
    )  # a nameless column of row numbers before the others
    if (
        not headed
        and _counts(counting)
        and second
        and (len(counting) >= _SURELY_NAMES or not all(map(_is_whole, second)))
    ):
        headed = True
        told.append("The first row counts the columns and is taken as the header")
    table = text.table(header=headed)
    names = table.column_names
    places = [place for place, name in enumerate(names) if name.strip().lower() not in TIME_NAMES]
    for place in [*places] if headed and len(places) > 1 else []:
        name = _UNIT.sub("", names[place].strip().lower())
        if name in LABEL_NAMES:
            told.append(f"The column {names[place]!r} holds labels by its name and is no channel")
            places.remove(place)
        elif name in _MAYBE_TIMES and _rises(table.column(place)):
            told.append(f"The column {names[place]!r} counts the time and is no channel")
            places.remove(place)
    if (
        headed
        and places
        and names[places[0]].strip().lower() in INDEX_NAMES
        and counts_rows(table.column(places[0]))
    ):
        places = places[1:]
        told.append("A first column without a name counts the rows and is left out")
    columns = [_numbers(table.column(place), names[place]) for place in places]
    if not columns or not len(columns[0]):
        raise ValueError(f"{path} holds no values")
    return Channels(
        np.stack(columns).astype(np.float32),
        tuple(names[place] for place in places) if headed else (),
        tuple(told),
    )


def _numbers(column: pa.ChunkedArray, name: str) -> NDArray[np.float64]:
    try:
        return np.asarray(column.cast(pa.float64()))
    except pa.ArrowException as error:
        raise ValueError(f"the column {name!r} holds {column.type} and not numbers") from error


def _in_order(one: Channels, names: tuple[str, ...], name: str) -> NDArray[np.float32]:
    """The channels in the order of the first file's, by their names where both have them.

    Raises:
        UserError: if the names are others.
    """
    if one.names == names or not one.names or not names:
        return one.values
    if sorted(one.names) != sorted(names) or len(set(names)) < len(names):
        raise UserError(
            f"The series in {name} has the channels {', '.join(one.names[:8])}, the first one "
            f"{', '.join(names[:8])}; "
            "give all files the same columns."
        )
    return one.values[[one.names.index(wanted) for wanted in names]]


def _cells(text: CsvText, number: int) -> list[str]:
    return (
        [cell.strip().strip('"') for cell in text.line(number).split(text.delimiter)]
        if text.line(number)
        else []
    )


def _counts(cells: Sequence[str]) -> bool:
    """Whether there are cells and they read 0, 1, 2 ... or, of three and more, 1, 2, 3 ..."""
    starts = (0, 1) if len(cells) >= _SURELY_NAMES else (0,)
    return any(
        bool(cells) and list(cells) == [str(start + number) for number in range(len(cells))]
        for start in starts
    )


def counts_rows(column: pa.ChunkedArray) -> bool:
    """Whether a column counts up by one from 0 or 1."""
    try:
        values = np.asarray(column.cast(pa.int64()))
    except pa.ArrowException:
        return False
    return len(values) > 0 and values[0] in (0, 1) and bool((np.diff(values) == 1).all())


def _rises(column: pa.ChunkedArray) -> bool:
    """Whether each value of a column of numbers or dates is larger than the one before."""
    if not (pa.types.is_temporal(column.type) or _is_numeric(column.type)):
        return False
    values = np.asarray(column)
    return len(values) > 1 and bool((values[1:] > values[:-1]).all())


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_whole(cell: str) -> bool:
    return cell.lstrip("+-").isdigit()


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", ".") or "nan")
    except ValueError:
        return False
    return True


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
