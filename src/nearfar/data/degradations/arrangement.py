"""Augmentations that move parts of an image and can be undone on what a network makes of it."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from nearfar.errors import UserError
from nearfar.ranges import checked, unit_interval, whole_number

__all__ = ["swap_rows", "tile", "unswap_rows", "untile"]


def tile(image: Tensor, rows: int, columns: int, order: Tensor) -> Tensor:
    """Cut images into tiles and put tile ``order[i]`` at place i, both row by row.

    Args:
        image: (..., H, W).
        rows: Rows of tiles; divides H.
        columns: Columns of tiles; divides W.
        order: (rows columns,) int64, a permutation.

    Raises:
        UserError: If the tiles do not divide the image or the order is no permutation.

    Example:
        >>> import torch
        >>> from nearfar.data.degradations.arrangement import tile
        >>> tile(torch.tensor([[1, 2]]), 1, 2, torch.tensor([1, 0]))
        tensor([[2, 1]])

    Source: Saunders et al. 2023 (Robust-Depth).
    """
    tiles = _cut(image, rows, columns)
    if order.shape != (rows * columns,) or sorted(order.tolist()) != list(range(rows * columns)):
        raise UserError(f"order must be a permutation of {rows * columns} tiles.")
    return _joined(tiles[..., order, :, :], rows, columns)


def untile(image: Tensor, rows: int, columns: int, order: Tensor) -> Tensor:
    """Undo ``tile``; the image may have another size that the tiles divide.

    Example:
        >>> import torch
        >>> from nearfar.data.degradations.arrangement import tile, untile
        >>> image, order = torch.arange(12).view(2, 6), torch.tensor([2, 0, 1])
        >>> bool((untile(tile(image, 1, 3, order), 1, 3, order) == image).all())
        True

    Source: Saunders et al. 2023 (Robust-Depth).
    """
    return tile(image, rows, columns, order.argsort())


def _cut(image: Tensor, rows: int, columns: int) -> Tensor:
    """(..., rows columns, H / rows, W / columns)."""
    for name, value in (("rows", rows), ("columns", columns)):
        checked(Annotated[int, whole_number()], name, value)
    height, width = image.shape[-2:]
    if height % rows or width % columns:
        raise UserError(
            f"{rows} x {columns} tiles do not divide {height} x {width} pixels: take others."
        )
    parts = image.reshape(*image.shape[:-2], rows, height // rows, columns, width // columns)
    return parts.transpose(-3, -2).flatten(-4, -3)


def _joined(tiles: Tensor, rows: int, columns: int) -> Tensor:
    high, wide = tiles.shape[-2:]
    parts = tiles.reshape(*tiles.shape[:-3], rows, columns, high, wide).transpose(-3, -2)
    return parts.reshape(*tiles.shape[:-3], rows * high, columns * wide)


def swap_rows(image: Tensor, share: float) -> Tensor:
    """Cut the image at row int(share H) and put the lower part on top.

    Args:
        image: (..., H, W).
        share: Where to cut, from 0 to 1.

    Example:
        >>> import torch
        >>> from nearfar.data.degradations.arrangement import swap_rows
        >>> swap_rows(torch.tensor([[1], [2], [3]]), 0.4)
        tensor([[2],
                [3],
                [1]])

    Source: Saunders et al. 2023 (Robust-Depth).
    """
    checked(Annotated[float, unit_interval()], "share", share)
    return image.roll(-int(share * image.shape[-2]), dims=-2)


def unswap_rows(image: Tensor, share: float) -> Tensor:
    """Undo ``swap_rows`` exactly: cut at row H - int(share H).

    The authors cut at int((1 - share) H), one row off wherever both parts are cut down.

    Example:
        >>> import torch
        >>> from nearfar.data.degradations.arrangement import swap_rows, unswap_rows
        >>> image = torch.arange(7).view(7, 1)
        >>> bool((unswap_rows(swap_rows(image, 0.2), 0.2) == image).all())
        True

    Source: Saunders et al. 2023 (Robust-Depth).
    """
    checked(Annotated[float, unit_interval()], "share", share)
    return image.roll(int(share * image.shape[-2]), dims=-2)
