"""SigLIP: every pair of an image and a text is judged by itself, by a sigmoid instead of a
softmax."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from nearfar.losses.kernels.blocks import in_row_blocks, with_gradients
from nearfar.losses.kernels.similarity import (
    expect_rows,
    expect_temperature,
    full_precision,
    own_range,
    reduce,
    similarity_bound,
)
from nearfar.losses.kernels.similarity_blocks import Layout, one_pass_height, similarity_blocks

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
    """The pairwise sigmoid loss: a binary choice for each of the N^2 pairs, of which only the N
    partners are right.

        loss = - 1/N sum_i sum_j log sigmoid( y_ij (t first_i . second_j + b) ),
          y_ii = 1, y_ij = -1

    Args:
        first: (N, D) unit rows, such as images; as in the published code they are NOT made unit
            rows here.
        second: (N, D) unit rows, such as their texts.
        logit_scale: t, what multiplies the cosines; a scalar tensor receives its gradient. The
            paper starts at 10.
        logit_bias: b, likewise; the paper starts at -10, since nearly all pairs are wrong.
        rows: rows of ``first`` that are anchors; None for all. See ``contrastive``.
        reduction: "mean" over the N rows, or "none": (N,), or one for each of ``rows``, each the
            sum over its N pairs.

    Example:
        >>> import torch
        >>> from nearfar.losses import siglip
        >>> image, text = torch.eye(3), torch.eye(3)
        >>> siglip(image, text, logit_scale=10.0, logit_bias=-10.0)
        tensor(0.6932)

    Source: Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training", equation 1 and
    algorithm 1.
    """
    expect_rows(first=first, second=second)
    expect_temperature(logit_scale, "logit_scale")
    if isinstance(logit_bias, Tensor) and logit_bias.ndim:
        raise ValueError(
            "The logit_bias must be a number or a scalar tensor; found the shape "
            f"{tuple(logit_bias.shape)}."
        )
    anchors = own_range(rows, len(first))
    scaled = first[anchors] * logit_scale
    bias = torch.as_tensor(logit_bias, dtype=scaled.dtype, device=scaled.device)
    if reduction == "mean":
        limit = similarity_bound(1.0, scaled, second) + similarity_bound(1.0, bias[None, None])
        return with_gradients(
            functools.partial(_sum, anchors.start, limit), scaled, second, bias
        ) / len(first)

    def losses(block: slice) -> Tensor:
        logits = torch.addmm(bias, scaled[block], second.T)
        logits.diagonal(anchors.start + block.start).neg_()
        return softplus(logits, threshold=40.0).sum(dim=1)

    return reduce(in_row_blocks(losses, scaled, columns=len(second)), reduction)


def _sum(
    start: int, limit: float, wanted: tuple[bool, ...], query: Tensor, key: Tensor, bias: Tensor
) -> tuple[Tensor, ...]:
    """The sum of all pairs' losses and its derivatives where they are wanted; the logits are at
    most ``limit``."""
    layout = Layout(
        one_pass_height(len(key), query.device), (), bounded=True, columns=False, kept=False
    )
    top = _FOUR * math.log(torch.finfo(query.dtype).max)
    by_query, by_key = (
        torch.empty_like(side) if needed else None
        for side, needed in zip((query, key), wanted[:2], strict=True)
    )
    total = query.new_zeros(())
    by_bias = torch.zeros_like(bias)
    for rows, _, _, block in similarity_blocks(query, key, layout, bias):
        block.diagonal(start + rows.start).neg_()
        if limit > top:
            total = total + (block - top * layout.unit).clamp_(min=0.0).sum() / layout.unit
            block = block.clamp(max=top * layout.unit)
        power = block.exp2_()
        total = total + _log_of_one_more(power)
        if not any(wanted):
            continue
        more = 1.0 + power
        weight = power / more if torch.is_grad_enabled() else power.div_(more)
        weight.diagonal(start + rows.start).neg_()
        by_bias = by_bias + weight.sum()
        if by_query is not None:
            by_query[rows].addmm_(weight, key, beta=0)
        if by_key is not None:
            by_key.addmm_(weight.T, query[rows], beta=int(rows.start > 0))
    gradients = (by_query, by_key, by_bias if wanted[2] else None)
    return total, *(gradient for gradient in gradients if gradient is not None)


_FOUR = 0.24
"""Share of the exponent's range within which the product of four numbers stays finite."""


@torch.no_grad()
def _log_of_one_more(values: Tensor) -> Tensor:
    """The sum of log(1 + v) over values above 0, each to full relative precision; not
    differentiable.

    Logarithms are dear: of 1 + a and 1 + b together it is one, of 1 + (a + b + ab).
    """
    flat = values.flatten()
    quarter = values.numel() // 4
    first, second, third, fourth = flat[: 4 * quarter].view(4, quarter)
    some = (first + second).addcmul_(first, second)
    others = (third + fourth).addcmul_(third, fourth)
    return _log1p((some + others).addcmul_(some, others)).sum() + _log1p(flat[4 * quarter :]).sum()


def _log1p(values: Tensor) -> Tensor:
    """log(1 + v) as log(m) v / (m - 1) with m = 1 + v as it is rounded; on CPUs a tenth of the time
    of ``torch.log1p``.

    Source: Goldberg 1991, "What Every Computer Scientist Should Know About Floating-Point
    Arithmetic", theorem 4, after Kahan.
    """
    more = 1.0 + values
    logs = more.log()
    lost = more.sub_(1.0) == 0.0
    return torch.where(lost, values, logs.div_(more).mul_(values))
