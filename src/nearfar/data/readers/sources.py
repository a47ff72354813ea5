"""From a name or a path to the reader that knows it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nearfar import found, own
from nearfar.data.content.files.encoded import UnreadableError
from nearfar.data.content.files.npy import NPY_ENDING, shape_of
from nearfar.data.content.files.opener import is_address
from nearfar.data.options import DataOptions
from nearfar.data.readers import catalogue
from nearfar.data.readers.endings import kind_of
from nearfar.data.readers.objects import read_given
from nearfar.data.tables.names import as_text
from nearfar.data.tables.rows import condition_of, where
from nearfar.data.tables.table import Table
from nearfar.errors import UserError, unknown_name

FILE_ENDINGS = (".parquet", ".npz", ".npy", ".csv", ".tsv")


def read(data: Any, options: DataOptions) -> Table:
    """The rows of a data set, by name or path; ``NAME#COLUMN=VALUE`` takes those with that value
    alone. What is no text is an object of the user's own, as ``read_given`` takes it.

    Raises:
        UserError: for an unknown name, a path that does not exist, a file of another kind, or a
            condition that no row meets.
    """
    if not isinstance(data, str | Path):
        return read_given(data, options)
    name, condition = condition_of(str(data))
    if condition is None or _exists(str(data)):
        return _read(data, options)
    return where(_read(name, options), *condition)


def _read(data: str | Path, options: DataOptions) -> Table:
    _check_name(str(data))
    if own.is_own(data):
        return read_given(own.handed("data", str(data)), options)
    if isinstance(data, str):
        table = _read_named(data, options)
        if table is not None:
            if _exists(data):
                table.notes.append(
                    f"{data} is the set that comes with nearfar; for the file or folder of that "
                    f"name give ./{data}."
                )
            return table
    if is_address(str(data)) or (str(data).endswith(".tar") and "{" in str(data)):
        from nearfar.data.readers.files.shards import read_shards

        return read_shards(str(data), options)
    if not _exists(str(data)):
        raise _not_found(str(data))
    path = Path(data).expanduser()
    if path.is_dir():
        from nearfar.data.readers.folders import read_folder

        return read_folder(path, options)
    if path.is_file():
        return _read_file(path, options)
    raise UserError(f"{path} is neither a file nor a folder; expected data in one of these.")


def _check_name(data: str) -> None:
    """Refuse names that could be neither written down nor be a path."""
    if not data.strip():
        raise UserError(
            "The name of the data is empty; give a path, or a name from `nearfar datasets`."
        )
    if "\0" in data:
        raise UserError(f"{data} is no name of data: it holds a zero byte.")
    try:
        data.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            f"The path {as_text(data)} is not valid UTF-8, so no run could remember it; rename it."
        ) from error


def _exists(data: str) -> bool:
    try:
        return Path(data).expanduser().exists()
    except (OSError, RuntimeError):
        return False


def _read_named(name: str, options: DataOptions) -> Table | None:
    """The rows of a set known by name; None if it is no such name."""
    prefix = next((p for p in catalogue.PREFIXES if name.startswith(p)), None)
    rest = name.removeprefix(prefix) if prefix else name
    if prefix == catalogue.TORCHVISION:
        from nearfar.data.readers.torchvision_sets import read_torchvision

        return read_torchvision(rest)
    if prefix == catalogue.HUGGING_FACE:
        from nearfar.data.readers.hugging_face import read_hugging_face

        return read_hugging_face(rest, options)
    if prefix == catalogue.AEON:
        from nearfar.data.readers.aeon_sets import read_aeon

        return read_aeon(rest, options)
    if prefix == catalogue.GENECIS:
        from nearfar.data.readers.genecis import read_genecis

        return read_genecis(rest)
    if name in catalogue.EMBEDDED:
        module, _, function = catalogue.EMBEDDED[name].partition(":")
        made: Table = getattr(importlib.import_module(f"nearfar.data.made.{module}"), function)()
        return made
    if name in found.names_in("nearfar.data.made", "read"):
        own: Table = found.part_in("nearfar.data.made", name, "read", "data set", Callable)()
        return own
    return None


def _read_file(path: Path, options: DataOptions) -> Table:
    ending = path.suffix.lower()
    if ending == ".npz":
        from nearfar.data.readers.npz import read_npz

        return read_npz(path, options)
    if ending == ".parquet":
        from nearfar.data.readers.proteins import is_proteins, read_proteins

        if is_proteins(path):
            return read_proteins(path)
    if kind_of(path) == "structure":
        from nearfar.data.readers.proteins import read_structures

        return read_structures([path], as_text(path.stem), path.parent, strict=options.strict)
    if kind_of(path) == "shard":
        from nearfar.data.readers.files.shards import read_shards

        return read_shards(str(path), options)
    if ending == NPY_ENDING and not _is_sample(path, options):
        from nearfar.data.readers.npz import read_array

        return read_array(path, options)
    if ending in FILE_ENDINGS and ending != NPY_ENDING:
        from nearfar.data.tables.tables import read_files

        return read_files([path], path.stem, options)
    if kind_of(path) in ("image", "sound", "array", "scan", "clip", "cloud"):
        from nearfar.data.readers.folders import read_alone

        return read_alone(path, options)
    raise UserError(
        f"{path} is a single {ending or 'nameless'} file; expected a folder, or a file that ends "
        f"in {', '.join(FILE_ENDINGS)}."
    )


def _is_sample(path: Path, options: DataOptions) -> bool:
    """Whether a .npy file is one sample for an encoder, and not an array of samples."""
    try:
        shape, _ = shape_of(path)
    except UnreadableError as error:
        raise UserError(
            f"{path} cannot be read as .npy ({str(error) or 'it is damaged'}); save it with "
            "numpy.save."
        ) from error
    return options.likely is not None and len(shape) <= len(options.likely.shape)


def _not_found(name: str) -> UserError:
    if "/" in name or Path(name).suffix:
        return UserError(
            f"The path {name} does not exist; give an existing folder or file, or a name from "
            f"`nearfar datasets`."
        )
    for known in catalogue.names():
        if known.rpartition(":")[2].casefold() == name.casefold():
            return UserError(f"Unknown data {name!r}: did you mean {known}?")
    return unknown_name("data", name, catalogue.names())
