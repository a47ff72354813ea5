"""Blocks of patches that masked methods hide or keep: sizes for a batch, places for a sample."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch
from torch import Tensor

from nearfar.errors import UserError


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


BLOCKS = 12
"""Rectangles from which ``hidden_in_blocks`` takes patches."""


def noise_of_blocks(grid: Sequence[int]) -> int:
    """Numbers that ``hidden_in_blocks`` needs for a sample."""
    return BLOCKS * (1 + 2 * len(grid)) + math.prod(grid)


def hidden_in_blocks(noise: Tensor, grid: Sequence[int], most: int) -> Tensor:
    """Which patches of each sample are hidden: those that random rectangles cover, the first
    rectangle's first. Who hides fewer takes the first of them.

    A rectangle covers 4 patches to half of the grid, with sides in a ratio of 0.3 to 1 / 0.3. Where
    all of them cover too few, others follow at random.

    Args:
        noise: (N, ``noise_of_blocks(grid)``) values in [0, 1).
        grid: Patches along each axis.
        most: M, at most the number of patches.

    Returns:
        (N, M) int64, different patches of a sample.

    Source: Bao et al. 2022 (BEiT), algorithm 1, without its loop: all rectangles are drawn at once.
    """
    patches = math.prod(grid)
    shapes, ties = torch.split(noise, [noise.shape[1] - patches, patches], dim=1)
    shape = shapes.view(len(noise), BLOCKS, 1 + 2 * len(grid))
    least = min(4.0, patches / 2)
    area = least + shape[:, :, 0] * (patches / 2 - least)
    stretch = ((2 * shape[:, :, 1] - 1) * math.log(1 / 0.3) / 2).exp()
    covered = torch.ones(len(noise), BLOCKS, 1, dtype=torch.bool, device=noise.device)
    for axis, cells in enumerate(grid):
        if len(grid) == 1:
            side = area
        else:
            side = area.sqrt() * (stretch if axis == 0 else 1 / stretch)
        side = side.round().clamp(1, cells)
        begin = (shape[:, :, 1 + len(grid) + axis] * (cells - side + 1)).floor()
        cell = torch.arange(cells, device=noise.device)
        inside = (cell >= begin[:, :, None]) & (cell < (begin + side)[:, :, None])
        covered = (covered[:, :, :, None] & inside[:, :, None, :]).flatten(2)
    never = torch.ones_like(covered[:, :1])
    first = torch.cat([covered, never], dim=1).to(torch.uint8).argmax(dim=1)
    return (first + ties).argsort(dim=1)[:, :most]


def check_shares(least: float, most: float) -> None:
    """Refuse shares of hidden patches of which the most is below the least.

    Raises:
        UserError: If they are.
    """
    if most < least:
        raise UserError(
            f"Setting most is {most:g}, below least, {least:g}; what is hidden covers from the one "
            "to the other share of the patches."
        )
