"""The InfoNCE family: which of all embeddings belongs to this one?

No N x N matrix is kept: every denominator goes through ``nearfar.losses.logsumexp``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.losses.logsumexp import mutual_logsumexp, row_logsumexp, self_logsumexp
from nearfar.losses.similarity import expect_rows, expect_temperature, full_precision, reduce, unit

__all__ = ["clip", "info_nce", "moco_v3", "nnclr", "nt_xent", "queue_info_nce", "supcon"]


@full_precision
def nt_xent(z1: Tensor, z2: Tensor, *, temperature: float | Tensor = 0.1, reduction: str = "mean") -> Tensor:
    """SimCLR's loss: each of the 2N embeddings must find its partner among all others.

        mean over the 2N rows of  - s(i, partner) / tau + log sum_{j != i} exp(s(i, j) / tau),  s = cosine

    Args:
        z1: (N, D) embeddings of view 1, normalised here.
        z2: (N, D) of view 2.
        temperature: above 0; may be a scalar tensor that needs a gradient.
        reduction: "mean"; "none" for (2N,), the rows of view 1 first; or "simclr_sum" for the sum of the two views' means, which
            is twice the mean and what the authors' code minimises.

    Source: Chen et al. 2020 (SimCLR), equation 1.
    """
    expect_rows(z1=z1, z2=z2)
    expect_temperature(temperature)
    rows = unit(torch.cat([z1, z2]))
    partner = rows.roll(len(z1), dims=0)
    positive = (rows * partner).sum(dim=1) / temperature
    values = self_logsumexp(rows / temperature**0.5, bound=_bound(temperature)) - positive
    return 2 * values.mean() if reduction == "simclr_sum" else reduce(values, reduction)


@full_precision
def info_nce(
    query: Tensor, key: Tensor, *, temperature: float | Tensor = 0.1, symmetric: bool = False, reduction: str = "mean"
) -> Tensor:
    """In-batch InfoNCE across two views: each query must find its own key among all keys of the batch.

        mean_i  - s(q_i, k_i) / tau + log sum_j exp(s(q_i, k_j) / tau),  s = cosine

    Args:
        query: (N, D), normalised here.
        key: (N, D), normalised here; its gradient is computed only if it needs one.
        temperature: above 0; may be a scalar tensor that needs a gradient.
        symmetric: average with the direction from keys to queries.
        reduction: "mean", or "none" for (N,).

    Source: Oord et al. 2018 (CPC), equation 4; Radford et al. 2021 (CLIP) for the symmetric form.
    """
    expect_rows(query=query, key=key)
    expect_temperature(temperature)
    query, key = unit(query) / temperature, unit(key)
    positive = (query * key).sum(dim=1)
    if not symmetric:
        return reduce(row_logsumexp(query, key) - positive, reduction)
    forth, back = mutual_logsumexp(query, key, bound=_bound(temperature))
    return reduce((forth + back) / 2 - positive, reduction)


@full_precision
def queue_info_nce(
    query: Tensor, key: Tensor, queue: Tensor, *, temperature: float | Tensor = 0.2, reduction: str = "mean"
) -> Tensor:
    """MoCo's loss: each query must find its own key among the keys of past batches.

        mean_i  - s(q_i, k_i) / tau + log ( exp(s(q_i, k_i) / tau) + sum_u exp(s(q_i, u) / tau) ),  s = cosine

    Args:
        query: (N, D), normalised here.
        key: (N, D), normalised here; no gradient reaches it.
        queue: (K, D) unit rows, negatives; no gradient reaches them.
        temperature: above 0.
        reduction: "mean", or "none" for (N,).

    Source: He et al. 2020 (MoCo), equation 1.
    """
    expect_rows(query=query, key=key)
    expect_temperature(temperature)
    query = unit(query) / temperature
    positive = (query * unit(key.detach())).sum(dim=1)
    negative = row_logsumexp(query, queue.detach().to(query.dtype))
    return reduce(torch.logaddexp(positive, negative) - positive, reduction)


@full_precision
def clip(first: Tensor, second: Tensor, *, logit_scale: float | Tensor, reduction: str = "mean") -> Tensor:
    """CLIP's loss: the symmetric in-batch InfoNCE with cosines multiplied by ``logit_scale`` instead of divided by a temperature.

    Args:
        first: (N, D) embeddings of one modality, normalised here.
        second: (N, D) of the other.
        logit_scale: above 0; a scalar tensor receives its gradient.
        reduction: "mean", or "none" for (N,), each the mean of both directions.

    Source: Radford et al. 2021 (CLIP), figure 3.
    """
    return info_nce(first, second, temperature=1 / logit_scale, symmetric=True, reduction=reduction)


@full_precision
def moco_v3(q1: Tensor, q2: Tensor, k1: Tensor, k2: Tensor, *, temperature: float = 1.0, reduction: str = "mean") -> Tensor:
    """MoCo v3's loss: 2 tau (InfoNCE(q1, k2) + InfoNCE(q2, k1)), with keys that no gradient reaches.

    Args:
        q1: (N, D) predictions from view 1, normalised here.
        q2: (N, D) from view 2.
        k1: (N, D) keys of view 1, normalised here.
        k2: (N, D) of view 2.
        temperature: tau, above 0.
        reduction: "mean", or "none" for (N,).

    Source: Chen et al. 2021 (MoCo v3), algorithm 1.
    """
    forth = info_nce(q1, k2.detach(), temperature=temperature, reduction=reduction)
    back = info_nce(q2, k1.detach(), temperature=temperature, reduction=reduction)
    return 2 * temperature * (forth + back)


@full_precision
def nnclr(nn1: Tensor, nn2: Tensor, p1: Tensor, p2: Tensor, *, temperature: float = 0.1, reduction: str = "mean") -> Tensor:
    """NNCLR's loss: half of InfoNCE(nn1, p2) plus half of InfoNCE(nn2, p1), with neighbours that no gradient reaches.

    Args:
        nn1: (N, D) nearest neighbours of view 1's projections, normalised here.
        nn2: (N, D) of view 2's.
        p1: (N, D) predictions from view 1, normalised here.
        p2: (N, D) from view 2.
        temperature: above 0.
        reduction: "mean", or "none" for (N,).

    Source: Dwibedi et al. 2021 (NNCLR), equations 3 and 4.
    """
    forth = info_nce(nn1.detach(), p2, temperature=temperature, reduction=reduction)
    back = info_nce(nn2.detach(), p1, temperature=temperature, reduction=reduction)
    return (forth + back) / 2


@full_precision
def supcon(
    features: Tensor,
    label: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    temperature: float = 0.07,
    base_temperature: float = 0.07,
    mode: str = "all",
) -> Tensor:
    """Supervised contrast: every sample of the anchor's class is a positive.

        - tau / tau_base mean over anchors i of 1/|P_i| sum_{p in P_i} log ( exp(s_ip / tau) / sum_{a != i} exp(s_ia / tau) )

    An anchor without a positive adds 0 and still counts in the mean. Positives are summed class by class, so nothing quadratic
    is kept; a general ``mask`` takes an (N, N) product.

    Args:
        features: (N, V, D) unit rows, V views of each sample; not normalised here, as in the authors' code.
        label: (N,) int64 classes; None without a mask makes only a sample's own views positive (SimCLR with V views).
        mask: (N, N), 1 where two samples are positives; instead of ``label``.
        temperature: tau, above 0.
        base_temperature: tau_base, a scale.
        mode: "all" views are anchors, or "one": only the first.

    Source: Khosla et al. 2020 (SupCon), equation 2 (the sum outside the logarithm).
    """
    if features.ndim != 3:
        raise ValueError(f"features must be (N, V, D); found {tuple(features.shape)}.")
    if label is not None and mask is not None:
        raise ValueError("label and mask were both given; expected one of them.")
    if mode not in ("all", "one"):
        raise ValueError(f"Unknown mode {mode!r}: valid are 'all' and 'one'.")
    expect_temperature(temperature)
    samples, views = features.shape[:2]
    rows = features.transpose(0, 1).flatten(0, 1)  # view-major: V * N
    anchors = rows if mode == "all" else rows[:samples]
    repeats = len(anchors) // samples
    total, count = _sums_of_positives(features, label, mask)
    attraction = (anchors * (total.repeat(repeats, 1) - anchors)).sum(dim=1) / temperature  # less the anchor itself
    positives = count.repeat(repeats) * views - 1
    if mode == "all":
        denominator = self_logsumexp(rows / temperature**0.5)
    else:
        denominator = row_logsumexp(anchors / temperature, rows, exclude=(0,))
    values = torch.where(positives > 0, denominator - attraction / positives.clamp(min=1), 0.0)
    return temperature / base_temperature * values.mean()


def _sums_of_positives(features: Tensor, label: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """For each sample the sum (N, D) of all views of all samples that are positive to it, itself included, and their number (N,)."""
    own = features.sum(dim=1)
    if mask is not None:
        wide = mask.to(own.dtype, copy=True).fill_diagonal_(1)
        return wide @ own, wide.sum(dim=1)
    if label is None:
        return own, own.new_ones(len(own))
    _, group, size = label.unique(return_inverse=True, return_counts=True)
    sums = own.new_zeros(len(size), own.shape[1]).index_add(0, group, own)
    return sums[group], size[group].to(own.dtype)


def _bound(temperature: float | Tensor) -> float:
    """Of the similarities of unit rows; unknown for a tensor, which is not looked at."""
    return float("inf") if isinstance(temperature, Tensor) else 1 / temperature * 1.0001
