"""What a file holds, brought back to typed values: anything that does not fit is one sentence about
the file.
"""

from __future__ import annotations

import dataclasses
import json
import math
import stat
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from nearfar.errors import UserError, unknown_name
from nearfar.ranges import checked

T = TypeVar("T")

MOST_BYTES = 64 << 20
"""The largest file of text that is read; what nearfar writes is far smaller."""
MOST_LEVELS = 50
"""How deep tables and lists may lie in each other; what nearfar writes has six levels."""


def read_text(path: Path, mend: str, *, most: int = MOST_BYTES) -> str:
    """The text of a file that a run, an encoder or an index consists of.

    Args:
        path: The file.
        mend: What to do where it cannot be read, for the error.
        most: The largest size in bytes.

    Raises:
        UserError: If it is missing, is no file (a folder, a pipe, a broken link), is too large or
            is not UTF-8.
    """
    check_file(path, mend, most=most)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}; {mend}.") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is damaged: it is not UTF-8 (byte {error.start:,}); {mend}."
        ) from error


def check_file(path: Path, mend: str, *, most: int | None = None) -> None:
    """Refuse what would block or never end when it is read.

    Raises:
        UserError: If there is no such file, it is something else (a folder, a pipe, a device), or
            it is larger than ``most`` bytes.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"Cannot read {path}: {reason}; {mend}.") from error
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{path} is no file; {mend}.")
    if most is not None and found.st_size > most:
        raise UserError(f"{path} has {found.st_size:,} bytes; expected at most {most:,}; {mend}.")


def read_json(path: Path, mend: str) -> Any:
    """The values in a JSON file; arguments and errors as for ``read_text``, and another for what is
    no JSON.
    """
    return parsed_json(read_text(path, mend), str(path), mend)


def parsed_json(text: str, where: str, mend: str) -> Any:
    """The values in a text of JSON; ``where`` names the file and ``mend`` what to do, for the
    error.

    Raises:
        UserError: If it is no JSON, or is nested deeper than ``MOST_LEVELS``.
    """
    try:
        values = json.loads(text)
    except RecursionError as error:
        raise UserError(f"{where} is damaged: it is nested too deep; {mend}.") from error
    except ValueError as error:
        raise UserError(f"{where} is damaged: it is no JSON ({error}); {mend}.") from error
    check_depth(values, where, mend)
    return values


def finite_number(value: Any) -> float | None:
    """A finite number as such; None for anything else that a damaged file may hold in its place.

    >>> finite_number(3), finite_number(10**400), finite_number("3")
    (3.0, None, None)
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def with_null(values: Any) -> Any:
    """Values for JSON that any reader takes: numbers that are not finite, which JSON does not have,
    are None.

    >>> with_null({"loss": math.nan, "each": [1.0, math.inf]})
    {'loss': None, 'each': [1.0, None]}
    """
    if isinstance(values, Mapping):
        return {name: with_null(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [with_null(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def with_nan(values: Any) -> Any:
    """What ``with_null`` gave, read back: None is NaN.

    >>> with_nan({"loss": None, "each": [1.0, None]})
    {'loss': nan, 'each': [1.0, nan]}
    """
    if isinstance(values, dict):
        return {name: with_nan(value) for name, value in values.items()}
    if isinstance(values, list):
        return [with_nan(value) for value in values]
    return math.nan if values is None else values


def check_depth(values: Any, where: str, mend: str) -> None:
    """Refuse tables and lists that lie deeper in each other than ``MOST_LEVELS``.

    Raises:
        UserError: If they do.
    """
    level = [values]
    for _ in range(MOST_LEVELS):
        level = [inner for one in level for inner in _inner(one)]
        if not level:
            return
    raise UserError(f"{where} is damaged: it is nested deeper than {MOST_LEVELS} levels; {mend}.")


def _inner(value: Any) -> list[Any]:
    """The tables and lists directly inside a value."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, dict | list)]


def record(kind: type[T], values: Any, where: str) -> T:
    """A dataclass from the mapping that a file holds.

    Args:
        kind: A dataclass; its type hints say what each field takes. A missing number is NaN, as
            JSON writes it null.
        values: What was read.
        where: The file and the place in it, for the error.

    Raises:
        UserError: If the values are no mapping, a field is missing, unknown or of another type.

    >>> record(dataclasses.make_dataclass("Point", [("x", float)]), {"x": 1}, "point.json")
    Point(x=1.0)
    """
    if not isinstance(values, Mapping):
        raise UserError(
            f"{where} holds a {type(values).__name__}; expected a table of names and values."
        )
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in fields:
            raise unknown_name(f"field in {where}", str(name), fields)
    for name, field in fields.items():
        needed = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if needed and name not in values:
            raise UserError(
                f"{where} lacks {name}; the file was cut or changed by hand: restore it."
            )
    found = {
        name: _value(hints[name], f"{name} in {where}", value) for name, value in values.items()
    }
    return kind(**found)


def _value(hint: Any, what: str, value: Any) -> Any:
    parts = typing.get_args(hint)
    held_kind = parts[1] if typing.get_origin(hint) is dict else None
    if isinstance(held_kind, type) and dataclasses.is_dataclass(held_kind):
        held = checked(dict[str, Any], what, value)
        return {name: record(held_kind, one, f"{name} of {what}") for name, one in held.items()}
    if hint is float and (value is None or (isinstance(value, float) and math.isnan(value))):
        return math.nan
    return checked(hint, what, value)


def field_of(values: Any, name: str, hint: Any, where: str) -> Any:
    """One field of a mapping that a file holds.

    Raises:
        UserError: If the values are no mapping, or the field is missing or of another type.
    """
    if not isinstance(values, Mapping):
        raise UserError(
            f"{where} holds a {type(values).__name__}; expected a table of names and values."
        )
    if name not in values:
        raise UserError(f"{where} lacks {name}; the file was cut or changed by hand: restore it.")
    return checked(hint, f"{name} in {where}", values[name])
