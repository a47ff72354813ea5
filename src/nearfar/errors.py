"""The one exception that means "you can mend this", how a wrong name is answered, and how a number
of things is said.
"""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterable

_LONGEST_NAME = 200
"""Longer names are not compared with the valid ones, which takes time with the square of the
length.
"""
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters but tab and line feed, marks that turn the direction of writing, and halves of
surrogate pairs.
"""


def printable(text: object) -> str:
    """A text that a terminal shows as it is: each control character is spelled out, so that no name
    can steer the terminal.

    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return _UNPRINTABLE.sub(
        lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), str(text)
    )


class _Brief(reprlib.Repr):
    """``repr`` of any value in a line: long texts and lists are cut, and what cannot be written is
    named by its type.
    """

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 200

    def repr_int(self, value: int, level: int) -> str:
        """A whole number; one of thousands of digits by its bits, as Python writes no such
        number.
        """
        bits = value.bit_length()
        return (
            repr(value) if bits < 400 else f"{'-' if value < 0 else ''}(a number of {bits:,} bits)"
        )


_BRIEF = _Brief()


def brief(value: object) -> str:
    """What a value is, short enough for a sentence, whatever its size and depth.

    >>> brief([1, 2.5, "a"])
    "[1, 2.5, 'a']"
    >>> brief("a" * 1000) == repr("a" * 1000)
    False
    """
    return _BRIEF.repr(value)


class UserError(ValueError):
    """A mistake of the user's: one sentence that names the thing, what was found, what was expected
    and how to mend it.

    The command line prints it without a traceback and exits with 2; everything else is a defect of
    ours (exit code 1). Its text is ``printable``, as it may hold names that come from data.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


_MOST_NAMES = 100
"""So many names an error lists."""


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> UserError:
    """The error for a name that is not in ``valid``, with the nearest valid names.

    Args:
        kind: what is named, as the user would call it ("method", "encoder", "setting").
        name: what was given.
        valid: all names that would have been accepted.
    """
    names = sorted(valid)
    near = (
        difflib.get_close_matches(name, names, n=3, cutoff=0.5) if len(name) < _LONGEST_NAME else []
    )
    more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else f"valid names: {', '.join(names[:_MOST_NAMES])}{more}."
    )
    return UserError(f"Unknown {kind} {brief(name)}: {hint}")


def counted(number: float, one: str, several: str = "") -> str:
    """A whole number with its noun.

    Args:
        number: How many.
        one: The noun, or several words that end with it.
        several: The plural; by default the noun with an s.

    Example:
        >>> counted(1, "class", "classes"), counted(1200, "seed")
        ('1 class', '1,200 seeds')
    """
    return f"{number:,.0f} {one if number == 1 else several or f'{one}s'}"
