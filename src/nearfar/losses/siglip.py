"""SigLIP: every pair of an image and a text is judged by itself, by a sigmoid instead of a softmax."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import logsigmoid

from nearfar.losses.blocks import in_row_blocks
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

    def wrong_pairs(block: slice) -> Tensor:
        logits = scaled[block] @ second.T + logit_bias
        logits.diagonal(anchors.start + block.start).fill_(-math.inf)
        return -logsigmoid(-logits).sum(dim=1)

    return reduce(in_row_blocks(wrong_pairs, scaled, columns=len(second)) - logsigmoid(own), reduction, of=len(first))
