"""Images of several sizes, apart by size, for networks that take any."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from nearfar.data.content.pictures import Pictures
from nearfar.data.options import DataOptions
from nearfar.data.readers.sources import read
from nearfar.data.tables.rows import some
from nearfar.data.tables.table import Table

__all__ = ["by_size"]


def by_size(data: str | Path, options: DataOptions) -> list[tuple[Table, tuple[int, ...]]]:
    """A data set's samples apart by the height and width of their images, the commonest size first.

    Images that cannot be read go with the commonest size. Data other than images that are still to
    be decoded stay together, with no size.

    Args:
        data: As ``nearfar.data.load`` takes it.
        options: How it is read.
    """
    table = read(data, options)
    if not isinstance(table.content, Pictures):
        return [(table, ())]
    sizes = table.content.sizes(np.arange(len(table.ids)))
    counted = Counter(size for size in sizes if size is not None)
    if len(counted) < 2:
        return [(table, next(iter(counted), ()))]
    commonest = counted.most_common(1)[0][0]
    found: list[tuple[Table, tuple[int, ...]]] = []
    for size, _ in counted.most_common():
        of_size = [one == size or (one is None and size == commonest) for one in sizes]
        found.append((some(table, np.flatnonzero(of_size)), size))
    return found
