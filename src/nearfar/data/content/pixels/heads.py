"""What the headers of many images say, and the one shape that they are brought to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FIELDS", "LARGEST_SIDE", "Heads", "Shape", "common_shape"]

LARGEST_SIDE = 224
"""Images are shrunk to at most this unless a size is given."""
FIELDS = ("readable", "height", "width", "channels", "deep", "cut", "pages")

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Heads:
    """Headers of M images.

    Attributes:
        table: (M, 7) int64, a column for each of ``FIELDS``; rows of broken images are 0.
        broken: Places of those that cannot be read, with the reason or "" for mere damage.
    """

    table: NDArray[np.int64]
    broken: Mapping[int, str]

    def of(self, name: str) -> NDArray[np.int64]:
        """One field (M,)."""
        return self.table[:, FIELDS.index(name)]

    @property
    def deep(self) -> NDArray[np.bool_]:
        """(M,) whether an image has more than 8 bits."""
        return self.of("deep") > 0

    def sizes(self) -> list[tuple[int, int] | None]:
        """Height and width of each; None where it cannot be read."""
        return [(int(row[1]), int(row[2])) if row[0] else None for row in self.table]

    def aspect(self) -> NDArray[np.float32]:
        """(M,) width over height; 1 for broken images."""
        found = self.of("width") / np.maximum(self.of("height"), 1)
        return np.where(self.of("readable") > 0, found, 1.0).astype(np.float32)

    def resized(self, shape: Shape) -> int:
        """How many have another size than a shape."""
        there = self.of("readable") > 0
        other = (self.of("height") != shape[1]) | (self.of("width") != shape[2])
        return int((there & other).sum())


def common_shape(heads: Heads, size: int | None, wanted: tuple[int, ...] | None = None) -> Shape:
    """Channels, height and width for all images of which at least one can be read.

    Grey if all images are, RGB if they are grey or RGB, and else the most common number of
    channels, or as many as are wanted; of the wanted side, or as they are if all agree, or else
    square with the most common shorter side.
    """
    if wanted is not None and len(wanted) == 3:
        return wanted[0], wanted[1], wanted[2]
    there = heads.of("readable") > 0
    channels = wanted[0] if wanted else _common_channels(heads.of("channels")[there])
    if size is not None:
        return channels, size, size
    heights = heads.of("height")[there].tolist()
    widths = heads.of("width")[there].tolist()
    shapes = set(zip(heights, widths, strict=True))
    if len(shapes) == 1 and max(next(iter(shapes))) <= LARGEST_SIDE:
        return channels, *shapes.pop()
    sides = Counter(map(min, zip(heights, widths, strict=True)))
    most_common = max(sides, key=lambda side: (sides[side], side))
    side = min(most_common, LARGEST_SIDE)
    return channels, side, side


def _common_channels(channels: NDArray[np.int64]) -> int:
    found = set(channels.tolist())
    if found <= {1, 3}:
        return int(max(found))
    counts: Counter[int] = Counter(channels.tolist())
    return max(counts, key=lambda number: (counts[number], number))
