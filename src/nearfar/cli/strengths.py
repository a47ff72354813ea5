"""The words that change how strong views are: ``--views.NAME VALUE``, from the settings dataclasses
of the modalities.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nearfar.methods.method import Method

PREFIX = "--views."


def strengths_of(method: type[Method]) -> type:
    """A dataclass of all strengths of views of the modalities that a method takes, each with what
    it means where.

    Args:
        method: The method's class.
    """
    from nearfar import modalities
    from nearfar.found import at_home
    from nearfar.parsing import documented

    hints: dict[str, Any] = {}
    texts: dict[str, dict[str, list[str]]] = {}
    for modality in _taken(method, modalities.names()):
        home = modalities.get(modality).strengths
        if not home:
            continue
        kind = at_home(home)
        told = documented(kind)
        for name, hint in typing.get_type_hints(kind).items():
            if hints.setdefault(name, hint) is int:
                hints[name] = hint
            texts.setdefault(name, {}).setdefault(told.get(name, ""), []).append(modality)
    made = dataclasses.make_dataclass(
        "Strengths", [(name, hint, dataclasses.field(default=None)) for name, hint in hints.items()]
    )
    lines = [
        f"    {name}: "
        + " ".join(f"{', '.join(where)}: {text}" for text, where in meanings.items())
        for name, meanings in texts.items()
    ]
    made.__doc__ = "Strengths.\n\nAttributes:\n" + "\n".join(lines)
    return made


def _taken(method: type[Method], names: Iterable[str]) -> list[str]:
    first = [one.partition("+")[0] for one in method.modalities]
    return [name for name in names if not first or "*" in first or name in first]


def spread(words: Sequence[str], pairs: Iterable[str]) -> list[str]:
    """The words with the two values of a strength apart: "--views.scale 0.3,1" as
    "--views.scale 0.3 1".

    Args:
        words: Of the command line.
        pairs: Names of the strengths that have two values.

    Example:
        >>> spread(["--views.scale=0.3,1", "--seed", "1"], ["scale"])
        ['--views.scale', '0.3', '1', '--seed', '1']
    """
    found: list[str] = []
    known = set(pairs)
    is_value = False
    for word in words:
        name, equals, value = word.partition("=")
        is_strength = word.startswith(PREFIX) and name.removeprefix(PREFIX) in known
        if is_strength and equals:
            found += [name, *value.split(",")]
        elif is_value:
            found += word.split(",")
        else:
            found.append(word)
        is_value = is_strength and not equals
    return found


def pairs_of(kind: type) -> list[str]:
    """The names of the fields of a dataclass that have two values, as words write them."""
    hints: Mapping[str, Any] = typing.get_type_hints(kind)
    return [
        name.replace("_", "-") for name, hint in hints.items() if typing.get_origin(hint) is tuple
    ]


def values_of_strength(name: str, text: str) -> list[str]:
    """Values to try of a strength: of one with two values, "0.3,1" is a single one and
    "0.3:1,0.08:1" are two.

    Example:
        >>> values_of_strength("scale", "0.3,1"), values_of_strength("jitter", "0.4,0.8")
        (['0.3:1'], ['0.4', '0.8'])
    """
    values = text.split(",")
    if ":" not in text and len(values) == 2 and name in _pairs():
        return [":".join(values)]
    return values


def _pairs() -> set[str]:
    """The strengths with two values of any modality."""
    from nearfar import modalities
    from nearfar.found import at_home

    homes = {modalities.get(name).strengths for name in modalities.names()} - {""}
    return {name.replace("-", "_") for home in homes for name in pairs_of(at_home(home))}
