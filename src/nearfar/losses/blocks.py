"""Losses over all pairs in little memory: a block of rows at a time, made again in the backward pass.

Autograd would keep every matrix on the way from the embeddings to the loss. Here it keeps the embeddings; a block's matrices
live while the block is computed, forwards and once more backwards. Values and gradients are those of the plain form. Second
derivatives and ``torch.compile`` work. ``logsumexp`` does the same by hand, faster, for the plain InfoNCE family.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

__all__ = ["block_height", "in_row_blocks", "squared_distances"]


def block_height(columns: int, device: torch.device) -> int:
    """Rows of a block of about 2^22 entries; few on CPUs, whose caches are small."""
    height = max(1, 2**22 // max(1, columns))
    return min(height, 128) if device.type == "cpu" else height


def in_row_blocks(function: Callable[[slice], Tensor], rows: Tensor, *, columns: int | None = None, height: int | None = None) -> Tensor:
    """``function`` of each block of rows, joined along the first axis.

    Args:
        function: from a range of rows to a tensor with as many rows. It may use any tensors around it, which receive gradient,
            but no random numbers, and it should make whatever belongs to pairs itself.
        rows: (N, ...); only its length and device are used.
        columns: entries that a row takes on the way; None for N, as in a matrix of all pairs.
        height: rows in a block; None for a good number.
    """
    height = height or block_height(len(rows) if columns is None else columns, rows.device)
    if len(rows) <= height:
        return function(slice(0, len(rows)))
    blocks = [slice(start, min(start + height, len(rows))) for start in range(0, len(rows), height)]
    if not torch.is_grad_enabled():
        return torch.cat([function(block) for block in blocks])
    return torch.cat([checkpoint(function, block, use_reentrant=False, preserve_rng_state=False) for block in blocks])


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """(..., N, D) and (..., M, D) to (..., N, M), without the tensor of differences; rounding may give values just below 0."""
    return first.square().sum(-1)[..., :, None] + second.square().sum(-1)[..., None, :] - 2.0 * first @ second.mT
