"""Working through a batch of images a few samples at a time, so that what is worked on stays in the
processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

_CACHED_VALUES = 2**19
_LEAST_ROWS = 4


def rows_at_once(images: Tensor) -> int:
    """How many samples to change at a time: as many as fit a CPU's cache, elsewhere all."""
    if images.device.type != "cpu":
        return max(1, len(images))
    return max(_LEAST_ROWS, _CACHED_VALUES // max(1, images.shape[1:].numel()))


def change_rows(images: Tensor, rows: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> None:
    """``images[rows] = change(images[rows], rows)`` in place, a few rows at a time.

    Args:
        images: (N, C, H, W).
        rows: int64 numbers of distinct samples.
        change: gets a copy of some images and their row numbers (on the device of ``rows``).
    """
    block = rows_at_once(images)
    for first in range(0, len(rows), block):
        part = rows[first : first + block]
        index = part.to(images.device)
        images.index_copy_(0, index, change(images.index_select(0, index), part))
