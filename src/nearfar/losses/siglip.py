"""SigLIP: every pair of an image and a text is judged by itself, by a sigmoid instead of a softmax."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from nearfar.losses.blocks import row_blocks
from nearfar.losses.similarity import expect_rows, full_precision, own_range, reduce

__all__ = ["siglip"]


@full_precision
def siglip(
    first: Tensor,
    second: Tensor,
    *,
    logit_scale: float | Tensor,
    logit_bias: float | Tensor = 0.0,
    rows: slice | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The pairwise sigmoid loss: a binary choice for each of the N^2 pairs, of which only the N partners are right.

        loss = - 1/N sum_i sum_j log sigmoid( y_ij (t first_i . second_j + b) ),   y_ii = 1, y_ij = -1

    Args:
        first: (N, D) unit rows, such as images; as in the published code they are NOT made unit rows here.
        second: (N, D) unit rows, such as their texts.
        logit_scale: t, what multiplies the cosines; a scalar tensor receives its gradient. The paper starts at 10.
        logit_bias: b, likewise; the paper starts at -10, since nearly all pairs are wrong.
        rows: rows of ``first`` that are anchors; None for all. See ``contrastive``.
        reduction: "mean" over the N rows, or "none": (N,), or one for each of ``rows``, each the sum over its N pairs.

    Source: Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training", equation 1 and algorithm 1.
    """
    expect_rows(first=first, second=second)
    anchors = own_range(rows, len(first))
    scaled = first * logit_scale
    own = (scaled * second).sum(dim=1)[anchors] + logit_bias
    scaled = scaled[anchors]

    bias = torch.as_tensor(logit_bias, dtype=scaled.dtype, device=scaled.device)
    wrong: Tensor = _WrongPairs.apply(scaled, second, bias, anchors.start)
    return reduce(wrong - logsigmoid(own), reduction, of=len(first))


class _WrongPairs(torch.autograd.Function):
    """sum_j softplus(query_i . key_j + bias) of each row over all keys but the partner; backward makes the blocks again."""

    @staticmethod
    def forward(query: Tensor, key: Tensor, bias: Tensor, offset: int) -> Tensor:
        sums = [softplus(block, threshold=40.0).sum(dim=1) for _, block in _blocks(query, key, bias, offset)]
        return torch.cat(sums)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        query, key, bias, ctx.offset = inputs
        ctx.save_for_backward(query, key, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, bias = ctx.saved_tensors
        query_gradient, key_gradient, bias_gradient = (torch.zeros_like(x) for x in (query, key, bias))
        with torch.autocast(query.device.type, enabled=False):
            for rows, block in _blocks(query, key, bias, ctx.offset):
                weight = torch.sigmoid(block) * gradient[rows, None]
                query_gradient[rows].addmm_(weight, key)
                key_gradient.addmm_(weight.T, query[rows])
                bias_gradient.add_(weight.sum())
        return query_gradient, key_gradient, bias_gradient, None


def _blocks(query: Tensor, key: Tensor, bias: Tensor, offset: int) -> Iterator[tuple[slice, Tensor]]:
    """The logits in blocks of rows, -inf for partners: row i's is key i + offset."""
    for rows in row_blocks(query, columns=len(key)):
        block = torch.addmm(bias, query[rows], key.T)
        block.diagonal(offset + rows.start).fill_(-math.inf)
        yield rows, block
