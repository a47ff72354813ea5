"""One grammar for parts with options: ``NAME``, ``NAME:VALUE`` or ``NAME:key=value,key=value``.

Schedules (``--schedule infinite:constant=0.3``), optimisers (``--optimizer adam:beta1=0.5``) and
preparations of data (``--with label-noise:rate=0.4``) are named so. A bare value behind the colon
is the first option's. Imports no torch.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from nearfar.errors import UserError, brief, unknown_name
from nearfar.ranges import checked, described

__all__ = ["Named", "made", "options_of", "parse"]

_FIRST = ""
"""The key of a bare value."""


@dataclasses.dataclass(frozen=True)
class Named:
    """A name with options as text.

    Attributes:
        name: Of the part.
        values: Its options; a bare value lies under "".
    """

    name: str
    values: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        told = [f"{key}={value}" if key else value for key, value in self.values.items()]
        return f"{self.name}:{','.join(told)}" if told else self.name


def parse(text: str, what: str) -> Named:
    """A part's name and options from text.

    Args:
        text: As the user wrote it.
        what: What it is, for the error ("The schedule").

    Example:
        >>> parse("degrade:bicubic,factor=4", "The preparation").values
        {'': 'bicubic', 'factor': '4'}

    Raises:
        UserError: If the text has no name, or an option comes twice.
    """
    name, _, rest = text.partition(":")
    name = name.strip()
    if not name:
        raise UserError(f"{what} is {brief(text)}; expected NAME or NAME:key=value,key=value.")
    values: dict[str, str] = {}
    for place, piece in enumerate(rest.split(",") if rest else ()):
        key, equals, value = piece.partition("=")
        if not equals:
            key, value = _FIRST, piece
        key = key.strip().replace("-", "_")
        if (not equals and place) or key in values:
            raise UserError(
                f"{what} {brief(text)} is not clear at {brief(piece)}; expected "
                "NAME:key=value,key=value, each key once."
            )
        values[key] = value.strip()
    return Named(name, values)


def options_of(kind: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """The options of a dataclass or of a function's keyword-only arguments: name to type and
    default.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    if isinstance(kind, type):
        fields = dataclasses.fields(kind)
        return {field.name: (hints[field.name], _default(field)) for field in fields if field.init}
    parameters = inspect.signature(kind).parameters.values()
    keyword = [one for one in parameters if one.kind is one.KEYWORD_ONLY]
    return {one.name: (hints[one.name], one.default) for one in keyword}


def made(kind: Callable[..., Any], given: Named, what: str) -> dict[str, Any]:
    """The options of a part as values of their types, held to their declared ranges.

    Args:
        kind: A dataclass, or a function whose keyword-only arguments are the options.
        given: What the user wrote.
        what: What it is, for the error ("schedule").

    Returns:
        The options that were given, by name; a dataclass or function takes them as they are.

    Raises:
        UserError: For an unknown option, or a value of another type or out of its range.
    """
    options = options_of(kind)
    found: dict[str, Any] = {}
    for key, text in given.values.items():
        name = key or next(iter(options), "")
        if name not in options:
            known = list(options)
            if not known:
                raise UserError(f"The {what} {given.name} takes no options; found {text!r}.")
            raise unknown_name(f"option of the {what} {given.name}", name, known)
        hint, _ = options[name]
        value = _value(hint, text)
        found[name] = checked(hint, f"Option {name} of the {what} {given.name}", value)
    for name, (hint, default) in options.items():
        if default in (dataclasses.MISSING, inspect.Parameter.empty) and name not in found:
            raise UserError(
                f"The {what} {given.name} needs the option {name} ({described(hint)}); write "
                f"{given.name}:{name}=..."
            )
    return found


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _value(hint: Any, text: str) -> Any:
    """Text as a value of a type; as it is where it fits none, so that the check names it."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        return _value(typing.get_args(hint)[0], text)
    if origin in (typing.Union, types.UnionType):
        if text.lower() == "none" and type(None) in typing.get_args(hint):
            return None
        kinds = [one for one in typing.get_args(hint) if one is not type(None)]
        values = [_value(one, text) for one in kinds]
        return next((one for one in values if not isinstance(one, str)), text)
    if origin is Literal:
        return next((one for one in typing.get_args(hint) if str(one) == text), text)
    if origin is tuple:
        kinds = [one for one in typing.get_args(hint) if one is not Ellipsis]
        pieces = text.split("/")
        return tuple(
            _value(kinds[place] if place < len(kinds) else kinds[-1], piece)
            for place, piece in enumerate(pieces)
        )
    if hint is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if hint is Path:
        return Path(text)
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            return text
    return text
