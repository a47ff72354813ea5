"""Losses over all pairs in little memory: a block of rows at a time, made again in the backward
pass.

Autograd would keep every matrix on the way from the embeddings to the loss. Here it keeps the
embeddings; a block's matrices live while the block is computed, forwards and once more backwards.
Values and gradients are those of the plain form. Second derivatives and ``torch.compile`` work.
``logsumexp`` does the same by hand, faster, for the plain InfoNCE family.

Where a block tells its part of the gradient as soon as it is made, nothing need be made again:
``with_gradients``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nearfar.losses.kernels.similarity import without_autocast

__all__ = [
    "block_height",
    "each_alone",
    "gathered",
    "in_row_blocks",
    "mapped_together",
    "nearest_rows",
    "row_blocks",
    "squared_distances",
    "with_gradients",
]


def block_height(columns: int, device: torch.device) -> int:
    """Rows of a block: about 2^22 entries, on CPUs, whose caches are small, 128 rows or 2^16
    entries if those are more."""
    height = max(1, 2**22 // max(1, columns))
    return min(height, max(128, 2**16 // max(1, columns))) if device.type == "cpu" else height


def row_blocks(
    rows: Tensor, *, columns: int | None = None, height: int | None = None
) -> list[slice]:
    """The ranges of rows that ``in_row_blocks`` takes one after another; arguments as there."""
    height = height or block_height(len(rows) if columns is None else columns, rows.device)
    return [slice(start, min(start + height, len(rows))) for start in range(0, len(rows), height)]


def in_row_blocks(
    function: Callable[[slice], Tensor],
    rows: Tensor,
    *,
    columns: int | None = None,
    height: int | None = None,
) -> Tensor:
    """``function`` of each block of rows, joined along the first axis.

    Args:
        function: from a range of rows to a tensor with as many rows. It may use any tensors around
            it, which receive gradient, but no random numbers, and it should make whatever belongs
            to pairs itself.
        rows: (N, ...); only its length and device are used.
        columns: entries that a row takes on the way; None for N, as in a matrix of all pairs.
        height: rows in a block; None for a good number.

    ``torch.func.grad`` and its kin do not allow checkpoints: under them every block's matrices are
    kept.
    """
    blocks = row_blocks(rows, columns=columns, height=height)
    if len(blocks) < 2:
        return function(slice(0, len(rows)))
    if not torch.is_grad_enabled() or _under_functional_transforms():
        return torch.cat([function(block) for block in blocks])
    return torch.cat(
        [
            checkpoint(function, block, use_reentrant=False, preserve_rng_state=False)
            for block in blocks
        ]
    )


def _under_functional_transforms() -> bool:
    """Whether ``torch.func.grad``, ``vmap`` or the like are at work, other than inside
    ``torch.compile``."""
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


@torch.no_grad()
def nearest_rows(
    query: Tensor, key: Tensor, count: int, *, exclude: tuple[int, ...] = ()
) -> Tensor:
    """Places (V, N, count) int64 of the keys (V, M, D) with the largest products with each query
    (V, N, D), the largest first.

    Args:
        query: (V, N, D).
        key: (V, M, D), each V's own.
        count: at most M less the number of excluded diagonals.
        exclude: diagonals that are no candidates, each by its offset (key's place) - (query's
            place).
    """

    def places(block: slice) -> Tensor:
        similarity = query[:, block] @ key.mT
        for offset in exclude:
            similarity.diagonal(offset + block.start, dim1=1, dim2=2).fill_(-math.inf)
        return similarity.topk(count, dim=-1).indices.transpose(0, 1)

    return in_row_blocks(places, query[0], columns=len(query) * key.shape[1]).transpose(0, 1)


def gathered(rows: Tensor, places: Tensor) -> Tensor:
    """The rows (V, N, k, D) of ``rows`` (V, M, D) at ``places`` (V, N, k)."""
    return rows[torch.arange(len(rows), device=rows.device)[:, None, None], places]


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """(..., N, D) and (..., M, D) to (..., N, M), without the tensor of differences; rounding may
    give values just below 0."""
    return (
        first.square().sum(-1)[..., :, None]
        + second.square().sum(-1)[..., None, :]
        - 2.0 * first @ second.mT
    )


Differentiated = Callable[..., tuple[Tensor, ...]]


def with_gradients(function: Differentiated, *inputs: Tensor) -> Tensor:
    """A value whose gradients are made together with it, in one pass over its blocks; backward only
    multiplies them.

    A second derivative calls ``function`` once more and then keeps what that made; in a forward
    pass alone it makes no gradient.

    Args:
        function: ``function(wanted, *inputs)`` gives the value and then, for each input of which
            ``wanted`` is true, the derivative of the value, a scalar, or else of row i of a value
            (N,) by row i of the input. Differentiable itself (in what it writes in place too), it
            has neither tensors around it that need a gradient nor random numbers.
        inputs: what may need a gradient.
    """
    wanted = tuple(torch.is_grad_enabled() and x.requires_grad for x in inputs)
    if not any(wanted):
        return function(wanted, *inputs)[0]
    value: Tensor = _WithGradients.apply(function, wanted, *inputs)[0]
    return value


def mapped_together(*tensors: Tensor | None) -> list[Any]:
    """The same tensors. Under ``torch.vmap`` each of them stands for several if one of them does,
    as writing in place demands."""
    if not _under_functional_transforms():
        return list(tensors)
    nothing = sum(torch.zeros_like(x.reshape(-1)[:1]).sum() for x in tensors if x is not None)
    return [None if x is None else x + nothing for x in tensors]


def each_alone(
    apply: Callable[..., tuple[Tensor, ...]],
    info: Any,
    in_dims: tuple[int | None, ...],
    args: tuple[Any, ...],
) -> Any:
    """The ``vmap`` rule of a function that works in blocks: one batch after another, the results
    stacked.

    Args:
        apply: of an autograd function, which gives a tuple of tensors.
        info, in_dims, args: what PyTorch hands to a ``vmap`` rule.
    """
    several = []
    for number in range(info.batch_size):
        pairs = zip(args, in_dims, strict=True)
        several.append(apply(*(x if axis is None else x.select(axis, number) for x, axis in pairs)))
    stacked = tuple(torch.stack(values) for values in zip(*several, strict=True))
    return stacked, (0,) * len(stacked)


class _WithGradients(torch.autograd.Function):
    """The value, and the gradients, as results only to be saved."""

    @staticmethod
    def forward(
        function: Differentiated, wanted: tuple[bool, ...], *inputs: Tensor
    ) -> tuple[Tensor, ...]:
        return function(wanted, *inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.function, ctx.wanted, *tensors = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*tensors, *output[1:])

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, *unused: Any) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # to be read once: activation checkpointing refuses a second time
        inputs = saved[: len(ctx.wanted)]
        made = saved[len(ctx.wanted) :]
        if torch.is_grad_enabled():
            with without_autocast(upstream.device.type):
                made = ctx.function(ctx.wanted, *mapped_together(*inputs))[1:]
        scaled = (
            upstream.reshape(upstream.shape + (1,) * (gradient.ndim - upstream.ndim)) * gradient
            for gradient in made
        )
        return None, None, *(next(scaled) if wanted else None for wanted in ctx.wanted)

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[Any, ...],
        function: Differentiated,
        wanted: tuple[bool, ...],
        *inputs: Tensor,
    ) -> Any:
        return each_alone(
            _WithGradients.apply, info, (None, None, *in_dims[2:]), (function, wanted, *inputs)
        )
