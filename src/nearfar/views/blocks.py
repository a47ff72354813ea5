"""Blocks of patches that masked methods hide or keep: sizes for a batch, places for a sample."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch
from torch import Tensor


def block_size(
    grid: Sequence[int],
    scale: tuple[float, float],
    aspect: tuple[float, float],
    draws: random.Random,
) -> tuple[int, ...]:
    """The sides of a block of patches.

    Args:
        grid: Patches along each axis, (rows, columns) or (steps,).
        scale: Least and most share of all patches that the block covers.
        aspect: Least and most rows for each column; of no use on one axis.
        draws: Gives two numbers; they are no tensors, as shapes follow from them.

    Returns:
        Patches along each axis, at least 1, and fewer than the grid has wherever that has more
        than one.

    Example:
        >>> block_size((8, 8), (0.25, 0.25), (1.0, 1.0), random.Random(0))
        (4, 4)

    Source: Assran et al. 2023 (I-JEPA), section 3 and appendix A.
    """
    area = math.prod(grid) * draws.uniform(*scale)
    ratio = draws.uniform(*aspect)
    if len(grid) == 1:
        wanted = [area]
    else:
        wanted = [math.sqrt(area * ratio), math.sqrt(area / ratio)]
    return tuple(
        min(max(1, round(side)), max(1, cells - 1))
        for side, cells in zip(wanted, grid, strict=True)
    )


def block_places(noise: Tensor, size: Sequence[int], grid: Sequence[int]) -> Tensor:
    """Which patches a block of each sample holds.

    Args:
        noise: (N, A) values in [0, 1), one for each of the A axes: where the block begins among
            the places at which it lies inside the grid.
        size: Patches of the block along each axis, at most the grid's.
        grid: Patches along each axis.

    Returns:
        (N, T) int64, the numbers of the block's T patches in the order of the grid.

    Example:
        >>> block_places(torch.tensor([[0.0, 0.9]]), (1, 2), (3, 3))
        tensor([[1, 2]])
    """
    places = torch.zeros(len(noise), 1, dtype=torch.int64, device=noise.device)
    for axis, (side, cells) in enumerate(zip(size, grid, strict=True)):
        begin = (noise[:, axis] * (cells - side + 1)).long()
        along = begin[:, None] + torch.arange(side, device=noise.device)
        places = (places[:, :, None] * cells + along[:, None, :]).flatten(1)
    return places


def holds(places: Tensor, patches: int) -> Tensor:
    """Whether each of the patches is among some places: (N, T) int64 to (N, patches) bool.

    Example:
        >>> holds(torch.tensor([[1, 2]]), 4)
        tensor([[False,  True,  True, False]])
    """
    found = torch.zeros(len(places), patches, dtype=torch.bool, device=places.device)
    return found.scatter_(1, places, True)
