"""What a file holds, brought back to typed values: anything that does not fit is one sentence about the file."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from nearfar.errors import UserError, unknown_name
from nearfar.ranges import checked

T = TypeVar("T")


def record(kind: type[T], values: Any, where: str) -> T:
    """A dataclass from the mapping that a file holds.

    Args:
        kind: A dataclass; its type hints say what each field takes. A missing number is NaN, as JSON writes it null.
        values: What was read.
        where: The file and the place in it, for the error.

    Raises:
        UserError: If the values are no mapping, a field is missing, unknown or of another type.

    >>> record(dataclasses.make_dataclass("Point", [("x", float)]), {"x": 1}, "point.json")
    Point(x=1.0)
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{where} holds a {type(values).__name__}; expected a table of names and values.")
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in fields:
            raise unknown_name(f"field in {where}", str(name), fields)
    for name, field in fields.items():
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and name not in values:
            raise UserError(f"{where} lacks {name}; the file was cut or changed by hand: restore it.")
    found = {name: _value(hints[name], f"{name} in {where}", value) for name, value in values.items()}
    return kind(**found)


def _value(hint: Any, what: str, value: Any) -> Any:
    if hint is float and (value is None or (isinstance(value, float) and math.isnan(value))):
        return math.nan
    return checked(hint, what, value)


def field_of(values: Any, name: str, hint: Any, where: str) -> Any:
    """One field of a mapping that a file holds.

    Raises:
        UserError: If the values are no mapping, or the field is missing or of another type.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{where} holds a {type(values).__name__}; expected a table of names and values.")
    if name not in values:
        raise UserError(f"{where} lacks {name}; the file was cut or changed by hand: restore it.")
    return checked(hint, f"{name} in {where}", values[name])
