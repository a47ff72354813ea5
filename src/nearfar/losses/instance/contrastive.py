"""The InfoNCE family: a row must pick its partner out of many by similarity.

With sim the cosine, tau the temperature and n_i the log-sum-exp of sim / tau over the other
candidates of row i,

    loss_i = - log( exp(sim(i, partner) / tau) / sum over all candidates of exp(sim / tau) )
           = softplus(n_i - sim(i, partner) / tau)

The second form keeps its relative precision when the loss is nearly 0. The functions differ in who
the candidates are. None keeps an N x N matrix (see ``logsumexp``). A row without other candidates
(batch of one) has loss 0 and gradient 0. Inputs are made unit rows here unless said; half types are
computed in float32. Wrong shapes raise ValueError.

Where several processes hold the joined batch, each may take ``rows``, its own range of the samples,
as anchors against all columns: "mean" then is its share of the loss, and shares and their gradients
add up to the whole's.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from nearfar.losses.kernels.cross_entropy import row_cross_entropy
from nearfar.losses.kernels.logsumexp import mutual_logsumexp, row_logsumexp, self_logsumexp
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

__all__ = ["clip", "info_nce", "moco_v3", "nnclr", "nt_xent", "queue_info_nce"]


@full_precision
def nt_xent(
    z1: Tensor,
    z2: Tensor,
    *,
    temperature: float | Tensor = 0.1,
    rows: slice | None = None,
    reduction: str = "mean",
) -> Tensor:
    """SimCLR's loss: each of the 2N rows must find its other view among the other 2N - 1 rows of
    both views.

        loss_i = -sim(i, partner) / tau + log sum_{j != i} exp(sim(i, j) / tau)

    Args:
        z1: (N, D) projections of the first view.
        z2: (N, D) of the second view, in the same order.
        temperature: tau, above 0; a scalar tensor receives its gradient.
        rows: samples whose views are anchors; None for all.
        reduction: "mean" over the 2N rows; "simclr_sum", the sum of the two views' means as in the
            authors' TensorFlow code, which is twice as much; or "none": (2N,), or 2 for each of
            ``rows``, those of ``z1`` first.

    Example:
        >>> import torch
        >>> from nearfar.losses import nt_xent
        >>> z1, z2 = torch.eye(3), torch.eye(3).roll(1, 0)
        >>> nt_xent(z1, z1, temperature=0.5)
        tensor(0.4327)
        >>> nt_xent(z1, z2, temperature=0.5, reduction="none")
        tensor([2.4327, 2.4327, 2.4327, 2.4327, 2.4327, 2.4327])

    Source: Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual
    Representations", equation 1.
    """
    expect_rows(z1=z1, z2=z2)
    expect_temperature(temperature)
    u1 = unit(z1)
    u2 = unit(z2)
    others = log_negatives(u1, u2, temperature, rows)
    partner = (u1 * u2).sum(dim=1)[own_range(rows, len(z1))] / temperature
    losses = -logsigmoid(partner.repeat(2) - others)
    return (
        2 * reduce(losses, "mean", of=2 * len(z1))
        if reduction == "simclr_sum"
        else reduce(losses, reduction, of=2 * len(z1))
    )


def log_negatives(
    u1: Tensor, u2: Tensor, temperature: float | Tensor, rows: slice | None = None
) -> Tensor:
    """log of the sum of exp(cosine / temperature) over the other samples' rows, of each row of both
    views.

    Args:
        u1, u2: (N, D) unit rows of the two views.
        temperature: above 0.
        rows: samples that are wanted; None for all, which takes less than N times one.

    Returns:
        (2N,), or 2 for each of ``rows``, those of ``u1`` first.
    """
    own = own_range(rows, len(u1))
    bound = similarity_bound(temperature)
    scale = (1 / temperature) ** 0.5
    near = torch.cat([u1[own], u2[own]]) * scale
    n = own.stop - own.start
    among = self_logsumexp(near, exclude=(0, n, -n), bound=bound)
    if n == len(u1):
        return among
    far = torch.cat([part for u in (u1, u2) for part in (u[: own.start], u[own.stop :])]) * scale
    return torch.logaddexp(among, row_logsumexp(near, far, bound=bound))


@full_precision
def info_nce(
    query: Tensor,
    key: Tensor,
    *,
    temperature: float | Tensor = 0.1,
    symmetric: bool = False,
    rows: slice | None = None,
    reduction: str = "mean",
) -> Tensor:
    """In-batch InfoNCE: each query must find its own key among the keys of the batch; queries are
    never compared.

        loss_i = -sim(q_i, k_i) / tau + log sum_j exp(sim(q_i, k_j) / tau)

    Args:
        query: (N, D).
        key: (N, D), the partners in the same order.
        temperature: tau, above 0; a scalar tensor receives its gradient.
        symmetric: take the mean of this and of the loss with queries and keys exchanged.
        rows: pairs that are anchors; None for all.
        reduction: "mean" over the N pairs, or "none": (N,), or one for each of ``rows``.

    Example:
        >>> import torch
        >>> from nearfar.losses import info_nce
        >>> query, key = torch.eye(3), torch.eye(3)
        >>> info_nce(query, key, temperature=0.5)
        tensor(0.2395)

    Source: van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding",
    equation 4.
    """
    expect_rows(query=query, key=key)
    expect_temperature(temperature)
    bound = similarity_bound(temperature)
    anchors = own_range(rows, len(query))
    if symmetric:
        return _both_directions(unit(query) / temperature, unit(key), rows, bound, reduction)
    how: dict[str, Any] = {
        "temperature": temperature,
        "start": anchors.start,
        "bound": bound,
        "reduction": reduction,
    }
    return row_cross_entropy(
        query if rows is None else query[anchors], key, cosine=True, **how, of=len(key)
    )


@full_precision
def queue_info_nce(
    query: Tensor,
    key: Tensor,
    queue: Tensor,
    *,
    temperature: float | Tensor = 0.2,
    rows: slice | None = None,
    reduction: str = "mean",
) -> Tensor:
    """MoCo's loss: each query must find its own key among the keys of earlier batches.

        loss_i = -q_i . k_i / tau + log( exp(q_i . k_i / tau) + sum_m exp(q_i . queue_m / tau) )

    Args:
        query: (N, D), made unit rows here.
        key: (N, D), made unit rows here; a constant.
        queue: (K, D) unit rows as they were stored; constants.
        temperature: tau, above 0; a scalar tensor receives its gradient.
        rows: queries that are wanted; None for all.
        reduction: "mean" over the N queries, or "none": (N,), or one for each of ``rows``.

    Example:
        >>> import torch
        >>> from nearfar.losses import queue_info_nce
        >>> query, queue = torch.eye(4)[:2], torch.eye(4)[2:]
        >>> queue_info_nce(query, query, queue)
        tensor(0.0134)

    Source: He et al. 2019, "Momentum Contrast for Unsupervised Visual Representation Learning",
    equation 1.
    """
    expect_rows(query=query, key=key)
    expect_temperature(temperature)
    expect_queue(queue, query.shape[1])
    anchors = own_range(rows, len(query))
    scaled = unit(query[anchors]) / temperature
    own = (scaled * unit(key[anchors].detach())).sum(dim=1)
    others = row_logsumexp(
        scaled, queue.detach().to(query.dtype), bound=similarity_bound(temperature, queue)
    )
    return reduce(-logsigmoid(own - others), reduction, of=len(query))


@full_precision
def clip(
    first: Tensor,
    second: Tensor,
    *,
    logit_scale: float | Tensor,
    rows: slice | None = None,
    reduction: str = "mean",
) -> Tensor:
    """CLIP's loss: each row must find its partner among the other side's rows, in both directions.

        loss = 1/2 mean_i [ -s_ii + log sum_j exp(s_ij) ] + 1/2 mean_j [ -s_jj + log sum_i exp(s_ij)
        ] with s = logit_scale first second^T

    Args:
        first: (N, D) unit rows, such as images; as in the published code they are NOT made unit
            rows here.
        second: (N, D) unit rows, such as their texts.
        logit_scale: what multiplies the cosines, 1 / tau; a scalar tensor receives its gradient.
        rows: pairs that are anchors; None for all.
        reduction: "mean" over the N pairs, or "none": (N,), or one for each of ``rows``, each the
            mean of its two directions.

    Example:
        >>> import torch
        >>> from nearfar.losses import clip
        >>> image, text = torch.eye(3), torch.eye(3)
        >>> clip(image, text, logit_scale=10.0)
        tensor(9.0796e-05)

    Source: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
    Supervision", figure 3.
    """
    expect_rows(first=first, second=second)
    expect_temperature(logit_scale, "logit_scale")
    scaled = first * logit_scale
    return _both_directions(scaled, second, rows, similarity_bound(1.0, scaled, second), reduction)


def _both_directions(
    scaled: Tensor, key: Tensor, rows: slice | None, bound: float, reduction: str
) -> Tensor:
    """The mean of each pair's losses as a row and as a column of the matrix scaled @ key.T."""
    if rows is not None:
        anchors = own_range(rows, len(key))
        alone = functools.partial(
            row_cross_entropy, start=anchors.start, bound=bound, reduction=reduction, of=len(key)
        )
        return (alone(scaled[anchors], key) + alone(key[anchors], scaled)) / 2
    own = (scaled * key).sum(dim=1)
    (forth, back) = mutual_logsumexp(scaled, key, exclude=(0,), bound=bound)
    return reduce(-(logsigmoid(own - forth) + logsigmoid(own - back)) / 2, reduction)


@full_precision
def moco_v3(
    q1: Tensor,
    q2: Tensor,
    k1: Tensor,
    k2: Tensor,
    *,
    temperature: float | Tensor = 1.0,
    rows: slice | None = None,
) -> Tensor:
    """MoCo v3's loss: predictions of one view against momentum projections of the other, no queue.

        loss = ctr(q1, k2) + ctr(q2, k1),  ctr(q, k) = 2 tau info_nce(q, k)

    Args:
        q1, q2: (N, D) predictions of the two views.
        k1, k2: (N, D) projections by the momentum encoder; constants.
        temperature: tau, above 0.
        rows: samples whose queries are anchors; None for all.

    Example:
        >>> import torch
        >>> from nearfar.losses import moco_v3
        >>> q, k = torch.eye(3), torch.eye(3)
        >>> moco_v3(q, q, k, k, temperature=0.2)
        tensor(0.0107)

    Source: Chen et al. 2021, "An Empirical Study of Training Self-Supervised Vision Transformers",
    algorithm 1.
    """
    first = info_nce(q1, k2.detach(), temperature=temperature, rows=rows)
    return 2 * temperature * (first + info_nce(q2, k1.detach(), temperature=temperature, rows=rows))


def nnclr(
    nn1: Tensor,
    nn2: Tensor,
    p1: Tensor,
    p2: Tensor,
    *,
    temperature: float | Tensor = 0.1,
    rows: slice | None = None,
) -> Tensor:
    """NNCLR's loss: the nearest neighbour of one view's projection must find the prediction of the
    other view.

        loss = 1/2 info_nce(nn1, p2) + 1/2 info_nce(nn2, p1)

    Args:
        nn1, nn2: (N, D) nearest neighbours, in the support set, of the projections of views 1 and
            2; constants.
        p1, p2: (N, D) predictions of the two views.
        temperature: tau, above 0.
        rows: samples whose neighbours are anchors; None for all.

    Example:
        >>> import torch
        >>> from nearfar.losses import nnclr
        >>> p = torch.eye(3)
        >>> nnclr(p, p, p, p, temperature=0.5)
        tensor(0.2395)

    Source: Dwibedi et al. 2021, "With a Little Help from My Friends", equations 3 and 4.
    """
    first = info_nce(nn1.detach(), p2, temperature=temperature, rows=rows)
    return (first + info_nce(nn2.detach(), p1, temperature=temperature, rows=rows)) / 2
