"""A matrix of similarities in blocks of rows, some diagonals left out, and the exponentials of its
entries."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nearfar.losses.kernels.blocks import block_height

__all__ = [
    "Block",
    "Layout",
    "block_ranges",
    "exponentials",
    "layout_of",
    "one_pass_height",
    "similarity_blocks",
]

_KEPT = 2**18
"""Entries of a small matrix: a megabyte in float32, as a single block of a large one has."""

Block = tuple[slice, slice, int, Tensor]


@dataclass(frozen=True)
class Layout:
    """How the matrix is cut and read.

    Attributes:
        height: rows in a block.
        exclude: offsets of the diagonals that are left out.
        bounded: whether exp(s) of every similarity stays well inside the number type, so that no
            maximum is subtracted.
        columns: whether the log-sum-exps of the columns are wanted.
        kept: whether the exponentials of a small matrix's blocks wait for backward, which else
            makes them again.
        scale: what the products are multiplied by.
    """

    height: int
    exclude: tuple[int, ...]
    bounded: bool
    columns: bool
    kept: bool
    scale: float = 1.0

    @property
    def unit(self) -> float:
        """What a block's similarities are multiplied by: exp(s) = 2^(unit s) where bounded."""
        return 1 / math.log(2) if self.bounded else 1.0


def layout_of(
    query: Tensor,
    key: Tensor,
    exclude: tuple[int, ...],
    bound: float,
    height: int | None,
    *,
    columns: bool = True,
    scale: float = 1.0,
) -> Layout:
    """The layout for |s| up to ``bound``; a ``height`` of None gives a good one."""
    if height is None:
        height = max(16, block_height(len(key), query.device))
    # Entries and weights both reach exp(bound): below 0.45 of the exponent range, their products
    # and sums still fit.
    bounded = bound <= 0.45 * math.log(torch.finfo(query.dtype).max)
    small = bounded and len(query) * len(key) <= _KEPT and not torch.compiler.is_compiling()
    kept = small and torch.is_grad_enabled() and (query.requires_grad or key.requires_grad)
    return Layout(height, exclude, bounded, columns, kept, scale)


def one_pass_height(columns: int, device: torch.device) -> int:
    """Rows of a block where both gradients are made at once: that of all columns is read and
    written once a block, so of many columns blocks are taken higher."""
    return max(block_height(columns, device), min(256, columns // 8))


def similarity_blocks(
    query: Tensor, key: Tensor | None, layout: Layout, shift: Tensor | None = None
) -> Iterator[Block]:
    """The matrix as blocks, excluded entries -inf: rows, columns, how many of these columns are
    mirrored, entries in ``unit``.

    A block is good until the next one. ``shift``, a scalar, is added to each similarity.

    Without a key the rows meet themselves. A block then starts at its diagonal, since what is left
    of it mirrors the blocks above; its first columns, as many as it has rows, hold both orders of
    each of their pairs.
    """
    others = query if key is None else key
    factor = layout.unit * layout.scale
    added, beta = (query.new_zeros(()), 0.0) if shift is None else (shift, layout.unit)
    # One piece of memory serves all blocks, unless they are kept, by backward or for a second
    # derivative.
    single = torch.is_grad_enabled() or layout.kept or layout.height >= len(query)
    reused = None if single else query.new_empty(layout.height * len(others))
    for rows, columns, mirrored in block_ranges(
        len(query), None if key is None else len(key), layout.height
    ):
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        out = None if reused is None else reused[: math.prod(shape)].view(shape)
        block = torch.addmm(added, query[rows], others[columns].T, beta=beta, alpha=factor, out=out)
        for offset in layout.exclude:
            block.diagonal(offset + rows.start - columns.start).fill_(-math.inf)
        yield rows, columns, mirrored, block


def block_ranges(queries: int, keys: int | None, height: int) -> Iterator[tuple[slice, slice, int]]:
    """Where the blocks of ``similarity_blocks`` lie: rows, columns, and how many of these columns
    are mirrored.

    Args:
        queries: number of rows of the matrix.
        keys: number of its columns; None where the rows meet themselves.
        height: rows in a block.
    """
    for start in range(0, queries, height):
        stop = min(start + height, queries)
        if keys is None:
            yield slice(start, stop), slice(start, queries), stop - start
        else:
            yield slice(start, stop), slice(0, keys), 0


def exponentials(block: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """Overwrite a block of whole rows with exp(s), or exp(s - its row's maximum): the sums (n,),
    above 0, and log-sum-exps (n,)."""
    if layout.bounded:
        sums = block.exp2_().sum(dim=1)
        logs = sums.log()
    else:
        top = (
            block.detach().amax(dim=1).clamp(min=torch.finfo(block.dtype).min)
        )  # where all are excluded, as exp(-inf - min) = 0
        sums = block.sub_(top[:, None]).exp_().sum(dim=1)
        logs = sums.log() + top
    return sums.clamp(min=torch.finfo(block.dtype).tiny), logs
