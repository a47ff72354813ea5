"""A different number of things a sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
)
from nearfar.rows.indices import members, positions


@dataclass(frozen=True)
class Ragged:
    """A different number of things for each of N samples: sentences of a report, boxes of a scene.

    Attributes:
        values: The M things of all samples, sample by sample; any kind of rows.
        sizes: (N,) int64, how many of them each sample has.

    Example:
        >>> import torch
        >>> boxes = Ragged(torch.arange(5), torch.tensor([2, 0, 3]))
        >>> boxes[torch.tensor([2, 0])].values.tolist()
        [2, 3, 4, 0, 1]
    """

    values: Any
    sizes: Tensor

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, rows: Any) -> Ragged:
        index = positions(rows, len(self.sizes), self.sizes.device)
        return Ragged(select(self.values, members(self.sizes, index)), self.sizes[index])

    def to(self, device: torch.device | str) -> Ragged:
        return Ragged(self.values.to(device), self.sizes.to(device))

    @property
    def owner(self) -> Tensor:
        """(M,) int64, the sample that each thing belongs to."""
        return torch.repeat_interleave(
            torch.arange(len(self.sizes), device=self.sizes.device), self.sizes
        )


@concatenating.register
def _(first: Ragged, views: Sequence[Ragged]) -> Ragged:
    return Ragged(
        concatenate([view.values for view in views]), torch.cat([view.sizes for view in views])
    )


@selecting.register
def _(content: Ragged, index: Tensor) -> Ragged:
    return content[index.to(content.sizes.device)]


@mapping.register
def _(content: Ragged, change: Callable[[Tensor], Tensor]) -> Ragged:
    return Ragged(map_tensors(content.values, change), change(content.sizes))


@shaping.register
def _(content: Ragged) -> Any:
    return Ragged, sample_shape(content.values)
