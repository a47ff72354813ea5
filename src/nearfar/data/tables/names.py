"""Names that come from data, made into text that can be written and shown."""

from __future__ import annotations

import os
from collections.abc import Sequence

from nearfar.errors import printable


def as_text(name: str) -> str:
    """A name as valid, printable text: bytes that are no UTF-8 and control characters are spelled
    out.

    >>> as_text("caf\\udce9.png")
    'caf\\\\xe9.png'
    """
    try:
        return printable(os.fsencode(name).decode("utf-8", "backslashreplace"))
    except UnicodeEncodeError:  # halves of surrogate pairs that stand for no byte
        return printable(name)


def as_texts(names: Sequence[str]) -> list[str]:
    """``as_text`` of each name."""
    return [name if name.isascii() and name.isprintable() else as_text(name) for name in names]


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names of a list, and whether there are more."""
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")
