"""Whole pictures of any shape, each stored as a square, from which views take their crops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nearfar.rows.generic import (
    concatenating,
    map_tensors,
    mapping,
    selecting,
    shaping,
    splitting,
)

__all__ = ["Whole", "rows_of"]

_AT_ONCE = 256
"""Pictures that are resized together."""


@dataclass(frozen=True)
class Whole:
    """N pictures, whose own shapes are remembered.

    ``select`` gives what lies in the middle, at the size of a view: what is seen of a picture
    where nothing is drawn. Brackets, and ``rows_of``, keep the whole pictures.

    Attributes:
        values: (N, C, S, S) raw pixels; each picture is stretched over the square.
        aspect: (N,) float32, the picture's width over its height.
        size: Height and width of a view.

    Example:
        >>> import torch
        >>> wide = torch.arange(4, dtype=torch.uint8).expand(1, 1, 4, 4)
        >>> pictures = Whole(wide, torch.tensor([2.0]), (2, 2))
        >>> pictures.middle()[0, 0, 0].tolist()  # the middle half of 0, 1, 2, 3
        [1, 2]
    """

    values: Tensor
    aspect: Tensor
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> Whole:
        return Whole(self.values[rows], self.aspect[rows], self.size)

    def to(self, device: torch.device | str) -> Whole:
        return Whole(self.values.to(device), self.aspect.to(device), self.size)

    @property
    def shape(self) -> tuple[int, ...]:
        """N, and the shape of what ``select`` gives of each."""
        return (len(self.values), self.values.shape[1], *self.size)

    @property
    def resident(self) -> bool:
        """Whether all of it can be moved to a device."""
        return bool(getattr(self.values, "resident", True))

    def sides(self) -> tuple[Tensor, Tensor]:
        """Heights (N,) and widths (N,) of the pictures, each with the area of the stored square."""
        side = self.values.shape[2]
        root = self.aspect.sqrt()
        return side / root, side * root

    def middle(self) -> Tensor:
        """The largest part in the middle of each picture that has the shape of a view, at its size:
        raw pixels (N, C, height, width).
        """
        parts = [_middle(self[start : start + _AT_ONCE]) for start in range(0, len(self), _AT_ONCE)]
        return torch.cat(parts) if parts else self.values.new_empty(self.shape)


def _middle(pictures: Whole) -> Tensor:
    """``Whole.middle`` of few pictures: those of one shape together."""
    places: list[Tensor] = []
    parts: list[Tensor] = []
    ratio = pictures.size[1] / pictures.size[0]
    side = pictures.values.shape[2]
    for aspect in torch.unique(pictures.aspect).tolist():
        alike = (pictures.aspect == aspect).nonzero().flatten()
        high = max(1, round(side * min(1.0, aspect / ratio)))
        wide = max(1, round(side * min(1.0, ratio / aspect)))
        top = (side - high) // 2
        left = (side - wide) // 2
        part = pictures.values[alike][:, :, top : top + high, left : left + wide]
        if part.shape[2:] != pictures.size:
            resized = functional.interpolate(
                part.float(), pictures.size, mode="bilinear", antialias=True
            )
            part = resized.round().to(part.dtype)
        places.append(alike)
        parts.append(part)
    return torch.cat(parts)[torch.cat(places).argsort()]  # uint16 cannot be assigned by number


def rows_of(content: Any, index: Tensor) -> Any:
    """Samples by number as they are stored: whole pictures stay whole; all else as ``select`` gives
    it.

    Args:
        content: Rows of any kind.
        index: (K,) int64.
    """
    if not isinstance(content, Whole):
        return selecting(content, index)
    index = index.to(content.values.device)
    return Whole(content.values.index_select(0, index), content.aspect[index], content.size)


@concatenating.register
def _(first: Whole, views: Sequence[Whole]) -> Whole:
    return Whole(
        torch.cat([view.values for view in views]),
        torch.cat([view.aspect for view in views]),
        first.size,
    )


@selecting.register
def _(content: Whole, index: Tensor) -> Tensor:
    found: Whole = rows_of(content, index)
    return found.middle()


@mapping.register
def _(content: Whole, change: Callable[[Tensor], Tensor]) -> Whole:
    return Whole(map_tensors(content.values, change), change(content.aspect), content.size)


@splitting.register
def _(content: Whole) -> Iterator[list[Tensor]]:
    for row in range(len(content)):
        yield [content.values[row], content.aspect[row : row + 1]]


@shaping.register
def _(content: Whole) -> Any:
    return Whole, content.values.shape[1:], content.size
