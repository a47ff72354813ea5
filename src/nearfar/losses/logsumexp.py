"""Log-sum-exps over the rows of a similarity matrix that is never kept: what the InfoNCE family stands on.

Autograd would keep the matrix s. Here it is made in blocks of rows; only the embeddings and the log-sum-exps are kept,
and backward makes the blocks again (those of a small matrix, of up to ``_KEPT`` entries, stay until then). With upstream
gradients g_i on row i's log-sum-exp l_i and g_j on column j's l_j,

    dL / ds_ij = g_i exp(s_ij - l_i) + g_j exp(s_ij - l_j)

so one block serves both directions, and gives the gradient of each side by one product. Of a matrix of rows with
themselves only the blocks from the diagonal on are made: two thirds of the matrix products of the plain form. Where |s|
is known to be small, the right side is exp(s_ij) (w_i + w_j) with w = g exp(-l): one exponential an entry. Time is
quadratic in N, memory is O(N D).

All three functions are exact and finite at any temperature. ``torch.compile`` traces them without a graph break; a
second derivative (``create_graph=True``) is right, but then the blocks are kept and memory is quadratic. A temperature
that needs a gradient, or one that differs from row to row, is multiplied into the embeddings beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nearfar.losses.blocks import block_height
from nearfar.losses.similarity import full_precision

__all__ = ["mutual_logsumexp", "row_logsumexp", "self_logsumexp"]


@full_precision
def self_logsumexp(rows: Tensor, *, exclude: tuple[int, ...] = (0,), bound: float = math.inf, height: int | None = None) -> Tensor:
    """log sum_j exp(rows_i . rows_j) for each row i, over the columns j that are not excluded.

    Args:
        rows: (N, D), already divided by the square root of the temperature.
        exclude: diagonals to leave out, each by its offset j - i: 0 is the row itself; n and -n are the other views in
            2n rows. With an offset its negative must be there too.
        bound: a known upper bound of |rows_i . rows_j|, such as 1 / temperature for unit rows: a small one saves time.
        height: rows in a block; None for a good number.

    Returns:
        (N,); -inf, without a gradient, where all columns are excluded.

    Raises:
        ValueError: if ``exclude`` is not symmetric.
    """
    if any(-offset not in exclude for offset in exclude):
        raise ValueError(f"exclude must hold the negative of each of its offsets; found {exclude}.")
    result: Tensor = _LogSumExp.apply(rows, None, _layout(rows, rows, exclude, bound, height))
    return result


@full_precision
def row_logsumexp(
    query: Tensor, key: Tensor, *, exclude: tuple[int, ...] = (), bound: float = math.inf, height: int | None = None
) -> Tensor:
    """log sum_j exp(query_i . key_j) for each query i, over the keys j that are not excluded.

    Args:
        query: (N, D), already divided by the temperature (one for all, or one a row).
        key: (M, D); its gradient is computed only if it is needed.
        exclude: diagonals to leave out, each by its offset j - i: 0 is a query's own key.
        bound: a known upper bound of |query_i . key_j|: a small one saves time.
        height: rows in a block; None for a good number.

    Returns:
        (N,); -inf, without a gradient, where all columns are excluded.
    """
    result: Tensor = _LogSumExp.apply(query, key, _layout(query, key, exclude, bound, height, columns=False))
    return result


@full_precision
def mutual_logsumexp(
    first: Tensor,
    second: Tensor,
    *,
    exclude: tuple[int, ...] = (),
    bound: float = math.inf,
    height: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Both directions of :func:`row_logsumexp` from the same blocks: over second for each first, and the reverse.

    Args:
        first: (N, D), already divided by the temperature.
        second: (M, D).
        exclude: diagonals to leave out, each by its offset (place in second) - (place in first).
        bound: a known upper bound of |first_i . second_j|: a small one saves time.
        height: rows in a block; None for a good number.

    Returns:
        (N,) over the rows of second, and (M,) over the rows of first.
    """
    result: tuple[Tensor, Tensor] = _LogSumExp.apply(first, second, _layout(first, second, exclude, bound, height))
    return result


_KEPT = 2**18
"""Entries of a small matrix: a megabyte in float32, as a single block of a large one has."""

_Block = tuple[slice, slice, int, Tensor]


@dataclass(frozen=True)
class _Layout:
    """How the matrix is cut and read.

    Attributes:
        height: rows in a block.
        exclude: offsets of the diagonals that are left out.
        bounded: whether exp(s) of every similarity stays well inside the number type, so that no maximum is subtracted.
        columns: whether the log-sum-exps of the columns are wanted.
        kept: where forward leaves the exponentials of a small matrix's blocks for backward; None to make them again.
    """

    height: int
    exclude: tuple[int, ...]
    bounded: bool
    columns: bool
    kept: list[_Block] | None


def _layout(query: Tensor, key: Tensor, exclude: tuple[int, ...], bound: float, height: int | None, *, columns: bool = True) -> _Layout:
    if height is None:
        height = max(16, block_height(len(key), query.device))
    # Entries and weights both reach exp(bound): below 0.45 of the exponent range, their products and sums still fit.
    bounded = bound <= 0.45 * math.log(torch.finfo(query.dtype).max)
    small = bounded and len(query) * len(key) <= _KEPT and not torch.compiler.is_compiling()
    return _Layout(height, exclude, bounded, columns, [] if small else None)


def _blocks(query: Tensor, key: Tensor | None, layout: _Layout) -> Iterator[_Block]:
    """The matrix as blocks, excluded entries -inf: rows, columns, how many of these columns are mirrored, entries.

    Without a key the rows meet themselves. A block then starts at its diagonal, since what is left of it mirrors the
    blocks above; its first columns, as many as it has rows, hold both orders of each of their pairs.
    """
    others = query if key is None else key
    for start in range(0, len(query), layout.height):
        rows = slice(start, min(start + layout.height, len(query)))
        first, mirrored = (start, rows.stop - start) if key is None else (0, 0)
        block = query[rows] @ others[first:].T
        for offset in layout.exclude:
            block.diagonal(offset + start - first).fill_(-math.inf)
        yield rows, slice(first, len(others)), mirrored, block


class _LogSumExp(torch.autograd.Function):
    """Log-sum-exps of the rows, and of the columns if wanted, of query @ key.T; query @ query.T if the key is None."""

    @staticmethod
    def forward(query: Tensor, key: Tensor | None, layout: _Layout) -> Tensor | tuple[Tensor, Tensor]:
        row = query.new_full((len(query),), 0.0 if layout.bounded else -math.inf)
        column = row if key is None else row.new_full((len(key),), 0.0 if layout.bounded else -math.inf)
        for rows, columns, mirrored, block in _blocks(query, key, layout):
            beyond = slice(columns.start + mirrored, columns.stop)
            if layout.bounded:
                block.exp_()
                if layout.kept is not None:
                    layout.kept.append((rows, columns, mirrored, block))
                row[rows] += block.sum(dim=1)
                if layout.columns:
                    column[beyond] += block[:, mirrored:].sum(dim=0)
                continue
            row[rows] = torch.logaddexp(row[rows], block.logsumexp(dim=1))
            if layout.columns:
                column[beyond] = torch.logaddexp(column[beyond], block[:, mirrored:].logsumexp(dim=0))
        if layout.bounded:
            row, column = row.log(), column.log()
        return (row, column) if key is not None and layout.columns else row

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        query, key, ctx.layout = inputs
        ctx.save_for_backward(query, key, *(output if isinstance(output, tuple) else (output, None)))

    @staticmethod
    def backward(ctx: Any, row_gradient: Tensor, column_gradient: Tensor | None = None) -> tuple[Tensor | None, Tensor | None, None]:
        query, key, row, column = ctx.saved_tensors
        row = row.masked_fill(row == -math.inf, 0.0)  # of a row without columns: exp(-inf - 0) = 0
        others = key
        if key is None:
            others, column, column_gradient = query, row, row_gradient
        elif column is not None:
            column = column.masked_fill(column == -math.inf, 0.0)
        query_gradient = torch.zeros_like(query) if ctx.needs_input_grad[0] else None
        key_gradient = query_gradient if key is None else torch.zeros_like(key) if ctx.needs_input_grad[1] else None
        with torch.autocast(query.device.type, enabled=False):
            # A second derivative needs blocks that depend on the embeddings.
            kept = None if torch.is_grad_enabled() else ctx.layout.kept
            for rows, columns, mirrored, block in kept or _blocks(query, key, ctx.layout):
                by_row = (row[rows], row_gradient[rows])
                by_column = None if column_gradient is None else (column[columns], column_gradient[columns])
                weight = _weight(block, by_row, by_column, ctx.layout.bounded, made=bool(kept))
                if query_gradient is not None:
                    query_gradient[rows].addmm_(weight, others[columns])
                # The rows have served both orders of a mirrored pair.
                beyond = slice(columns.start + mirrored, columns.stop)
                if key_gradient is not None and beyond.start < beyond.stop:
                    key_gradient[beyond].addmm_(weight[:, mirrored:].T, query[rows])
        return query_gradient, None if key is None else key_gradient, None


def _weight(
    block: Tensor, row: tuple[Tensor, Tensor], column: tuple[Tensor, Tensor] | None, bounded: bool, *, made: bool = False
) -> Tensor:
    """dL/ds of a block of similarities s, (n, m), which is overwritten; or of exp(s) if ``made``, which stays as it is.

    Args:
        row: log-sum-exps (n,) and their upstream gradients (n,).
        column: the same of the columns, (m,) each; None if only rows were asked for.
        bounded: whether one exponential may serve both directions.
    """
    if bounded and not made:
        block.exp_()
    if bounded and column is None:
        return block * (row[1] * (-row[0]).exp())[:, None]
    if column is None:
        return block.sub_(row[0][:, None]).exp_() * row[1][:, None]
    if bounded:
        by_row, by_column = row[1] * (-row[0]).exp(), column[1] * (-column[0]).exp()
        return (by_row[:, None] + by_column).mul_(block)
    second = (block - column[0]).exp_() * column[1]
    return _weight(block, row, None, bounded).add_(second)
