"""Where a patch is: fixed sine and cosine positions on a grid of any number of axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nearfar.errors import UserError


def sincos_positions(grid: Sequence[int], width: int) -> Tensor:
    """Positions of all cells of a grid, the last axis running fastest.

    The channels are shared equally among the axes, the last axis first (of images: the column, then
    the row); each axis has sines, then cosines, of the cell number times 10000^(-i / n), i = 0 .. n
    - 1.

    Args:
        grid: cells along each axis, such as (rows, columns) or (steps,).
        width: channels.

    Returns:
        (cells, width) float64.

    Raises:
        UserError: if ``width`` is not a multiple of twice the number of axes.

    Source: Vaswani et al. 2017, section 3.5; over two axes He et al. 2021 (MAE), appendix A, in the
        order of its code.
    """
    if width % (2 * len(grid)):
        raise UserError(
            f"Positions on {len(grid)} axes need a width that is a multiple of {2 * len(grid)}, "
            f"found {width}."
        )
    count = width // (2 * len(grid))
    frequencies = 10000.0 ** (-torch.arange(count, dtype=torch.float64) / count)
    axes = torch.meshgrid(
        *(torch.arange(cells, dtype=torch.float64) for cells in grid), indexing="ij"
    )
    angles = [torch.outer(cells.flatten(), frequencies) for cells in reversed(axes)]
    return torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], dim=1)
