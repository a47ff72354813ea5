"""Writing files so that a reader never sees half of one and nothing finished is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nearfar.errors import UserError


@contextmanager
def replacing(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path beside ``path``; when the block ends well it takes the name ``path``, otherwise it is removed.

    Raises:
        UserError: if ``path`` exists and ``overwrite`` is false.
    """
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists already; choose another name or remove it first.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, overwrite: bool = False) -> None:
    """Write a whole text file as ``replacing`` does."""
    with replacing(path, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")
