"""The decoded cache: an array that is made once, memory-mapped ever after.

An entry is a folder named after a hash of what it was made from, with ``content.npy`` and
``about.json``. It is written under a temporary name and renamed, so it is there whole or not at
all; of two processes that make the same entry, the second keeps the first one's.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nearfar.data.cache_folder import cache_folder
from nearfar.errors import UserError

_DIGEST = "digest of the content"
_WHOLE = 1 << 30
"""Bytes up to which all of an entry is checked when it is read."""
_LOOKS = 4096
_SHARE = 0.9
"""Of the free space that one entry may take."""

Make = Callable[[BinaryIO], dict[str, Any]]


def key_of(*facts: object) -> str:
    """A name for an entry from all that it depends on; each fact must have a ``repr`` that tells it
    apart."""
    digest = hashlib.blake2b(digest_size=16)
    for fact in facts:
        digest.update(repr(fact).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def file_facts(paths: Iterable[Path]) -> Iterator[tuple[str, int, int, int, int]]:
    """What tells a changed file: its path in its resolved folder, its size in bytes, its number on
    the disk, when its content was last written and when anything of it last changed, in
    nanoseconds. The last of these no program can set, so a file that was written anew and given its
    old time is told from what it was."""
    folders: dict[str, str] = {}  # each is resolved once, as there may be very many files in it
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        state = os.stat(path)
        yield (
            os.path.join(folders[folder], name),
            state.st_size,
            state.st_ino,
            state.st_mtime_ns,
            state.st_ctime_ns,
        )


def remembered(
    key: str, make: Make, folder: Path | None = None
) -> tuple[NDArray[Any], dict[str, Any]]:
    """The array and the facts of an entry, made now if it is not there.

    Args:
        key: the entry's name.
        make: writes the array to an open .npy file (see ``write_blocks``) and returns facts for
            JSON.
        folder: where entries are kept; by default "decoded" in the machine's cache.

    Returns:
        The array, memory-mapped copy-on-write (changes to it never reach the file), and the facts.

    Raises:
        UserError: if the folder cannot be written (no space, no permission).
    """
    entry = (folder or cache_folder() / "decoded") / key
    existed = entry.is_dir()
    found = _read(entry)
    if found is None:
        if existed:  # a damaged entry is made anew
            shutil.rmtree(entry, ignore_errors=True)
        try:
            _make(entry, make)
        except OSError as error:
            raise UserError(
                f"Cannot write decoded data to {entry.parent}: {error.strerror or error}; "
                "free some space there or set NEARFAR_CACHE to another folder."
            ) from error
        found = _read(entry)
        if found is None:
            raise UserError(
                f"The decoded data in {entry} cannot be read; remove that folder, or set "
                f"NEARFAR_CACHE to another."
            )
    return found


def has_room(key: str, size: int, folder: Path | None = None) -> bool:
    """Whether an entry is there already, or the disk has room for one.

    Args:
        key: the entry's name.
        size: of it in bytes.
        folder: as for ``remembered``.
    """
    home = folder or cache_folder() / "decoded"
    if (home / key).is_dir():
        return True
    above = home.absolute()
    while not above.exists() and above != above.parent:
        above = above.parent
    try:
        return size < _SHARE * shutil.disk_usage(above).free
    except OSError:  # whoever writes there tells why it cannot be
        return True


def _read(entry: Path) -> tuple[NDArray[Any], dict[str, Any]] | None:
    """The array and the facts of an entry; None if it is not there, or is not as it was written."""
    content = entry / "content.npy"
    try:
        about = json.loads((entry / "about.json").read_text(encoding="utf-8"))
        array = np.load(content, mmap_mode="c", allow_pickle=False)
        digest = _digest(content)
    except (OSError, ValueError, EOFError):
        return None
    if not isinstance(about, dict) or about.pop(_DIGEST, digest) != digest:
        return None
    return array, about


def _digest(content: Path) -> str:
    """Of a file's bytes, or of a large file's length, first and last bytes and evenly spaced ones
    between."""
    digest = hashlib.blake2b(digest_size=16)
    size = content.stat().st_size
    digest.update(str(size).encode())
    with content.open("rb") as file:
        if size <= _WHOLE:
            while block := file.read(1 << 20):
                digest.update(block)
        else:
            for start in range(0, size, size // _LOOKS):
                file.seek(start)
                digest.update(file.read(1 << 12))
    return digest.hexdigest()


def _make(entry: Path, make: Make) -> None:
    temporary = entry.with_name(f".{entry.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        temporary.mkdir(parents=True, exist_ok=True)
        with (temporary / "content.npy").open("wb") as file:
            about = make(file)
        about = {**about, _DIGEST: _digest(temporary / "content.npy")}
        (temporary / "about.json").write_text(json.dumps(about), encoding="utf-8")
        try:
            os.rename(temporary, entry)
        except OSError:
            if not entry.is_dir():  # otherwise another process was faster, with the same content
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_blocks(
    file: BinaryIO, shape: tuple[int, ...], dtype: Any, blocks: Iterable[NDArray[Any]]
) -> None:
    """Write an array of known shape as .npy, block by block along the first axis.

    A plain write reports a full disk as an error; a memory-mapped one would kill the process.
    """
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]
    for block in blocks:
        file.write(np.ascontiguousarray(block, dtype=dtype).tobytes())
