"""Several things known of the same samples, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nearfar.errors import UserError, unknown_name
from nearfar.rows.generic import (
    concatenate,
    concatenating,
    map_tensors,
    mapping,
    pieces_of,
    sample_shape,
    select,
    selecting,
    shaping,
    splitting,
)


class Parts(Mapping[str, Any]):
    """Several things that are known of the same N samples, by name, such as an image and its text.

    ``parts.image`` and ``parts["image"]`` are the part of that name. ``parts[rows]`` restricts
    every part to some samples, and ``len(parts)`` is the number of samples.

    Example:
        >>> import torch
        >>> pair = Parts(small=torch.zeros(3, 2), large=torch.ones(3, 4))
        >>> len(pair), list(pair), tuple(pair[:2].large.shape)
        (3, ['small', 'large'], (2, 4))

    Raises:
        UserError: If there is no part, a part's name is no name, or lengths differ.
    """

    __slots__ = ("_parts",)

    def __init__(self, parts: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        held = {**(parts or {}), **named}
        # one part has one length, whatever it is: programs leave it open
        lengths = {name: len(part) for name, part in held.items()} if len(held) != 1 else {}
        if len(held) != 1 and len(set(lengths.values())) != 1:
            told = ", ".join(f"{name} {length}" for name, length in lengths.items()) or "none"
            raise UserError(
                f"The parts of samples have these lengths: {told}; expected one or more parts of "
                "one length."
            )
        for name in held:
            if not name.isidentifier():
                raise UserError(
                    f"A part is named {name!r}; expected letters, digits and underscores."
                )
        object.__setattr__(self, "_parts", held)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._parts[name]
        except KeyError:
            raise AttributeError(
                f"There is no part {name!r} among {', '.join(self._parts)}."
            ) from None

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"Parts do not change; make new ones with `with_parts({name}=...)`.")

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, str):
            if rows not in self._parts:
                raise KeyError(rows)
            return self._parts[rows]
        return Parts({name: part[rows] for name, part in self._parts.items()})

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(next(iter(self._parts.values())))

    def __bool__(self) -> bool:
        return True

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"Parts({', '.join(self._parts)} of {len(self)} samples)"

    def __reduce__(self) -> tuple[Any, ...]:
        return Parts, (dict(self._parts),)

    def keys(self) -> Any:
        """The names in their order."""
        return self._parts.keys()

    def values(self) -> Any:
        """The parts in their order."""
        return self._parts.values()

    def items(self) -> Any:
        """Names with parts in their order."""
        return self._parts.items()

    def to(self, device: torch.device | str) -> Parts:
        return Parts({name: part.to(device) for name, part in self._parts.items()})

    def map(self, change: Callable[[Any], Any]) -> Parts:
        """Every part changed by one function."""
        return Parts({name: change(part) for name, part in self._parts.items()})

    def with_parts(self, **named: Any) -> Parts:
        """The same with parts added or replaced."""
        return Parts(self._parts, **named)


def part_named(parts: Any, name: str) -> Any:
    """A part by its name.

    Raises:
        UserError: If there are no parts, or none of that name.
    """
    if not isinstance(parts, Parts):
        raise UserError(
            f"The samples are a {type(parts).__name__}; expected several parts, one of them "
            f"{name!r}."
        )
    if name not in parts:
        raise unknown_name("part", name, list(parts))
    return parts[name]


@concatenating.register
def _(first: Parts, views: Sequence[Parts]) -> Parts:
    return Parts({name: concatenate([view[name] for view in views]) for name in first})


@selecting.register
def _(content: Parts, index: Tensor) -> Parts:
    return content.map(lambda part: select(part, index))


@mapping.register
def _(content: Parts, change: Callable[[Tensor], Tensor]) -> Parts:
    return content.map(lambda part: map_tensors(part, change))


@shaping.register
def _(content: Parts) -> Any:
    return Parts, tuple((name, sample_shape(part)) for name, part in content.items())


@splitting.register
def _(content: Parts) -> Iterator[list[Tensor]]:
    for each in zip(*(pieces_of(part) for part in content.values()), strict=True):
        yield [piece for pieces in each for piece in pieces]
