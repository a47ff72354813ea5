"""Writing files so that a reader never sees half of one and nothing finished is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nearfar.errors import UserError


class NotWrittenError(UserError, OSError):
    """A file that could not be written, for a reason outside of nearfar: the disk is full, the
    folder is read-only ...
    """

    def __str__(self) -> str:
        return str(self.args[0])


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within the block, what the system refuses becomes one sentence about ``path``.

    Raises:
        NotWrittenError: in the place of an ``OSError`` of the system.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, UserError) or error.strerror is None:
            raise
        refused = NotWrittenError(
            f"Cannot write {path}: {error.strerror}; make room there, or choose another place with "
            "--output."
        )
        refused.errno = error.errno
        refused.strerror = error.strerror
        raise refused from error


@contextmanager
def replacing(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path beside ``path``; when the block ends well it takes the name ``path``,
    otherwise it is removed.

    Raises:
        UserError: if ``path`` exists and ``overwrite`` is false, or if it cannot be written.
    """
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists already; choose another name or remove it first.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, overwrite: bool = False) -> None:
    """Write a whole text file as ``replacing`` does."""
    with replacing(path, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_writable(folder: Path) -> None:
    """Find out before long work whether a file can be written to an existing folder.

    Raises:
        UserError: if not.
    """
    probe = folder / f".writable.{os.getpid()}.part"
    with writing(folder):
        try:
            probe.write_bytes(b"x")
        finally:
            probe.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what ``replacing`` was writing to the folder, or to one in it, when its process was
    killed.

    Nobody else may be writing there.
    """
    for left in [*folder.glob(".*.part"), *folder.glob("*/.*.part")]:
        left.unlink(missing_ok=True)
