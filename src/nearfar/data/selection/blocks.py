"""Rows that are known by two values, and draws from many sets of them at once.

A set is a block of a sorted list of rows with at most two gaps, so that its j-th row is found by
addition. Q sets are held as arrays (Q,), and no loop goes over samples or sets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Block:
    """Q sets of rows.

    Attributes:
        order: (M,) the rows that take part, sorted so that each set is a block.
        place: (N,) where each of all rows is in ``order``; -1 for the others.
        start: (Q,) where each block begins in ``order``.
        length: (Q,) rows of the block, those of the gaps among them.
        gaps: (Q, G) where each gap begins in ``order``; ascending along a row.
        widths: (Q, G) rows of each gap.
    """

    order: Rows
    place: Rows
    start: Rows
    length: Rows
    gaps: Rows
    widths: Rows

    @property
    def size(self) -> Rows:
        """(Q,) rows of each set."""
        rows: Rows = self.length - self.widths.sum(axis=1)
        return rows

    def at(self, index: Rows) -> Block:
        """The sets of these numbers."""
        return replace(
            self,
            start=self.start[index],
            length=self.length[index],
            gaps=self.gaps[index],
            widths=self.widths[index],
        )

    def without(self, other: Block) -> Block:
        """The sets without the rows of ``other``, which lie side by side in each set."""
        first = self.place[other.order[np.minimum(other.start, len(other.order) - 1)]]
        return self._with_gap(first, other.length)

    def without_rows(self, rows: Rows) -> Block:
        """The sets without one row (Q,) each."""
        return self._with_gap(self.place[rows], np.ones_like(rows))

    def _with_gap(self, begin: Rows, width: Rows) -> Block:
        # A gap of no rows must not move those behind it, wherever it seems to begin.
        gaps = np.concatenate([self.gaps, begin[:, None]], axis=1)
        widths = np.concatenate([self.widths, width[:, None]], axis=1)
        ascending = gaps.argsort(axis=1, kind="stable")
        return replace(
            self,
            gaps=np.take_along_axis(gaps, ascending, axis=1),
            widths=np.take_along_axis(widths, ascending, axis=1),
        )

    def rows(self, number: Rows) -> Rows:
        """(Q, K) the rows of these numbers (Q, K), each below the size of its set."""
        place = self.start[:, None] + number
        for gap in range(self.gaps.shape[1]):
            behind = place >= self.gaps[:, gap, None]
            place = place + np.where(behind, self.widths[:, gap, None], 0)
        return self.order[np.clip(place, 0, len(self.order) - 1)]

    def drawn(self, count: Rows, generator: np.random.Generator) -> Rows:
        """(Q, K) different rows of each set, ``count`` (Q,) of each, in no random order; K is the
        largest count, and what stands behind a set's count means nothing.

        Source: R. W. Floyd, in Bentley 1987, "Programming pearls: a sample of brilliance".
        """
        columns = int(count.max(initial=0))
        chosen = np.full((len(count), columns), -1, dtype=np.int64)
        for step in range(columns):
            highest = self.size - count + step
            number = np.floor(generator.random(len(count)) * (highest + 1)).astype(np.int64)
            known = (chosen == number[:, None]).any(axis=1)
            chosen[:, step] = np.where(known, highest, number)
        return self.rows(np.clip(chosen, 0, None))

    def one(self, generator: np.random.Generator) -> Rows:
        """(Q,) a row of each set."""
        return self.drawn(np.ones_like(self.start), generator)[:, 0]

    def every(self) -> Rows:
        """(Q, R) all rows of each set, ascending, filled up with -1."""
        size = self.size[:, None]
        number = np.arange(int(size.max(initial=0)))
        found = self.rows(np.minimum(number, np.maximum(size - 1, 0)))
        behind = len(self.place)
        rows = np.sort(np.where(number < size, found, behind), axis=1)
        return np.where(rows < behind, rows, -1)


class Grid:
    """N rows with two values each.

    Args:
        about: (N,) the first value, numbered from 0; -1 for rows that take no part.
        beside: (N,) the second value, numbered from 0; -1 for the same rows.

    Example:
        >>> grid = Grid(np.array([0, 0, 1]), np.array([0, 1, 1]))
        >>> grid.with_beside(np.array([1])).every()
        array([[1, 2]])
    """

    def __init__(self, about: Rows, beside: Rows) -> None:
        self.about = about.astype(np.int64)
        self.beside = beside.astype(np.int64)
        self._by_about = _Sorted(self.about, self.beside)
        self._by_beside = _Sorted(self.beside, self.about)

    def with_about(self, value: Rows) -> Block:
        """Rows whose first value is this one, for each of Q values."""
        return self._by_about.group(value)

    def with_beside(self, value: Rows) -> Block:
        """Rows whose second value is this one, for each of Q values."""
        return self._by_beside.group(value)

    def cell(self, about: Rows, beside: Rows) -> Block:
        """Rows of both values, for each of Q pairs of values."""
        return self._by_about.part(about, beside)

    def cells(self) -> tuple[Rows, Rows]:
        """Both values of each cell that has a row."""
        pairs = np.unique(np.stack([self.about, self.beside], axis=1), axis=0)
        pairs = pairs[pairs[:, 0] >= 0]
        return pairs[:, 0], pairs[:, 1]


class _Sorted:
    """Rows sorted by an outer and then by an inner value."""

    def __init__(self, outer: Rows, inner: Rows) -> None:
        ascending = np.lexsort((inner, outer)).astype(np.int64)
        self.order = ascending[outer[ascending] >= 0]
        self.place = np.full(len(outer), -1, dtype=np.int64)
        self.place[self.order] = np.arange(len(self.order))
        self.outer = outer[self.order]
        self.width = int(inner.max(initial=0)) + 1
        self.both = self.outer * self.width + inner[self.order]

    def group(self, value: Rows) -> Block:
        return self._between(self.outer, value)

    def part(self, outer: Rows, inner: Rows) -> Block:
        return self._between(self.both, outer * self.width + inner)

    def _between(self, held: Rows, value: Rows) -> Block:
        start = np.searchsorted(held, value, side="left")
        end = np.searchsorted(held, value, side="right")
        nothing = np.zeros((len(value), 0), dtype=np.int64)
        return Block(
            order=self.order,
            place=self.place,
            start=start,
            length=end - start,
            gaps=nothing,
            widths=nothing,
        )
