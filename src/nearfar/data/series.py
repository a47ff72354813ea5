"""Time series: files of rows over time, their lengths and gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pyarrow import csv

from nearfar.data.options import DataOptions
from nearfar.data.spec import Spec
from nearfar.data.table import Loaded, skipped_note
from nearfar.errors import UserError

TIME_NAMES = ("time", "timestamp")
"""Columns of a file that count the time and are no channel."""


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
            f"The series in {name} has {int(bad.sum())} missing or infinite values, the first in channel {channel} at step {step}; "
            "fill the gaps (by linear interpolation, say) or leave the sample out."
        )


def fit_lengths(series: Sequence[NDArray[Any]] | NDArray[Any], source: str, steps: int | None = None) -> NDArray[np.float32]:
    """N series (C, T) as one float32 array (N, C, steps): longer ones cropped in the middle, shorter ones followed by zeros.

    Args:
        series: N arrays (C, T), or one array (N, C, T).
        source: name of the data, for errors.
        steps: wanted length; None if all have the same.

    Raises:
        UserError: if the numbers of channels differ, or the lengths do and ``steps`` is None.
    """
    channels, lengths = {len(one) for one in series}, {one.shape[1] for one in series}
    if len(channels) > 1:
        raise UserError(f"The series of {source} have from {min(channels)} to {max(channels)} channels; give all the same columns.")
    if steps is None and len(lengths) > 1:
        raise UserError(
            f"The series of {source} are from {min(lengths)} to {max(lengths)} steps long; give one length with --size "
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
    """One CSV or TSV file a sample: a row for each time step, a column for each channel, with or without a header."""

    paths: Sequence[Path]
    ids: Sequence[str]
    name: str

    @property
    def modality(self) -> str:
        return "series"

    def load(self, rows: NDArray[np.int64], options: DataOptions, like: Spec | None) -> Loaded:
        readable = np.zeros(len(rows), dtype=bool)
        series, broken = [], []
        for place, row in enumerate(rows):
            try:
                values = read_series(self.paths[row])
            except (OSError, ValueError, pa.ArrowException) as error:
                broken.append(f"{self.ids[row]} ({str(error).splitlines()[0]})")
                continue
            check_finite(values, self.ids[row])
            series.append(values)
            readable[place] = True
        notes = skipped_note(broken, len(rows), f"series of {self.name}", strict=options.strict)
        fitted = fit_lengths(series, self.name, like.shape[-1] if like is not None else options.size)
        content = np.zeros((len(rows), *fitted.shape[1:]), dtype=np.float32)
        content[readable] = fitted
        return Loaded(torch.from_numpy(content), readable, notes)


def read_series(path: Path) -> NDArray[np.float32]:
    """One file as (C, T); empty cells are NaN, a first row that is no numbers is the header.

    Raises:
        ValueError: (of pyarrow or ours) if it holds no numbers.
        OSError: if it cannot be read.
    """
    parse = csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    with path.open(encoding="utf-8") as file:
        first = file.readline().strip().split(parse.delimiter)
    headed = not all(_is_number(cell) for cell in first)
    table = csv.read_csv(path, parse_options=parse, read_options=csv.ReadOptions(autogenerate_column_names=not headed))
    names = [name for name in table.column_names if name.strip().lower() not in TIME_NAMES]
    columns = [np.asarray(table[name].cast(pa.float64())) for name in names]
    if not columns or not len(columns[0]):
        raise ValueError(f"{path} holds no values")
    return np.stack(columns).astype(np.float32)


def _is_number(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True
