"""DCL: NT-Xent without the positive in the denominator, so that an easy positive no longer weakens
every gradient of its row.

    loss = mean over both views' rows of  - w_i s(i, partner) / tau + log
            sum_{j != i, partner} exp(s(i, j) / tau)

w = 1 (DCL), or w_i = 2 - N softmax_i(s(i, partner) / sigma) (DCLW), which attends to far positives
and is a constant for the gradient. The gradient with respect to a row's positive similarity is -w_i
/ tau whatever the data; NT-Xent's vanishes as the pair gets close. The loss is unbounded below.
Masked terms are dropped exactly and inputs normalised here, both unlike the widely copied
unofficial code.

Source: Yeh et al. 2022, "Decoupled Contrastive Learning", equations 4 and 6.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nearfar.losses.instance.contrastive import log_negatives
from nearfar.losses.kernels.cross_entropy import row_cross_entropy
from nearfar.losses.kernels.logsumexp import row_logsumexp
from nearfar.losses.kernels.similarity import (
    expect_queue,
    expect_rows,
    expect_temperature,
    full_precision,
    own_range,
    reduce,
    similarity_bound,
    unit,
)

__all__ = [
    "coupling",
    "cross_view_dcl",
    "dcl",
    "dclw",
    "nnclr_dcl",
    "positive_weights",
    "queue_dcl",
]


@full_precision
def dcl(
    z1: Tensor,
    z2: Tensor,
    *,
    temperature: float = 0.1,
    rows: slice | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The decoupled loss of two views.

    Args:
        z1, z2: (N, D) embeddings of any length, N at least 2.
        temperature: tau, above 0.
        rows: samples whose views are anchors, of which the mean takes its share (see
            ``contrastive``); None for all.
        reduction: "mean", or "none" for (N,) or one for each of ``rows``, each sample's mean over
            its two rows.

    Raises:
        ValueError: if shapes differ, N < 2, or the temperature is not above 0.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.decoupled import dcl
        >>> z = torch.eye(3)
        >>> dcl(z, z, temperature=0.5)
        tensor(-0.6137)
    """
    return _decoupled(z1, z2, None, temperature, rows, reduction)


@full_precision
def dclw(
    z1: Tensor,
    z2: Tensor,
    *,
    temperature: float = 0.1,
    sigma: float = 0.5,
    rows: slice | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The decoupled loss with weighted positives.

    Args:
        z1, z2, temperature, rows, reduction, Raises: as in ``dcl``.
        sigma: temperature of the weights, above 0; large values give ``dcl``.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.decoupled import dclw
        >>> z = torch.eye(3)
        >>> dclw(z, z, temperature=0.5)
        tensor(-0.6137)
    """
    return _decoupled(z1, z2, sigma, temperature, rows, reduction)


def positive_weights(z1: Tensor, z2: Tensor, *, sigma: float = 0.5) -> Tensor:
    """DCLW's weights (N,) of the pairs of (N, D): mean 1, larger for farther pairs, no gradient."""
    similarity = (unit(z1) * unit(z2)).sum(dim=1).detach()
    return 2.0 - len(z1) * torch.softmax(similarity / sigma, dim=0)


def _decoupled(
    z1: Tensor,
    z2: Tensor,
    sigma: float | None,
    temperature: float,
    rows: slice | None,
    reduction: str,
) -> Tensor:
    expect_rows(least=2, z1=z1, z2=z2)
    expect_temperature(temperature)
    first = unit(z1)
    second = unit(z2)
    attraction = (first * second).sum(dim=1) / temperature
    if sigma is not None:
        attraction = positive_weights(z1, z2, sigma=sigma) * attraction
    attraction = attraction[own_range(rows, len(z1))]
    repulsion = log_negatives(first, second, temperature, rows)
    return reduce(repulsion.view(2, -1).mean(dim=0) - attraction, reduction, of=len(z1))


@full_precision
def cross_view_dcl(
    query: Tensor,
    key: Tensor,
    *,
    temperature: float = 0.1,
    rows: slice | None = None,
    reduction: str = "mean",
) -> Tensor:
    """One direction, with the other samples' keys alone as negatives: what DCL makes of NNCLR's and
    CLIP's matrix.

    Args:
        query, key: (N, D) of any length, N at least 2.
        temperature, rows, reduction, Raises: as in ``dcl``, "none" being (N,) or one for each of
            ``rows``.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.decoupled import cross_view_dcl
        >>> z = torch.eye(3)
        >>> cross_view_dcl(z, z, temperature=0.5)
        tensor(-1.3069)
    """
    expect_rows(least=2, query=query, key=key)
    expect_temperature(temperature)
    anchors = own_range(rows, len(query))
    how: dict[str, Any] = {
        "temperature": temperature,
        "start": anchors.start,
        "bound": similarity_bound(temperature),
    }
    own = query if rows is None else query[anchors]
    return row_cross_entropy(
        own, key, cosine=True, decoupled=True, **how, reduction=reduction, of=len(key)
    )


def nnclr_dcl(
    nn1: Tensor,
    nn2: Tensor,
    p1: Tensor,
    p2: Tensor,
    *,
    temperature: float = 0.1,
    rows: slice | None = None,
) -> Tensor:
    """NNCLR with DCL: the mean of ``cross_view_dcl`` of both directions, arguments as in ``nnclr``;
    neighbours are constants.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.decoupled import nnclr_dcl
        >>> p = torch.eye(3)
        >>> nnclr_dcl(p, p, p, p, temperature=0.5)
        tensor(-1.3069)
    """
    first = cross_view_dcl(nn1.detach(), p2, temperature=temperature, rows=rows)
    return (first + cross_view_dcl(nn2.detach(), p1, temperature=temperature, rows=rows)) / 2


@full_precision
def queue_dcl(
    query: Tensor,
    key: Tensor,
    queue: Tensor,
    *,
    temperature: float = 0.2,
    rows: slice | None = None,
    reduction: str = "mean",
) -> Tensor:
    """MoCo with DCL: -q.k / tau + log sum over the queue of exp(q.Q / tau).

    Args:
        query: (N, D) of any length.
        key: (N, D) of any length; receives no gradient.
        queue: (K, D) unit keys; receives no gradient.
        temperature, rows, reduction, Raises: as in ``dcl``, "none" being (N,) or one for each of
            ``rows``.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.decoupled import queue_dcl
        >>> query, queue = torch.eye(4)[:2], torch.eye(4)[2:]
        >>> queue_dcl(query, query, queue)
        tensor(-4.3069)
    """
    expect_rows(query=query, key=key)
    expect_temperature(temperature)
    expect_queue(queue, query.shape[1])
    anchors = own_range(rows, len(query))
    scaled = unit(query[anchors]) / temperature
    own = unit(key[anchors].detach())
    others = row_logsumexp(
        scaled, queue.detach().to(query.dtype), bound=similarity_bound(temperature, queue)
    )
    return reduce(others - (scaled * own).sum(dim=1), reduction, of=len(query))


@torch.no_grad()
@full_precision
def coupling(
    z1: Tensor, z2: Tensor, *, temperature: float = 0.1, rows: slice | None = None
) -> Tensor:
    """The factor (2, N) that NT-Xent multiplies every gradient of a row by: the negatives' share of
    its denominator.

    Args:
        rows: samples that are wanted; None for all N.
    """
    first = unit(z1)
    second = unit(z2)
    negatives = log_negatives(first, second, temperature, rows).view(2, -1)
    return torch.sigmoid(
        negatives - (first * second).sum(dim=1)[own_range(rows, len(z1))] / temperature
    )
