"""Folders of images, recordings or series, with or without folders for parts and classes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from nearfar.data.cache import file_facts
from nearfar.data.content.files.points import CloudFiles
from nearfar.data.content.pictures import Pictures
from nearfar.data.content.recordings import Recordings
from nearfar.data.content.series import SeriesFiles
from nearfar.data.options import DataOptions
from nearfar.data.readers.endings import KINDS, ending_of, kind_of
from nearfar.data.readers.files.array_files import arrays_in
from nearfar.data.readers.files.shards import read_shards
from nearfar.data.readers.files.volumes import pages_in, scans_in, videos_in
from nearfar.data.readers.walk import Found, files_below
from nearfar.data.split import (
    EXTRA_NAMES,
    TEST_NAMES,
    TRAIN_NAMES,
    are_both_parts,
    part_word,
)
from nearfar.data.tables.names import as_text, as_texts, listed
from nearfar.data.tables.table import Table
from nearfar.data.tables.tables import is_embeddings, read_files
from nearfar.errors import UserError

_COMPANIONS = {
    "",
    ".md",
    ".txt",
    ".json",
    ".yaml",
    ".yml",
    ".html",
    ".py",
    ".log",
    ".toml",
    ".pdf",
    ".ini",
    ".license",
}
"""Endings of files that usually lie beside data; they are counted, and no note is made of them."""

Parts = tuple[str, ...]
_READERS: Mapping[str, Callable[[Sequence[Path], Sequence[str], str, DataOptions], Table]] = {
    "array": arrays_in,
    "scan": scans_in,
    "clip": videos_in,
    "cloud": lambda paths, ids, name, options: Table(name, list(ids), CloudFiles(paths, ids, name)),
}
"""Readers of files of which each is a kind of sample of its own."""


def read_folder(folder: Path, options: DataOptions) -> Table:
    """Samples of a folder: of images, recordings, CSV or TSV files (one a series) and parquet files
    below it, the kind with most files.

    Raises:
        UserError: if the folder is empty or holds none of these.
    """
    name = as_text(folder.resolve().name)
    found = files_below(folder)
    _drop_embeddings(found)
    by_kind = Counter(kind for kind in map(kind_of, found.paths) if kind is not None)
    if not by_kind:
        raise _nothing(folder, found)
    kind = max(KINDS, key=lambda one: by_kind[one])  # the first of equals
    chosen = [path for path in found.paths if kind_of(path) == kind]
    others = [path for path in found.paths if kind_of(path) != kind]
    if kind == "table":
        table = read_files(chosen, name, options, folder)
    elif kind == "structure":
        from nearfar.data.readers.proteins import read_structures

        table = read_structures(chosen, name, folder, strict=options.strict)
    elif kind == "shard":
        table = read_shards(str(folder), options, name, chosen)
    else:
        table = _table(folder, name, chosen, kind, options)
    table.left_out.update(found.left_out)
    table.left_out.update(f"{ending_of(path) or 'nameless'} files" for path in others)
    table.notes += _notes(table.name, kind, others, found)
    return table


def read_alone(path: Path, options: DataOptions) -> Table:
    """A single image, array or recording as data, for an encoder that is trained already."""
    kind = str(kind_of(path))
    return _table(path.parent, as_text(path.stem), [path], kind, options, labelled=False)


def read_listed(paths: Sequence[Path], name: str, options: DataOptions) -> Table:
    """Samples of files of one kind in the order in which they are listed, by their paths.

    Raises:
        UserError: if a file is not there, or they are of several kinds or none that can be read.
    """
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise UserError(f"There is no file {missing}, which {name} lists; give paths that exist.")
    kinds = {kind_of(path) for path in paths}
    kind = kinds.pop()
    if kinds or kind is None:
        endings = Counter(ending_of(path) or "without ending" for path in paths).most_common(5)
        told = ", ".join(f"{count} {ending}" for ending, count in endings)
        raise UserError(
            f"The files of {name} are {told}; expected images, recordings, series or tables "
            "throughout."
        )
    if kind == "table":
        return read_files(paths, name, options)
    if kind == "structure":
        from nearfar.data.readers.proteins import read_structures

        return read_structures(list(paths), name, Path(), strict=options.strict)
    return _table(Path(), name, paths, kind, options, labelled=False)


def _nothing(folder: Path, found: Found) -> UserError:
    if not found.paths:
        counts = _counted(found.left_out)
        but = f" but {counts}" if counts else ""
        return UserError(
            f"The folder {folder} is empty{but}; expected images, recordings, CSV files, parquet "
            f"files or structures in it."
        )
    endings = Counter(ending_of(path) for path in found.paths).most_common(5)
    there = ", ".join(f"{count} {ending or 'without ending'}" for ending, count in endings)
    arrays = [path for path in found.paths if ending_of(path) == ".npz"]
    hint = f"; name the file {arrays[0]} itself" if arrays else ""
    return UserError(
        f"The folder {folder} holds no image, sound, CSV, parquet or structure file; it holds "
        f"files that end in: {there}{hint}."
    )


def _drop_embeddings(found: Found) -> None:
    """Leave out what ``nearfar embed`` wrote; its parquet files look like data."""
    ours = {path for path in found.paths if ending_of(path) == ".parquet" and is_embeddings(path)}
    if ours:
        found.paths = [path for path in found.paths if path not in ours]
        found.left_out["embeddings that nearfar wrote"] += len(ours)


def _notes(name: str, kind: str, others: Sequence[Path], found: Found) -> list[str]:
    """What lies beside the files that are read."""
    data = [path for path in others if ending_of(path) not in _COMPANIONS]
    counts = Counter(f"{ending_of(path)} files" for path in data)
    counts.update(found.left_out)
    if not counts:
        return []
    notes = [f"{name} is read as a folder of {_PLURALS[kind]}; left out: {_counted(counts)}."]
    lists = [path for path in data if kind_of(path) == "series"]
    if kind in ("image", "sound") and lists:
        first = listed([as_text(path.name) for path in lists])
        notes.append(
            f"{first} is not used; if it lists the files with their labels, give its path as "
            f"--data."
        )
    return notes


_PLURALS = {
    "image": "images",
    "sound": "recordings",
    "series": "series",
    "table": "parquet files",
    "structure": "structure files",
    "array": "arrays",
    "scan": "medical volumes",
    "clip": "videos",
    "cloud": "clouds of points",
    "shard": "shards",
}


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.most_common())


def _table(
    folder: Path,
    name: str,
    paths: Sequence[Path],
    kind: str,
    options: DataOptions,
    *,
    labelled: bool = True,
) -> Table:
    start = (
        0 if folder == Path() else len(os.path.join(folder, ""))
    )  # the paths' own text: there may be very many
    ids = as_texts([str(path)[start:].replace(os.sep, "/") for path in paths])
    if kind == "series":
        table = Table(name, ids, SeriesFiles(paths, ids, name))
    elif kind in _READERS:
        table = _READERS[kind](paths, ids, name, options)
    elif kind == "image" and options.volumes in ("slices", "whole"):
        table = pages_in(paths, ids, name, options)
    else:
        content = Recordings if kind == "sound" else Pictures
        table = Table(
            name,
            ids,
            content(lambda rows: [paths[row] for row in rows], ids, tuple(file_facts(paths)), name),
        )
    if not labelled:
        return table
    above = [tuple(one.split("/")[:-1]) for one in table.ids]
    above, notes = _unwrapped(name, above)
    parts, note = _parts(above)
    table.notes += [*notes, *note]
    if parts:
        table.part = [part_word(one[0]) or one[0] if one else "" for one in above]
        above = [one[1:] for one in above]
    _set_classes(table, above)
    return table


def _unwrapped(name: str, above: Sequence[Parts]) -> tuple[list[Parts], list[str]]:
    """The folders above each file without a first one that holds all others, as archives have it,
    and what to say of that."""
    found = list(above)
    wrapping = []
    while len({one[:1] for one in found}) == 1 and all(len(one) > 1 for one in found):
        wrapping.append(found[0][0])
        found = [one[1:] for one in found]
    if not wrapping:
        return found, []
    path = "/".join(wrapping)
    return found, [f"All files of {name} lie below {path}, so the folders in that are looked at."]


def _parts(above: Sequence[Parts]) -> tuple[bool, list[str]]:
    """Whether the folders at the top are parts (train, test) and not classes, and what to say of
    it."""
    top = {one[0] for one in above if one}
    lower = {name.lower() for name in top}
    words = {name: part_word(name) for name in lower}
    if all(words.values()) and are_both_parts(words.values()):
        return True, []
    train = lower & set(TRAIN_NAMES)
    test = lower & set(TEST_NAMES)
    others = lower - train - test - set(EXTRA_NAMES)
    if not train:
        return False, []
    nested = any(one[0].lower() in TRAIN_NAMES and len(one) > 1 for one in above if one)
    if not others or (test and nested):
        return True, []
    if not test and nested:
        return True, [
            f"The folder {' and '.join(sorted(train))} is taken as the training part, because it "
            f"holds folders."
        ]
    names = " and ".join(sorted(train | test))
    return False, [
        f"The folders {names} are taken as classes, because {listed(sorted(others))} lie beside "
        f"them."
    ]


def _set_classes(table: Table, above: Sequence[Parts]) -> None:
    """Take the folders of the files as labels, if every file (of some part) lies in one."""
    if not any(above):
        return
    if all(above):
        labels = [one[0] for one in above]
    else:
        parts = table.part or [""] * len(above)
        within: dict[str, list[bool]] = {}
        for part, one in zip(parts, above, strict=True):
            within.setdefault(part, []).append(bool(one))
        count = sum(not one for one in above)
        if len(within) < 2 or any(any(those) and not all(those) for those in within.values()):
            said = (
                f"The folders of {table.name} are not used as labels: "
                f"{count:,} of {len(above):,} files lie in none of them."
            )
            table.notes.append(said)
            return
        labels = [one[0] if one else "" for one in above]
    table.columns = {**table.columns, "label": np.array(labels, dtype=object)}
    deeper = sum(len(one) > 1 for one in above)
    if deeper:
        table.notes.append(
            f"The classes of {table.name} are its first folders; the folders in those, which hold "
            f"{deeper:,} of {len(above):,} files, are not used."
        )
    table.label = "label"
