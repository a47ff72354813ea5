"""Folders of images, recordings or series, with or without folders for parts and classes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nearfar.data.cache import file_facts
from nearfar.data.columns import IMAGE_ENDINGS, SERIES_ENDINGS
from nearfar.data.options import DataOptions
from nearfar.data.pictures import Pictures
from nearfar.data.recordings import Recordings
from nearfar.data.series import SeriesFiles
from nearfar.data.sound import SOUND_ENDINGS
from nearfar.data.split import TRAIN_NAMES
from nearfar.data.table import Table
from nearfar.data.tables import read_files
from nearfar.errors import UserError


def read_folder(folder: Path, options: DataOptions) -> Table:
    """Samples of a folder: its parquet files if it has any, else all images below it, else all recordings, else all CSV and TSV
    files, one a series.

    Raises:
        UserError: if the folder is empty or holds none of these.
    """
    name = folder.resolve().name
    tables = sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))
    if tables:
        return read_files(tables, name, options)
    files = _visible_files(folder)
    if not files:
        raise UserError(f"The folder {folder} is empty; expected images, recordings, CSV files or parquet files in it.")
    for endings in (IMAGE_ENDINGS, SOUND_ENDINGS, SERIES_ENDINGS):
        chosen = [path for path in files if path.suffix.lower() in endings]
        if chosen:
            return _table(folder, name, chosen)
    there = ", ".join(f"{count} {ending or 'without ending'}" for ending, count in Counter(p.suffix for p in files).most_common(5))
    raise UserError(f"The folder {folder} holds no image, sound, CSV or parquet file; it holds files that end in: {there}.")


def _visible_files(folder: Path) -> list[Path]:
    found = []
    for where, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(where) / name for name in sorted(files) if not name.startswith(".")]
    return found


def _table(folder: Path, name: str, paths: Sequence[Path]) -> Table:
    start = 0 if folder == Path() else len(os.path.join(folder, ""))  # the paths' own text: there may be very many
    ids = [str(path)[start:].replace(os.sep, "/") for path in paths]
    if paths[0].suffix.lower() in SERIES_ENDINGS:
        table = Table(name, ids, SeriesFiles(paths, ids, name))
    else:
        kind = Recordings if paths[0].suffix.lower() in SOUND_ENDINGS else Pictures
        table = Table(name, ids, kind(lambda rows: [paths[row] for row in rows], ids, tuple(file_facts(paths)), name))
    above = [tuple(one.split("/")[:-1]) for one in ids]
    if any(parts and parts[0].lower() in TRAIN_NAMES for parts in above):
        table.part = [parts[0] if parts else "" for parts in above]
        above = [parts[1:] for parts in above]
    if all(above):  # every file lies in a folder: these are the classes
        table.columns = {"label": np.array([parts[0] for parts in above])}
        table.label = "label"
    return table
