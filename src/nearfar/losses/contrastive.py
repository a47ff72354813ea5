"""The InfoNCE family: a row must pick its partner out of many by similarity.

With sim the cosine, tau the temperature and n_i the log-sum-exp of sim / tau over the other candidates of row i,

    loss_i = - log( exp(sim(i, partner) / tau) / sum over all candidates of exp(sim / tau) )
           = softplus(n_i - sim(i, partner) / tau)

The second form keeps its relative precision when the loss is nearly 0. The functions differ in who the candidates are.
None keeps an N x N matrix (see ``logsumexp``). A row without other candidates (batch of one) has loss 0 and gradient 0.
Inputs are made unit rows here unless said; half types are computed in float32. Wrong shapes raise ValueError.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from nearfar.losses.logsumexp import mutual_logsumexp, row_logsumexp, self_logsumexp
from nearfar.losses.similarity import expect_rows, expect_temperature, full_precision, reduce, unit

__all__ = ["clip", "info_nce", "moco_v3", "nnclr", "nt_xent", "queue_info_nce", "supcon"]


@full_precision
def nt_xent(z1: Tensor, z2: Tensor, *, temperature: float | Tensor = 0.1, reduction: str = "mean") -> Tensor:
    """SimCLR's loss: each of the 2N rows must find its other view among the other 2N - 1 rows of both views.

        loss_i = -sim(i, partner) / tau + log sum_{j != i} exp(sim(i, j) / tau)

    Args:
        z1: (N, D) projections of the first view.
        z2: (N, D) of the second view, in the same order.
        temperature: tau, above 0; a scalar tensor receives its gradient.
        reduction: "mean" over the 2N rows, or "none": (2N,), the rows of ``z1`` first.

    The authors' TensorFlow code adds the means of the two views, which is twice the mean.

    Source: Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations", equation 1.
    """
    expect_rows(z1=z1, z2=z2)
    expect_temperature(temperature)
    n, scale = len(z1), 1 / temperature
    u1, u2 = unit(z1), unit(z2)
    others = self_logsumexp(torch.cat([u1, u2]) * scale**0.5, exclude=(0, n, -n), bound=_bound(temperature))
    partner = scale * (u1 * u2).sum(dim=1)
    return reduce(-logsigmoid(partner.repeat(2) - others), reduction)


@full_precision
def info_nce(
    query: Tensor,
    key: Tensor,
    *,
    temperature: float | Tensor = 0.1,
    symmetric: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """In-batch InfoNCE: each query must find its own key among the keys of the batch; queries are never compared.

        loss_i = -sim(q_i, k_i) / tau + log sum_j exp(sim(q_i, k_j) / tau)

    Args:
        query: (N, D).
        key: (N, D), the partners in the same order.
        temperature: tau, above 0; a scalar tensor receives its gradient.
        symmetric: take the mean of this and of the loss with queries and keys exchanged.
        reduction: "mean" over the N pairs, or "none": (N,).

    Source: van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding", equation 4.
    """
    expect_rows(query=query, key=key)
    expect_temperature(temperature)
    scaled, key = unit(query) / temperature, unit(key)
    own = (scaled * key).sum(dim=1)
    if symmetric:
        rows, columns = mutual_logsumexp(scaled, key, exclude=(0,), bound=_bound(temperature))
        return reduce(-(logsigmoid(own - rows) + logsigmoid(own - columns)) / 2, reduction)
    return reduce(-logsigmoid(own - row_logsumexp(scaled, key, exclude=(0,))), reduction)


@full_precision
def queue_info_nce(query: Tensor, key: Tensor, queue: Tensor, *, temperature: float | Tensor = 0.2, reduction: str = "mean") -> Tensor:
    """MoCo's loss: each query must find its own key among the keys of earlier batches.

        loss_i = -q_i . k_i / tau + log( exp(q_i . k_i / tau) + sum_m exp(q_i . queue_m / tau) )

    Args:
        query: (N, D), made unit rows here.
        key: (N, D), made unit rows here; a constant.
        queue: (K, D) unit rows as they were stored; constants.
        temperature: tau, above 0; a scalar tensor receives its gradient.
        reduction: "mean" over the N queries, or "none": (N,).

    Source: He et al. 2019, "Momentum Contrast for Unsupervised Visual Representation Learning", equation 1.
    """
    expect_rows(query=query, key=key)
    expect_temperature(temperature)
    scaled = unit(query) / temperature
    own = (scaled * unit(key.detach())).sum(dim=1)
    return reduce(-logsigmoid(own - row_logsumexp(scaled, queue.detach())), reduction)


@full_precision
def clip(first: Tensor, second: Tensor, *, logit_scale: float | Tensor, reduction: str = "mean") -> Tensor:
    """CLIP's loss: each row must find its partner among the other side's rows, in both directions.

        loss = 1/2 mean_i [ -s_ii + log sum_j exp(s_ij) ] + 1/2 mean_j [ -s_jj + log sum_i exp(s_ij) ]
        with s = logit_scale first second^T

    Args:
        first: (N, D) unit rows, such as images; as in the published code they are NOT made unit rows here.
        second: (N, D) unit rows, such as their texts.
        logit_scale: what multiplies the cosines, 1 / tau; a scalar tensor receives its gradient.
        reduction: "mean" over the N pairs, or "none": (N,), each the mean of its two directions.

    Source: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision", figure 3.
    """
    expect_rows(first=first, second=second)
    scaled = first * logit_scale
    own = (scaled * second).sum(dim=1)
    rows, columns = mutual_logsumexp(scaled, second, exclude=(0,))
    return reduce(-(logsigmoid(own - rows) + logsigmoid(own - columns)) / 2, reduction)


def moco_v3(q1: Tensor, q2: Tensor, k1: Tensor, k2: Tensor, *, temperature: float | Tensor = 1.0) -> Tensor:
    """MoCo v3's loss: predictions of one view against momentum projections of the other, no queue.

        loss = ctr(q1, k2) + ctr(q2, k1),  ctr(q, k) = 2 tau info_nce(q, k)

    Args:
        q1, q2: (N, D) predictions of the two views.
        k1, k2: (N, D) projections by the momentum encoder; constants.
        temperature: tau, above 0.

    Source: Chen et al. 2021, "An Empirical Study of Training Self-Supervised Vision Transformers", algorithm 1.
    """
    first = info_nce(q1, k2.detach(), temperature=temperature)
    return 2 * temperature * (first + info_nce(q2, k1.detach(), temperature=temperature))


def nnclr(nn1: Tensor, nn2: Tensor, p1: Tensor, p2: Tensor, *, temperature: float | Tensor = 0.1) -> Tensor:
    """NNCLR's loss: the nearest neighbour of one view's projection must find the prediction of the other view.

        loss = 1/2 info_nce(nn1, p2) + 1/2 info_nce(nn2, p1)

    Args:
        nn1, nn2: (N, D) nearest neighbours, in the support set, of the projections of views 1 and 2; constants.
        p1, p2: (N, D) predictions of the two views.
        temperature: tau, above 0.

    Source: Dwibedi et al. 2021, "With a Little Help from My Friends", equations 3 and 4.
    """
    first = info_nce(nn1.detach(), p2, temperature=temperature)
    return (first + info_nce(nn2.detach(), p1, temperature=temperature)) / 2


@full_precision
def supcon(
    features: Tensor,
    label: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    temperature: float | Tensor = 0.07,
    base_temperature: float = 0.07,
    mode: str = "all",
) -> Tensor:
    """The supervised contrastive loss: each row must find all rows of its class among all other rows.

        loss_i = -(tau / tau_base) mean_{p in P(i)} log( exp(z_i . z_p / tau) / sum_{a != i} exp(z_i . z_a / tau) )

    P(i) is every other row of the class of i, over all views. The loss is the mean over all anchors i, of which one
    without a positive counts as 0. The sum over positives is z_i . sum_p z_p, so no matrix is made for them either.

    Args:
        features: (N, V, D) unit rows, V views of N samples; NOT made unit rows here.
        label: (N,) classes. Without label and mask each sample is a class of its own (SimCLR with V views).
        mask: (N, N), instead of labels: entry (i, j) is 1 where j is a positive of i, 0 elsewhere.
        temperature: tau, above 0; a scalar tensor receives its gradient.
        base_temperature: tau_base, which scales the loss.
        mode: "all" rows are anchors, or "one": those of the first view.

    Source: Khosla et al. 2020, "Supervised Contrastive Learning", equation 2 (L_out); tau_base from the authors' code.
    """
    _expect_supcon(features, label, mask, mode)
    expect_temperature(temperature)
    anchors = features.shape[1] if mode == "all" else 1
    rows = features.transpose(0, 1).flatten(0, 1)  # view-major
    if mode == "all":
        others = self_logsumexp(rows * (1 / temperature) ** 0.5)
    else:
        others = row_logsumexp(features[:, 0] / temperature, rows, exclude=(0,))
    total, count = _positives(features, label, mask)
    positive = (total[:, :anchors] * features[:, :anchors]).sum(dim=2).T.flatten() / temperature
    count = count.repeat(anchors)
    found = count > 0
    log_share = positive / torch.where(found, count, 1) - others
    return -(temperature / base_temperature) * torch.where(found, log_share, 0).mean()


def _positives(features: Tensor, label: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The sum of each row's positives, (N, V, D), and how many there are, the same for all views, (N,)."""
    samples, views = features.sum(dim=1), features.shape[1]
    if mask is not None:
        weight = mask.to(features)
        total, members, own = weight @ samples, weight.sum(dim=1), weight.diagonal()
    else:
        own = features.new_ones(len(features))
        total, members = (samples, own) if label is None else _class_sums(samples, own, label)
    return total[:, None] - own[:, None, None] * features, views * members - own


def _class_sums(samples: Tensor, ones: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """For each sample, the sum (N, D) and number (N,) of its class's samples; shapes do not depend on the labels."""
    order = label.argsort()
    ordered = label[order]
    group = torch.zeros_like(order)
    group[order[1:]] = (ordered[1:] != ordered[:-1]).cumsum(dim=0)
    sums, members = (torch.zeros_like(x).index_add(0, group, x) for x in (samples, ones))
    return sums[group], members[group]


def _expect_supcon(features: Tensor, label: Tensor | None, mask: Tensor | None, mode: str) -> None:
    if features.ndim != 3 or 0 in features.shape:
        raise ValueError(f"features must be (samples, views, D), none of them 0; found {tuple(features.shape)}.")
    if label is not None and mask is not None:
        raise ValueError("supcon takes labels or a mask, not both: leave one of them out.")
    n = len(features)
    if label is not None and label.shape != (n,):
        raise ValueError(f"label must have one entry for each of the {n} samples; found {tuple(label.shape)}.")
    if mask is not None and mask.shape != (n, n):
        raise ValueError(f"mask must be ({n}, {n}), samples by samples; found {tuple(mask.shape)}.")
    if mode not in ("all", "one"):
        raise ValueError(f"Unknown mode {mode!r}: valid are 'all' and 'one'.")


def _bound(temperature: float | Tensor) -> float:
    """The largest possible |cosine / temperature|, where it is known without waiting for a device."""
    return math.inf if isinstance(temperature, Tensor) else 1 / temperature
