"""Declared ranges: which values an option or a setting takes, stated in its type and checked in one
place.

``temperature: Annotated[float, above(0)] = 0.1`` declares a range, ``form: Literal["mlp", "norm"] =
"mlp"`` a choice. ``checked`` holds a value to both, and to the type itself; help prints
``described``.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from nearfar.errors import UserError, brief, unknown_name

MOST = 3.4e38
"""The largest number that a setting or an option may be: about the largest of float32, in which is
computed.
"""
MOST_UNITS = 1 << 20
"""The widest layer, the longest queue of most methods: what fits no machine is refused by name, not
by an allocator.
"""


@dataclass(frozen=True, kw_only=True)
class Range:
    """An interval of numbers.

    Attributes:
        low: The lower end.
        high: The upper end.
        low_open: Whether the lower end itself is outside.
        high_open: Whether the upper end itself is outside.
    """

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: float) -> bool:
        if isinstance(value, float) and not math.isfinite(value):
            return False
        over = value > self.low if self.low_open else value >= self.low
        under = value < self.high if self.high_open else value <= self.high
        return over and under

    def __str__(self) -> str:
        closed = not (self.low_open or self.high_open)
        if closed and math.isfinite(self.low) and math.isfinite(self.high):
            return f"from {_plain(self.low)} to {_plain(self.high)}"
        low = f"{'above' if self.low_open else 'at least'} {_plain(self.low)}"
        high = f"{'below' if self.high_open else 'at most'} {_plain(self.high)}"
        ends = [text for text, end in ((low, self.low), (high, self.high)) if math.isfinite(end)]
        return " and ".join(ends) or "finite"


def above(low: float) -> Range:
    """All numbers greater than ``low``.

    >>> 0.0 in above(0), 1e-9 in above(0)
    (False, True)
    """
    return Range(low=low, low_open=True)


def at_least(low: float) -> Range:
    """All numbers from ``low`` on."""
    return Range(low=low)


def between(low: float, high: float) -> Range:
    """All numbers from ``low`` to ``high``, both ends included."""
    return Range(low=low, high=high)


def unit_interval(*, zero: bool = True, one: bool = True) -> Range:
    """All numbers from 0 to 1; ``zero`` and ``one`` say whether the ends are included.

    >>> str(unit_interval(zero=False))
    'above 0 and at most 1'
    """
    return Range(low=0, high=1, low_open=not zero, high_open=not one)


def whole_number(least: int = 1, most: int = MOST_UNITS) -> Range:
    """Whole numbers of things (units, samples, passes) from ``least`` to ``most``."""
    return Range(low=least, high=most)


def checked(hint: Any, what: str, value: Any) -> Any:
    """``value`` as a type hint with its declared range asks for it.

    Args:
        hint: A type, with ``Annotated`` ranges kept.
        what: The name in the error, such as "Setting temperature".
        value: What was given. Whole numbers pass for real ones, lists for tuples and texts for
            paths.

    Returns:
        The value, converted where the hint asks for it.

    Raises:
        UserError: If the value has another type or lies outside the declared range or choice.

    >>> checked(Annotated[float, above(0)], "Setting temperature", 1)
    1.0
    """
    texts = [
        one
        for one in (value if isinstance(value, list | tuple) else [value])
        if isinstance(one, str)
    ]
    choices = choices_of(hint)
    for text in texts:
        if choices and text not in choices:
            raise unknown_name(what[:1].lower() + what[1:], text, choices)
    fits, converted = _fitted(hint, value)
    if not fits:
        raise UserError(
            f"{what} is {brief(value)}, a {type(value).__name__}; expected {described(hint)}."
        )
    outside = _outside(hint, converted)
    if outside is not None:
        raise UserError(f"{what} is {brief(value)}; expected {outside}.")
    return converted


def check_settings(settings: Any) -> None:
    """Hold every field of a settings dataclass to its declared type, range or choice.

    Raises:
        UserError: If one does not fit; names it.
    """
    hints = typing.get_type_hints(type(settings), include_extras=True)
    for field in dataclasses.fields(settings):
        checked(hints[field.name], f"Setting {field.name}", getattr(settings, field.name))


def check_order(settings: Any, lower: str, upper: str) -> None:
    """Refuse settings of which ``lower`` is larger than ``upper``.

    Raises:
        UserError: If it is; names both.
    """
    low = getattr(settings, lower)
    high = getattr(settings, upper)
    if low > high:
        raise UserError(
            f"Setting {lower} is {low!r}, above {upper}, which is {high!r};"
            f" expected {lower} to be at most {upper}."
        )


def check_bounds(name: str, bounds: tuple[float, float], inside: str, value: float) -> None:
    """Refuse bounds that are no interval, and a value that lies outside them.

    Raises:
        UserError: If they are; names both settings.
    """
    low, high = bounds
    if low > high:
        raise UserError(f"Setting {name} is {low:g}, {high:g}; expected the smaller number first.")
    if not low <= value <= high:
        raise UserError(
            f"Setting {inside} is {value:g}, outside {name}, which is {low:g} to {high:g};"
            f" expected a value between them."
        )


def described(hint: Any) -> str:
    """A type hint in words: "a number above 0", "one of 'mlp', 'norm'"."""
    base, declared = _parts(hint)
    origin = typing.get_origin(base)
    arguments = typing.get_args(base)
    if origin is Literal:
        return f"one of {', '.join(map(repr, arguments))}"
    if _is_union(origin):
        known = [one for one in arguments if one is not type(None)]
        return " or ".join(described(one) for one in known)
    if origin is tuple:
        several = arguments[-1] is Ellipsis
        inner = f"a list of which each is {described(arguments[0])}"
        return (
            inner
            if several
            else f"a list of {len(arguments)}: {', '.join(described(one) for one in arguments)}"
        )
    if origin is dict:
        return "a table of names and values"
    kinds = {
        float: "a number",
        int: "a whole number",
        bool: "true or false",
        str: "a text",
        Path: "a path",
    }
    words = [kinds.get(base, getattr(base, "__name__", str(base))), *map(str, declared)]
    return " ".join(words).replace(" at least", " of at least", 1)


def limits(hint: Any) -> str:
    """The declared range alone, as help prints it behind a default: "above 0"; "" where there is
    none.
    """
    base, declared = _parts(hint)
    if _is_union(typing.get_origin(base)) or typing.get_origin(base) is tuple:
        inner = [limits(one) for one in typing.get_args(base) if one not in (type(None), Ellipsis)]
        return next(filter(None, inner), "")
    return ", ".join(map(str, declared))


def is_declared(hint: Any) -> bool:
    """Whether a hint says which values are allowed: by a range, a choice, or by being true or
    false.
    """
    base, declared = _parts(hint)
    origin = typing.get_origin(base)
    if _is_union(origin) or origin is tuple:
        return all(
            is_declared(one) for one in typing.get_args(base) if one not in (type(None), Ellipsis)
        )
    return bool(declared) or origin is Literal or base is bool


def choices_of(hint: Any) -> tuple[str, ...]:
    """The texts of a ``Literal``, also where None or a list of them is allowed; () for anything
    else.
    """
    base, _ = _parts(hint)
    origin = typing.get_origin(base)
    arguments = typing.get_args(base)
    if origin is Literal:
        return tuple(one for one in arguments if isinstance(one, str))
    if _is_union(origin) or origin is tuple:
        return next((found for one in arguments if (found := choices_of(one))), ())
    return ()


def _parts(hint: Any) -> tuple[Any, list[Range]]:
    """The bare type and its ranges."""
    if typing.get_origin(hint) is not Annotated:
        return hint, []
    base, *more = typing.get_args(hint)
    return base, [one for one in more if isinstance(one, Range)]


def _is_union(origin: Any) -> bool:
    return origin in (typing.Union, types.UnionType)


def _fitted(hint: Any, value: Any) -> tuple[bool, Any]:
    """Whether a value has the hint's type, and the value converted to it."""
    base, _ = _parts(hint)
    origin = typing.get_origin(base)
    arguments = typing.get_args(base)
    if base is Any:
        return True, value
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in arguments), value
    if _is_union(origin):
        tries = (_fitted(one, value) for one in arguments)
        return next((found for found in tries if found[0]), (False, value))
    if origin is tuple:
        return _fitted_tuple(arguments, value)
    if base is type(None):
        return value is None, value
    if base is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number, _as_float(value) if is_number else value
    if base is int:
        return isinstance(value, int) and not isinstance(value, bool), value
    if base is Path:
        is_path = isinstance(value, str | Path)
        return is_path, Path(value) if is_path else value
    if origin is dict:
        return _fitted_dict(arguments, value)
    kind = origin or base
    return isinstance(kind, type) and isinstance(value, kind), value


def _fitted_tuple(arguments: tuple[Any, ...], value: Any) -> tuple[bool, Any]:
    if not isinstance(value, list | tuple):
        return False, value
    hints = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
    if len(hints) != len(value):
        return False, value
    found = [_fitted(hint, one) for hint, one in zip(hints, value, strict=True)]
    return all(fits for fits, _ in found), tuple(one for _, one in found)


def _fitted_dict(arguments: tuple[Any, ...], value: Any) -> tuple[bool, Any]:
    if not isinstance(value, dict):
        return False, value
    key_hint, value_hint = arguments
    fits = all(
        _fitted(key_hint, key)[0] and _fitted(value_hint, one)[0] for key, one in value.items()
    )
    return fits, value


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _outside(hint: Any, value: Any) -> str | None:
    """What was expected, where a value of the right type lies outside a declared range; None where
    it lies inside.
    """
    base, declared = _parts(hint)
    origin = typing.get_origin(base)
    arguments = typing.get_args(base)
    if _is_union(origin):
        fitting = [one for one in arguments if _fitted(one, value)[0]]
        return _outside(fitting[0], value) if fitting else None
    if origin is tuple:
        hints = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        wrong = [_outside(one, part) for one, part in zip(hints, value, strict=True)]
        return next((text for text in wrong if text is not None), None)
    if origin is dict:
        wrong = [_outside(arguments[1], part) for part in value.values()]
        return next((text for text in wrong if text is not None), None)
    if isinstance(value, int | float) and any(value not in interval for interval in declared):
        return described(hint)
    if base is float and not declared and not math.isfinite(value):
        return "a finite number"
    if base is float and MOST < abs(value) < math.inf:
        return f"a number from {-MOST:g} to {MOST:g}"
    return None


def _plain(number: float) -> str:
    return (
        f"{number:,.0f}"
        if math.isfinite(number) and number == round(number) and abs(number) >= 1000
        else f"{number:g}"
    )
