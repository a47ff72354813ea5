"""Words of the command line before they are parsed."""

from __future__ import annotations

from collections.abc import Collection

from nearfar.errors import UserError


def named_values(words: list[str], options: Collection[str]) -> list[str]:
    """The words with a named value, ``--start-from.teacher RUN``, as ``--start-from teacher=RUN``.

    Args:
        words: Of the command line.
        options: Names of the options that take named values.

    Example:
        >>> named_values(["simclr", "--start-from.teacher", "runs/a"], ["start-from"])
        ['simclr', '--start-from', 'teacher=runs/a']

    Raises:
        UserError: If one has no value.
    """
    found: list[str] = []
    waiting = ""
    for word in words:
        option, dot, rest = word.removeprefix("--").partition(".")
        if waiting:
            found.append(f"{waiting}={word}")
            waiting = ""
        elif word.startswith("--") and dot and option in options:
            name, equals, value = rest.partition("=")
            found.append(f"--{option}")
            if equals:
                found.append(f"{name}={value}")
            else:
                waiting = name
        else:
            found.append(word)
    if waiting:
        raise UserError(f"{found[-1]}.{waiting} has no value; give one behind it.")
    return found
