"""Folders of .npy files: one array a sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nearfar.data.cache import file_facts
from nearfar.data.content.bounds import check_memory, check_steps
from nearfar.data.content.files.encoded import UnreadableError
from nearfar.data.content.files.npy import Npy, shape_of
from nearfar.data.content.files.points import CloudFiles
from nearfar.data.content.pictures import Pictures
from nearfar.data.content.readings import are_last, is_points, shaped
from nearfar.data.content.series import check_finite, fit_lengths
from nearfar.data.options import DataOptions
from nearfar.data.spec import Spec
from nearfar.data.tables.table import Content, Loaded, Table, decoded_rows
from nearfar.errors import UserError

__all__ = ["arrays_in"]

_KEY = "samples"


def arrays_in(paths: Sequence[Path], ids: Sequence[str], name: str, options: DataOptions) -> Table:
    """Images, series or clouds of points, by the shape and type that most of the files have.

    Args:
        paths: Of the files.
        ids: Their names.
        name: Of the data.
        options: What was said of the samples.

    Raises:
        UserError: If no file can be read, or the shape may mean two things: a question.
    """
    heads = [_head(path) for path in paths]
    found = Counter(head for head in heads if not isinstance(head, str))
    if not found:
        reasons = "; ".join(dict.fromkeys(str(one) for one in heads if one)) or "they are damaged"
        raise UserError(f"None of the {len(paths)} arrays of {name} can be read: {reasons}.")
    shape, kind = max(found, key=lambda head: found[head])
    one = np.zeros((1, *shape), dtype=kind)  # never looked at but for its shape and type
    if one.dtype.kind not in "biuf":
        raise UserError(f"The arrays of {name} are of type {kind}; expected numbers.")
    if is_points(one, _KEY, options):
        content: Content = CloudFiles(paths, ids, name)
        return Table(name, list(ids), content)
    as_read, notes = shaped(one, _KEY, name, options)
    facts = tuple(file_facts(paths))
    if as_read.ndim == 4:
        last = len(shape) == 3 and are_last(shape, options.channels, name, options.likely)
        files = [Npy(path, last) for path in paths]
        content = Pictures(lambda rows: [files[row] for row in rows], ids, (facts, last), name)
    else:
        content = SeriesArrays(paths, ids, name, options)
    return Table(name, list(ids), content, notes=notes)


def _head(path: Path) -> tuple[tuple[int, ...], str] | str:
    """Shape and type of an array, or why it cannot be read."""
    try:
        shape, kind = shape_of(path)
    except UnreadableError as error:
        return str(error)
    return (shape, kind.str) if shape else "it holds a single number"


@dataclass(frozen=True)
class SeriesArrays:
    """One array (C, T), (T, C) or (T,) a file.

    Attributes:
        paths: Of the files.
        ids: Their names.
        name: Of the data.
        options: What was said of the axes.
    """

    paths: Sequence[Path]
    ids: Sequence[str]
    name: str
    options: DataOptions

    @property
    def modality(self) -> str:
        return "series"

    def load(self, rows: NDArray[np.int64], options: DataOptions, like: Spec | None) -> Loaded:
        if options.size is not None:
            check_steps(options.size, "The data option size is")
        found: dict[int, NDArray[Any]] = {}
        unreadable: dict[int, str] = {}
        for place, row in enumerate(rows.tolist()):
            try:
                found[place] = self._series(row)
            except UnreadableError as error:
                unreadable[place] = str(error)
        readable, notes = decoded_rows(
            unreadable, self.ids, rows, f"series of {self.name}", strict=options.strict
        )
        for place, one in found.items():
            check_finite(one, self.ids[int(rows[place])])
        steps = like.shape[-1] if like is not None else options.size
        longest = steps or max(one.shape[1] for one in found.values())
        check_memory(4 * len(rows) * longest * len(next(iter(found.values()))), self.name)
        fitted = fit_lengths(list(found.values()), self.name, steps)
        content = np.zeros((len(rows), *fitted.shape[1:]), dtype=np.float32)
        content[readable] = fitted
        return Loaded(torch.from_numpy(content), readable, notes)

    def _series(self, row: int) -> NDArray[np.float32]:
        shape_of(self.paths[row])
        try:
            array = np.load(self.paths[row], allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UnreadableError from error
        if array.ndim not in (1, 2):
            raise UnreadableError(f"it has the shape {array.shape}, which is no series")
        batch = array.reshape(1, -1, array.shape[-1])
        try:
            found, _ = shaped(batch, "series", self.name, self.options)
        except UserError as error:
            raise UnreadableError(str(error)) from error
        return np.asarray(found[0], dtype=np.float32)
