"""Things that several samples share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nearfar.rows.generic import (
    concatenate,
    concatenating,
    map_tensors,
    mapping,
    sample_shape,
    select,
    selecting,
    shaping,
    splitting,
    tensors_of,
)


@dataclass(frozen=True)
class Picked:
    """N samples, each of them one or several of M things.

    An image that is one query's reference and a candidate of ten others lies in memory once.
    ``select`` gives the things themselves where each sample is one of them; of several it gives
    ``Picked`` with no more things than are needed. Brackets restrict the samples and keep all
    things.

    Attributes:
        values: The M things, any kind of rows.
        index: (N,) int64 in [0, M), which thing each sample is; or (N, G), which things in order,
            with -1 in the place of none where samples have less than G.
        numbers: (M,) int64, what the things are called where they come from.

    Example:
        >>> import torch
        >>> things = torch.tensor([10, 20, 30])
        >>> one = Picked(things, torch.tensor([2, 0]), torch.arange(3))
        >>> select(one, torch.tensor([0])).tolist()
        [30]
        >>> several = Picked(things, torch.tensor([[2, 0], [2, 2]]), torch.arange(3))
        >>> few = select(several, torch.tensor([1]))
        >>> few.values.tolist(), few.index.tolist(), few.numbers.tolist()
        ([30], [[0, 0]], [2])
    """

    values: Any
    index: Tensor
    numbers: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: Any) -> Picked:
        return Picked(self.values, self.index[rows], self.numbers)

    def to(self, device: torch.device | str) -> Picked:
        return Picked(self.values.to(device), self.index.to(device), self.numbers.to(device))

    def map(self, change: Callable[[Any], Any]) -> Picked:
        """The same with the things changed by one function."""
        return Picked(change(self.values), self.index, self.numbers)

    @property
    def called(self) -> Tensor:
        """What the things of each sample are called, in the shape of ``index``; -1 for none."""
        return self.numbers[self.index.clamp(min=0)].where(self.index >= 0, -1)


@concatenating.register
def _(first: Picked, views: Sequence[Picked]) -> Picked:
    counts = [len(view.values) for view in views]
    shifts = [sum(counts[:place]) for place in range(len(counts))]
    moved = [
        (view.index + shift).where(view.index >= 0, -1)
        for view, shift in zip(views, shifts, strict=True)
    ]
    return Picked(
        concatenate([view.values for view in views]),
        torch.cat(moved),
        torch.cat([view.numbers for view in views]),
    )


@selecting.register
def _(content: Picked, index: Tensor) -> Any:
    chosen = content.index[index.to(content.index.device)]
    if chosen.ndim == 1:
        return select(content.values, chosen)
    needed = torch.unique(chosen[chosen >= 0])
    places = torch.searchsorted(needed, chosen).where(chosen >= 0, -1)
    return Picked(select(content.values, needed), places, content.numbers[needed])


@mapping.register
def _(content: Picked, change: Callable[[Tensor], Tensor]) -> Picked:
    return Picked(
        map_tensors(content.values, change), change(content.index), change(content.numbers)
    )


@splitting.register
def _(content: Picked) -> Iterator[list[Tensor]]:
    for row in content.index:
        yield tensors_of(select(content.values, row.reshape(-1)[row.reshape(-1) >= 0]))


@shaping.register
def _(content: Picked) -> Any:
    return Picked, sample_shape(content.values), tuple(content.index.shape[1:])
