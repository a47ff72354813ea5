"""Bytes of files that lie here or elsewhere: plain paths, and addresses through fsspec."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nearfar.errors import UserError

__all__ = ["expanded", "facts_of", "is_address", "opened", "part_of_file", "tars_at"]

_ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST_SHARDS = 100_000


def is_address(data: str) -> bool:
    """Whether a name is an address such as ``s3://bucket/shards``.

    Example:
        >>> is_address("s3://bucket/a.tar"), is_address("photos/a.tar")
        (True, False)
    """
    return bool(_ADDRESS.match(data))


def expanded(name: str) -> list[str]:
    """The names for which a name with a range in braces stands.

    Example:
        >>> expanded("train-{08..10}.tar")
        ['train-08.tar', 'train-09.tar', 'train-10.tar']

    Raises:
        UserError: For a range that is empty or too long.
    """
    found = _RANGE.search(name)
    if found is None:
        return [name]
    first, last = int(found[1]), int(found[2])
    if not 0 <= last - first < _MOST_SHARDS:
        raise UserError(
            f"The range {found[0]} in {name} stands for {last - first + 1:,} files; expected 1 to "
            f"{_MOST_SHARDS:,}."
        )
    width = len(found[1])
    names = [
        f"{name[: found.start()]}{number:0{width}d}{name[found.end() :]}"
        for number in range(first, last + 1)
    ]
    return [one for name in names for one in expanded(name)]


def tars_at(address: str) -> list[str]:
    """The .tar files at an address: itself, or those right below a folder, in order.

    Raises:
        UserError: If there are none.
    """
    if address.endswith(".tar"):
        return expanded(address)
    system, path = _system(address)
    with _told(address):
        listed = sorted(system.glob(path.rstrip("/") + "/*.tar"))
    if not listed:
        raise UserError(
            f"{address} holds no .tar file; give the address of a .tar file, of a folder of such, "
            "or a range as in train-{000..099}.tar. Copy other kinds of files to this machine."
        )
    return [str(system.unstrip_protocol(one)) for one in listed]


@contextmanager
def opened(name: str) -> Iterator[Any]:
    """A file for reading, by its path or address."""
    with _told(name):
        if not is_address(name):
            with open(name, "rb") as file:
                yield file
            return
        system, path = _system(name)
        with system.open(path, "rb") as file:
            yield file


def part_of_file(name: str, start: int, length: int) -> bytes:
    """Some bytes of a file."""
    if not is_address(name):
        with opened(name) as file:
            file.seek(start)
            return bytes(file.read(length))
    system, path = _system(name)
    with _told(name):
        return bytes(system.cat_file(path, start=start, end=start + length))


def facts_of(name: str) -> tuple[str, str]:
    """What tells a changed file at an address: the address, and what its system says of it."""
    system, path = _system(name)
    with _told(name):
        about = system.info(path)
    told = {
        key: about[key]
        for key in ("size", "ETag", "etag", "mtime", "LastModified", "created")
        if key in about
    }
    return name, repr(sorted((key, str(value)) for key, value in told.items()))


def _system(address: str) -> tuple[Any, str]:
    if importlib.util.find_spec("fsspec") is None:
        raise UserError(f"{address} needs fsspec: pip install 'nearfar[remote]'.")
    try:
        system, path = importlib.import_module("fsspec.core").url_to_fs(address)
    except ImportError as error:  # of the library of one kind of address
        raise UserError(f"{address} cannot be opened: {_brief(error)}.") from error
    except ValueError as error:
        raise UserError(f"{address} is no address that fsspec knows: {_brief(error)}.") from error
    return system, str(path)


@contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"There is no file {name}; give one that exists.") from error
    except (OSError, PermissionError) as error:
        raise UserError(f"{name} cannot be read ({_brief(error)}).") from error


def _brief(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
