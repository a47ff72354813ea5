"""Log-sum-exps over the rows of a similarity matrix that is never kept: what the InfoNCE family
stands on.

Autograd would keep the matrix s. Here it is made in blocks of rows; only the embeddings and the
log-sum-exps are kept, and backward makes the blocks again (those of a small matrix stay until
then). With upstream gradients g_i on row i's log-sum-exp l_i and g_j on column j's l_j,

    dL / ds_ij = g_i exp(s_ij - l_i) + g_j exp(s_ij - l_j)

so one block serves both directions, and gives the gradient of each side by one product. Of a matrix
of rows with themselves only the blocks from the diagonal on are made: two thirds of the matrix
products of the plain form. Where |s| is known to be small, the right side is exp(s_ij) (w_i + w_j)
with w = g exp(-l): one exponential an entry, taken as a power of 2, which is several times as fast.
Time is quadratic in N, memory is O(N D).

A row is final with its block. Where only the query needs a gradient, as with a queue, it is made in
the same pass and no block a second time; ``cross_entropy`` does likewise for a mean loss of both
sides.

All functions are exact and finite at any temperature. ``torch.compile`` traces them without a graph
break; a second derivative (``create_graph=True``) is right, but then the blocks are kept and memory
is quadratic. A temperature that needs a gradient, or one that differs from row to row, is
multiplied into the embeddings beforehand.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from nearfar.losses.kernels.blocks import each_alone, mapped_together, with_gradients
from nearfar.losses.kernels.similarity import full_precision, without_autocast
from nearfar.losses.kernels.similarity_blocks import (
    Block,
    Layout,
    block_ranges,
    exponentials,
    layout_of,
    similarity_blocks,
)

__all__ = ["mutual_logsumexp", "row_logsumexp", "self_logsumexp"]


@full_precision
def self_logsumexp(
    rows: Tensor,
    *,
    exclude: tuple[int, ...] = (0,),
    bound: float = math.inf,
    height: int | None = None,
) -> Tensor:
    """log sum_j exp(rows_i . rows_j) for each row i, over the columns j that are not excluded.

    Args:
        rows: (N, D), already divided by the square root of the temperature.
        exclude: diagonals to leave out, each by its offset j - i: 0 is the row itself; n and -n are
            the other views in 2n rows. With an offset its negative must be there too.
        bound: a known upper bound of |rows_i . rows_j|, such as 1 / temperature for unit rows: a
            small one saves time.
        height: rows in a block; None for a good number.

    Returns:
        (N,); -inf, without a gradient, where all columns are excluded.

    Raises:
        ValueError: if ``exclude`` is not symmetric.
    """
    if any(-offset not in exclude for offset in exclude):
        raise ValueError(f"exclude must hold the negative of each of its offsets; found {exclude}.")
    result: Tensor = _LogSumExp.apply(rows, None, layout_of(rows, rows, exclude, bound, height))[0]
    return result


@full_precision
def row_logsumexp(
    query: Tensor,
    key: Tensor,
    *,
    exclude: tuple[int, ...] = (),
    bound: float = math.inf,
    height: int | None = None,
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
    layout = layout_of(query, key, exclude, bound, height, columns=False)
    if not (torch.is_grad_enabled() and key.requires_grad):
        return with_gradients(functools.partial(_rows_alone, layout), query, key.detach())
    result: Tensor = _LogSumExp.apply(query, key, layout)[0]
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
    """Both directions of :func:`row_logsumexp` from the same blocks: over second for each first,
    and the reverse.

    Args:
        first: (N, D), already divided by the temperature.
        second: (M, D).
        exclude: diagonals to leave out, each by its offset (place in second) - (place in first).
        bound: a known upper bound of |first_i . second_j|: a small one saves time.
        height: rows in a block; None for a good number.

    Returns:
        (N,) over the rows of second, and (M,) over the rows of first.
    """
    rows, columns = _LogSumExp.apply(
        first, second, layout_of(first, second, exclude, bound, height)
    )[:2]
    return rows, columns


def _rows_alone(
    layout: Layout, wanted: tuple[bool, ...], query: Tensor, key: Tensor
) -> tuple[Tensor, ...]:
    """Log-sum-exps of the rows, and their derivatives by the query: the means of the keys by
    softmax."""
    values = []
    mean = torch.zeros_like(query) if wanted[0] else None
    for rows, _, _, block in similarity_blocks(query, key, layout):
        sums, logs = exponentials(block, layout)
        values.append(logs)
        if mean is not None:
            mean[rows].addmm_(block, key).div_(sums[:, None])
    return (torch.cat(values),) if mean is None else (torch.cat(values), mean)


class _LogSumExp(torch.autograd.Function):
    """Log-sum-exps of the rows, and of the columns if wanted, of query @ key.T; query @ query.T if
    the key is None.

    The blocks that the layout keeps are results too, only to be saved: so PyTorch lets go of them
    after backward.
    """

    @staticmethod
    def forward(query: Tensor, key: Tensor | None, layout: Layout) -> tuple[Tensor, ...]:
        kept: list[Tensor] = []
        row = query.new_full((len(query),), 0.0 if layout.bounded else -math.inf)
        column = (
            row if key is None else row.new_full((len(key),), 0.0 if layout.bounded else -math.inf)
        )
        for rows, columns, mirrored, block in similarity_blocks(query, key, layout):
            beyond = slice(columns.start + mirrored, columns.stop)
            if layout.bounded:
                block.exp2_()
                if layout.kept:
                    kept.append(block)
                row[rows] += block.sum(dim=1)
                if layout.columns:
                    column[beyond] += block[:, mirrored:].sum(dim=0)
                continue
            row[rows] = torch.logaddexp(row[rows], block.logsumexp(dim=1))
            if layout.columns:
                column[beyond] = torch.logaddexp(
                    column[beyond], block[:, mirrored:].logsumexp(dim=0)
                )
        if layout.bounded:
            row = row.log()
            column = column.log()
        return (row, column, *kept) if key is not None and layout.columns else (row, *kept)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        query, key, ctx.layout = inputs
        both = key is not None and ctx.layout.columns
        logs, kept = (output[:2], output[2:]) if both else ((output[0], None), output[1:])
        ctx.mark_non_differentiable(*kept)
        ctx.save_for_backward(query, key, *logs, *kept)

    @staticmethod
    def backward(
        ctx: Any, row_gradient: Tensor, *others_gradients: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None]:
        query, key, row, column, *kept = ctx.saved_tensors
        column_gradient = None if column is None else others_gradients[0]
        tensors = query, key, row, column, row_gradient, column_gradient
        query, key, row, column, row_gradient, column_gradient = mapped_together(*tensors)
        row = row.masked_fill(row == -math.inf, 0.0)  # of a row without columns: exp(-inf - 0) = 0
        others = key
        if key is None:
            others = query
            column = row
            column_gradient = row_gradient
        elif column is not None:
            column = column.masked_fill(column == -math.inf, 0.0)
        query_gradient = torch.zeros_like(query) if ctx.needs_input_grad[0] else None
        key_gradient = (
            query_gradient
            if key is None
            else torch.zeros_like(key)
            if ctx.needs_input_grad[1]
            else None
        )
        with without_autocast(query.device.type):
            # A second derivative needs blocks that depend on the embeddings.
            made = bool(kept) and not torch.is_grad_enabled()
            blocks = (
                _kept_blocks(kept, query, key, ctx.layout)
                if made
                else similarity_blocks(query, key, ctx.layout)
            )
            for rows, columns, mirrored, block in blocks:
                by_row = (row[rows], row_gradient[rows])
                by_column = (
                    None if column_gradient is None else (column[columns], column_gradient[columns])
                )
                weight = _weight(block, by_row, by_column, ctx.layout.bounded, made=made)
                if query_gradient is not None:
                    query_gradient[rows].addmm_(weight, others[columns])
                # The rows have served both orders of a mirrored pair.
                beyond = slice(columns.start + mirrored, columns.stop)
                if key_gradient is not None and beyond.start < beyond.stop:
                    key_gradient[beyond].addmm_(weight[:, mirrored:].T, query[rows])
        return query_gradient, None if key is None else key_gradient, None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], query: Tensor, key: Tensor | None, layout: Layout
    ) -> Any:
        return each_alone(_LogSumExp.apply, info, (*in_dims[:2], None), (query, key, layout))


def _kept_blocks(
    kept: list[Tensor], query: Tensor, key: Tensor | None, layout: Layout
) -> Iterator[Block]:
    """The kept blocks, each with its place."""
    ranges = block_ranges(len(query), None if key is None else len(key), layout.height)
    for (rows, columns, mirrored), block in zip(ranges, kept, strict=True):
        yield rows, columns, mirrored, block


def _weight(
    block: Tensor,
    row: tuple[Tensor, Tensor],
    column: tuple[Tensor, Tensor] | None,
    bounded: bool,
    *,
    made: bool = False,
) -> Tensor:
    """dL/ds of a block of similarities s, (n, m), which is overwritten; or of exp(s) if ``made``,
    which stays as it is.

    Args:
        row: log-sum-exps (n,) and their upstream gradients (n,).
        column: the same of the columns, (m,) each; None if only rows were asked for.
        bounded: whether one exponential may serve both directions.
    """
    if bounded and not made:
        block.exp2_()
    if bounded and column is None:
        return block * (row[1] * (-row[0]).exp())[:, None]
    if column is None:
        return block.sub_(row[0][:, None]).exp_() * row[1][:, None]
    if bounded:
        by_row = row[1] * (-row[0]).exp()
        by_column = column[1] * (-column[0]).exp()
        return (by_row[:, None] + by_column).mul_(block)
    second = (block - column[0]).exp_() * column[1]
    return _weight(block, row, None, bounded).add_(second)
