"""Cross-entropy over the rows of a similarity matrix, whose mean needs one pass over the matrix for
its value and its gradient.

A row is final with its block: its log-sum-exp l_i over the other keys, and with it what the mean
loss asks of it, are known while exp(s_ij) are still there. So each block is made once, and gives
the value and, by one product for each side, the gradient, where ``logsumexp`` must make it again
for backward.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from nearfar.losses.kernels.blocks import with_gradients
from nearfar.losses.kernels.logsumexp import row_logsumexp
from nearfar.losses.kernels.similarity import reduce, unit, unit_and_length, unit_gradient
from nearfar.losses.kernels.similarity_blocks import (
    Layout,
    exponentials,
    layout_of,
    one_pass_height,
    similarity_blocks,
)

__all__ = ["row_cross_entropy"]

_EXACT = 40.0
"""From here on log(1 + exp(x)) is x, also in float64."""


def row_cross_entropy(
    query: Tensor,
    key: Tensor,
    *,
    temperature: float | Tensor = 1.0,
    cosine: bool = False,
    start: int = 0,
    decoupled: bool = False,
    bound: float = math.inf,
    reduction: str = "mean",
    of: int | None = None,
) -> Tensor:
    """log(1 + sum_j exp(s_ij - s_i)) for each query i, with s_i its similarity to its own key and
    s_ij to the other keys.

    Args:
        query: (N, D).
        key: (M, D), M at least N + ``start``; query i's own is key i + ``start``.
        temperature: what divides the products; a tensor receives its gradient.
        cosine: make both sides unit rows first, as part of the pass.
        start: place of the first query's own key.
        decoupled: leave the 1 out, which stands for the own key.
        bound: a known upper bound of |s|: a small one saves time.
        reduction, of: as in ``reduce``: "mean" takes one pass over the blocks, "none" a second for
            a key's gradient.

    For use within a ``full_precision`` loss.
    """
    if cosine and (isinstance(temperature, Tensor) or reduction != "mean"):
        query = unit(query)
        key = unit(key)
        cosine = False
    if isinstance(temperature, Tensor) or reduction != "mean":
        query = query / temperature
        temperature = 1.0
    if reduction == "mean":
        layout = layout_of(
            query, key, (), bound, one_pass_height(len(key), query.device), scale=1 / temperature
        )
        return with_gradients(
            functools.partial(_cross_entropies, layout, cosine, start, decoupled), query, key
        ) / (of or len(query))
    own = (query * key[start : start + len(query)]).sum(dim=1)
    margin = row_logsumexp(query, key, exclude=(start,), bound=bound) - own
    return reduce(margin if decoupled else softplus(margin, threshold=_EXACT), reduction)


def _cross_entropies(
    layout: Layout,
    cosine: bool,
    start: int,
    decoupled: bool,
    wanted: tuple[bool, ...],
    query: Tensor,
    key: Tensor,
) -> tuple[Tensor, ...]:
    """The sum of ``row_cross_entropy`` and its derivatives by the query and the key, where they are
    wanted."""
    if cosine:
        (query, query_length) = unit_and_length(query)
        (key, key_length) = unit_and_length(key)
    by_query, by_key = (
        torch.empty_like(side) if needed else None
        for side, needed in zip((query, key), wanted, strict=True)
    )
    margins = []
    for rows, _, _, block in similarity_blocks(query, key, layout):
        diagonal = block.diagonal(start + rows.start)
        own = diagonal / layout.unit
        diagonal.fill_(-math.inf)
        sums, logs = exponentials(block, layout)
        margins.append(logs - own)
        if not any(wanted):
            continue
        factor = layout.scale / sums if decoupled else layout.scale * margins[-1].sigmoid() / sums
        # The own key's derivative is minus that of all others together. A second derivative needs
        # the exponentials as they were.
        weight = block.clone() if torch.is_grad_enabled() else block
        weight.diagonal(start + rows.start).copy_(-sums)
        if by_query is not None:
            by_query[rows].addmm_(weight, key, beta=0).mul_(factor[:, None])
        if by_key is not None:
            by_key.addmm_(weight.T, query[rows] * factor[:, None], beta=int(rows.start > 0))
    margin = torch.cat(margins)
    total = (margin if decoupled else softplus(margin, threshold=_EXACT)).sum()
    if cosine:
        by_query = None if by_query is None else unit_gradient(by_query, query, query_length)
        by_key = None if by_key is None else unit_gradient(by_key, key, key_length)
    return total, *(gradient for gradient in (by_query, by_key) if gradient is not None)
