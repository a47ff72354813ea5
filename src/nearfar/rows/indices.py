"""Positions and sizes that the kinds of rows share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def width_of(values: Tensor) -> int:
    """How many values are known of each node.

    >>> width_of(torch.zeros(5)), width_of(torch.zeros(5, 3))
    (1, 3)
    """
    return int(torch.tensor(values.shape[1:]).prod()) if values.ndim > 1 else 1


def positions(rows: Any, length: int, device: torch.device) -> Tensor:
    """Int64 positions for whatever brackets hold."""
    if isinstance(rows, Tensor) and rows.dtype != torch.bool:
        return rows.to(device)
    return torch.arange(length, device=device)[rows.to(device) if torch.is_tensor(rows) else rows]


def starts(sizes: Tensor) -> Tensor:
    """Where each sample's things begin."""
    return sizes.cumsum(0) - sizes


def members(sizes: Tensor, index: Tensor) -> Tensor:
    """Positions of the things of some samples, sample by sample."""
    wanted = sizes[index]
    shift = starts(sizes)[index] - starts(wanted)
    places = torch.arange(int(wanted.sum()), device=sizes.device)
    return places + torch.repeat_interleave(shift, wanted)


def by_name(values: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([value[name] for value in values]) for name in values[0]}


def side_by_side(edges: Sequence[Tensor], counts: Sequence[int]) -> Tensor:
    """Edges of several graphs, their nodes numbered on."""
    shifts = [sum(counts[:place]) for place in range(len(counts))]
    return torch.cat([one + shift for one, shift in zip(edges, shifts, strict=True)], dim=1)
