"""Declared ranges: what is inside, how a wrong value is answered, and that no setting of any method
is without one.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pytest

from nearfar.errors import UserError
from nearfar.methods import registry
from nearfar.options import PretrainOptions, changed, resolved_settings
from nearfar.ranges import (
    Range,
    above,
    at_least,
    between,
    checked,
    described,
    is_declared,
    limits,
    unit_interval,
    whole_number,
)

SETTINGS = [
    (m, f.name) for m in registry.names() for f in dataclasses.fields(registry.get(m).Settings)
]


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        (above(0), (1e-300, 5.0), (0.0, -1.0, math.inf, math.nan)),
        (at_least(2), (2, 3), (1, -math.inf)),
        (between(-1, 1), (-1, 0, 1), (-1.01, 1.01)),
        (unit_interval(zero=False, one=False), (0.5,), (0.0, 1.0)),
        (unit_interval(), (0.0, 1.0), (1.0001,)),
        (whole_number(2, 4), (2, 4), (1, 5)),
    ],
)
def test_what_is_inside(
    interval: Range, inside: tuple[float, ...], outside: tuple[float, ...]
) -> None:
    assert all(value in interval for value in inside)
    assert not any(value in interval for value in outside)


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (Annotated[float, above(0)], 3, 3.0),
        (Annotated[int, whole_number(0)], 0, 0),
        (Annotated[float, above(0)] | None, None, None),
        (tuple[Annotated[float, above(0)], ...], [1, 2.5], (1.0, 2.5)),
        (Literal["a", "b"], "b", "b"),
        (bool, True, True),
    ],
)
def test_fitting_values_are_converted(hint: Any, value: Any, expected: Any) -> None:
    found = checked(hint, "Setting x", value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("hint", "value", "words"),
    [
        (Annotated[float, above(0)], 0, "Setting x is 0; expected a number above 0."),
        (Annotated[float, above(0)], math.nan, "Setting x is nan; expected a number above 0."),
        (Annotated[float, unit_interval()], 10**400, "expected a number from 0 to 1."),
        (
            Annotated[float, at_least(0)],
            True,
            "Setting x is True, a bool; expected a number of at least 0.",
        ),
        (
            Annotated[int, whole_number(1, 9)],
            2.0,
            "Setting x is 2.0, a float; expected a whole number from 1 to 9.",
        ),
        (
            Annotated[float, above(0)] | None,
            "a",
            "Setting x is 'a', a str; expected a number above 0.",
        ),
        (bool, 1, "Setting x is 1, a int; expected true or false."),
        (Literal["mlp", "norm"], "nrom", "Unknown setting x 'nrom': did you mean norm"),
        (Literal["mlp", "norm"], 3, "Setting x is 3, a int; expected one of 'mlp', 'norm'."),
        (
            tuple[Annotated[float, above(0)], Annotated[float, above(0)]],
            [1],
            "expected a list of 2: a number above 0",
        ),
        (
            tuple[Annotated[float, above(0)], ...],
            [1.0, -1.0],
            "Setting x is [1.0, -1.0]; expected a number above 0.",
        ),
        (float, math.nan, "Setting x is nan; expected a finite number."),
        (
            Annotated[float, above(0)],
            1.7e308,
            "Setting x is 1.7e+308; expected a number from -3.4e+38 to 3.4e+38.",
        ),
        (Annotated[float, above(0)] | None, 3.5e38, "expected a number from -3.4e+38 to 3.4e+38."),
        (
            tuple[Annotated[float, above(0)], ...],
            [1.0, 1e300],
            "expected a number from -3.4e+38 to 3.4e+38.",
        ),
    ],
)
def test_a_wrong_value_gets_one_sentence(hint: Any, value: Any, words: str) -> None:
    with pytest.raises(UserError) as error:
        checked(hint, "Setting x", value)
    assert words in str(error.value)


def test_words_for_help() -> None:
    assert limits(Annotated[float, unit_interval(zero=False)] | None) == "above 0 and at most 1"
    assert limits(bool) == ""
    assert (
        described(Annotated[int, whole_number(1, 1_000_000)])
        == "a whole number from 1 to 1,000,000"
    )


@pytest.mark.parametrize(("method", "name"), SETTINGS)
def test_every_setting_declares_its_range_or_choice(method: str, name: str) -> None:
    kind = registry.get(method)
    assert is_declared(get_type_hints(kind.Settings, include_extras=True)[name])


@pytest.mark.parametrize("method", registry.names())
def test_defaults_and_recipes_lie_inside(method: str) -> None:
    kind = registry.get(method)
    for recipe in kind.recipes.values():
        assert isinstance(resolved_settings(kind.Settings, recipe.settings), kind.Settings)


@pytest.mark.parametrize(("method", "name"), SETTINGS)
def test_values_outside_are_refused_by_name(method: str, name: str) -> None:
    kind = registry.get(method)
    hint = get_type_hints(kind.Settings, include_extras=True)[name]
    for wrong in (*_beyond(hint), math.nan, "no such value", [], object()):
        if isinstance(wrong, list) and get_origin(hint) is tuple and Ellipsis in get_args(hint):
            # an empty list has the right type; the method itself says that it needs one term
            continue
        with pytest.raises(UserError, match=name):
            resolved_settings(kind.Settings, {name: wrong})


def _beyond(hint: Any) -> list[float]:
    """The nearest values outside the bounds of a hint."""
    if get_origin(hint) is not Annotated:
        return []
    base, *intervals = get_args(hint)
    step = 1 if base is int else 1e-9
    found = []
    for interval in intervals:
        found += (
            [interval.low if interval.low_open else interval.low - step]
            if math.isfinite(interval.low)
            else []
        )
        found += (
            [interval.high if interval.high_open else interval.high + step]
            if math.isfinite(interval.high)
            else []
        )
    return [base(value) for value in found]


def test_options_have_ranges_too() -> None:
    hints = get_type_hints(PretrainOptions, include_extras=True)
    for name, hint in hints.items():
        for part in (hint, *get_args(hint)):
            for wrong in _beyond(part):
                with pytest.raises(UserError, match=f"Option {name} is"):
                    changed(PretrainOptions(), {name: wrong})
