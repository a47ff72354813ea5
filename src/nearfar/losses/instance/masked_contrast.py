"""Contrast with arbitrary positives and negatives: the form behind tags, pseudo-labels, regression
pairs and soft labels.

    l_ij: logits, P_i: positives of anchor i, A_i: positives and negatives, w_ij: weights of the
        terms in the denominator
    "mean"    L_i = - 1/|P_i| sum_{p in P_i} ( l_ip - log sum_{a in A_i} w_ia exp(l_ia) )
    "joint"   L_i = - log ( sum_{p in P_i} exp(l_ip) / sum_{a in A_i} w_ia exp(l_ia) )
    "single"  each positive alone against the negatives: log(1 + sum_{n in A_i - P_i} exp(l_in
            - l_ip)), mean over P_i

``masked_contrast`` takes a matrix, of a block of anchors; the losses go through all anchors in such
blocks (see ``blocks``), so no matrix of all pairs is kept.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.losses.kernels.blocks import in_row_blocks
from nearfar.losses.kernels.similarity import (
    expect_rows,
    expect_shapes,
    expect_temperature,
    full_precision,
    own_range,
    unit,
)

__all__ = [
    "grouped_clip",
    "grouped_nt_xent",
    "masked_contrast",
    "masked_logsumexp",
    "tagged_contrast",
]


@full_precision
def masked_contrast(
    logits: Tensor,
    positive: Tensor,
    valid: Tensor,
    *,
    log_weight: Tensor | None = None,
    form: str = "mean",
) -> Tensor:
    """Loss of each anchor, 0 for an anchor without positives.

    Args:
        logits: (A, K) floats.
        positive: (A, K) bool, the positives.
        valid: (A, K) bool, positives and negatives; everything else is ignored.
        log_weight: (A, K) logarithms of the denominator's weights, 0 by default.
        form: "mean", "joint" or "single" as in the module's formulas; "single" gives (A,) sums over
            positives, not means.

    Returns:
        (A,) in the logits' dtype.

    Source: Khosla et al. 2020 (mean over positives outside the logarithm); Oord et al. 2018.
    """
    expect_shapes(logits=(logits, "A K"), positive=(positive, "A K"), valid=(valid, "A K"))
    weighted = logits if log_weight is None else logits + log_weight
    any_positive = positive.any(1)
    if form == "single":
        against = masked_logsumexp(weighted, valid & ~positive)[:, None]
        each = torch.where(positive, torch.logaddexp(logits, against) - logits, 0.0)
        return each.sum(1)
    denominator = torch.where(any_positive, masked_logsumexp(weighted, valid), 0.0)
    if form == "joint":
        return torch.where(any_positive, denominator - masked_logsumexp(logits, positive), 0.0)
    attraction = torch.where(positive, logits, 0.0).sum(1) / positive.sum(1).clamp(min=1)
    return torch.where(any_positive, denominator - attraction, 0.0)


def masked_logsumexp(values: Tensor, mask: Tensor) -> Tensor:
    """log sum exp over the masked entries of each row (A, K): (A,); the lowest finite number,
    without gradient, for a row without any."""
    lowest = torch.finfo(values.dtype).min
    some = mask.any(1)
    filled = torch.where(some[:, None], values.masked_fill(~mask, -torch.inf), 0.0)
    return torch.where(some, filled.logsumexp(1), lowest)


@full_precision
def tagged_contrast(z: Tensor, tag: Tensor, *, temperature: float = 0.2) -> Tensor:
    """Rows with the same tag are positives inside one logarithm; all other rows are negatives.

        - mean_i log ( sum_{tag_j = tag_i, j != i} exp(s_ij / tau) / sum_{j != i} exp(s_ij / tau) ),
          s = cosine

    Args:
        z: (M, D) embeddings, normalised here.
        tag: (M,) int64; a sample's views share one, replicated copies of a sample have their own.
        temperature: above 0.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.masked_contrast import tagged_contrast
        >>> tagged_contrast(torch.eye(4), torch.tensor([0, 0, 1, 1]))
        tensor(1.0986)

    Source: Wang et al. 2024 (AdaInf), its SimCLR loss.
    """
    expect_shapes(z=(z, "M D"), tag=(tag, "M"))
    expect_temperature(temperature)
    rows = unit(z)
    place = torch.arange(len(z), device=z.device)

    def losses(block: slice) -> Tensor:
        other = place[block, None] != place
        alike = tag[block, None] == tag
        return masked_contrast(
            rows[block] @ rows.T / temperature, alike & other, other, form="joint"
        )

    return in_row_blocks(losses, z).mean()


@full_precision
def grouped_nt_xent(
    z1: Tensor, z2: Tensor, group: Tensor, *, temperature: float = 0.5, rows: slice | None = None
) -> Tensor:
    """NT-Xent whose negatives come from the anchor's own group only; the own positive always stays.

    Args:
        z1: (N, D) first views, normalised here.
        z2: (N, D) second views.
        group: (N,) int64 pseudo-labels. An anchor alone in its group contributes 0.
        temperature: above 0.
        rows: samples whose views are anchors, of which the mean takes its share (see
            ``contrastive``); None for all.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.masked_contrast import grouped_nt_xent
        >>> grouped_nt_xent(torch.eye(4), torch.eye(4), torch.tensor([0, 0, 1, 1]))
        tensor(0.2395)

    Source: Zhang et al. 2024 (MCL), feature-aware negatives; NT-Xent: Chen et al. 2020.
    """
    expect_rows(z1=z1, z2=z2)
    expect_shapes(z1=(z1, "N D"), group=(group, "N"))
    expect_temperature(temperature)
    z = unit(torch.cat([z1, z2]))
    groups = group.repeat(2)
    place = torch.arange(len(z), device=z1.device)
    anchors = place.view(2, -1)[:, own_range(rows, len(z1))].flatten()

    def losses(block: slice) -> Tensor:
        anchor = anchors[block]
        other = anchor[:, None] != place
        partner = (anchor[:, None] - place) % len(z1) == 0
        alike = groups[anchor, None] == groups
        return masked_contrast(
            z[anchor] @ z.T / temperature, partner & other, alike & other, form="joint"
        )

    return in_row_blocks(losses, anchors, columns=len(z)).sum() / len(z)


@full_precision
def grouped_clip(
    first: Tensor,
    second: Tensor,
    group: Tensor,
    *,
    temperature: float | Tensor = 0.5,
    rows: slice | None = None,
) -> Tensor:
    """Symmetric InfoNCE of pairs with negatives from the anchor's own group only.

    Args:
        first: (N, D) embeddings of one modality, normalised here.
        second: (N, D) of the other.
        group: (N,) int64 pseudo-labels.
        temperature: above 0.
        rows: pairs that are anchors, of which the mean takes its share (see ``contrastive``); None
            for all.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.masked_contrast import grouped_clip
        >>> grouped_clip(torch.eye(4), torch.eye(4), torch.tensor([0, 0, 1, 1]))
        tensor(0.1269)

    Source: Zhang et al. 2024 (MCL); Radford et al. 2021 (CLIP).
    """
    expect_rows(first=first, second=second)
    expect_shapes(first=(first, "N D"), group=(group, "N"))
    expect_temperature(temperature)
    first, second, place = unit(first), unit(second), torch.arange(len(first), device=first.device)
    anchors = place[own_range(rows, len(first))]

    def losses(block: slice) -> Tensor:
        anchor = anchors[block]
        own = anchor[:, None] == place
        alike = group[anchor, None] == group
        forth = first[anchor] @ second.T / temperature
        back = second[anchor] @ first.T / temperature
        return masked_contrast(forth, own, alike) + masked_contrast(back, own, alike)

    return in_row_blocks(losses, anchors, columns=len(first)).sum() / (2 * len(first))
