"""Fine-tuning with mined, mixed pairs: smooth cross-entropy and focal contrast on soft labels
(Core-tuning)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from nearfar.losses.kernels.blocks import in_row_blocks
from nearfar.losses.kernels.similarity import (
    expect_no_nan,
    expect_shapes,
    expect_temperature,
    full_precision,
    unit,
)

__all__ = ["focal_contrast", "hard_pairs", "mixed_pairs", "soft_cross_entropy"]


@torch.no_grad()
@full_precision
def hard_pairs(features: Tensor, label: Tensor, *, official: bool = False) -> tuple[Tensor, Tensor]:
    """Index of each anchor's least similar row of its class (itself if alone) and most similar row
    of another class.

    Args:
        features: (N, D); similarities are cosines, without gradient.
        label: (N,) int64.
        official: as the authors' code, where masked zeros take part in the search for the hardest
            positive.

    Returns:
        Two (N,) int64 indices; the second is 0 where the batch has one class.

    Source: Zhang et al. 2021 (Core-tuning), section 3.2.
    """
    normed = unit(features)
    place = torch.arange(len(label), device=label.device)

    def rows(block: slice) -> Tensor:
        similar = normed[block] @ normed.T
        alike = label[block, None] == label
        other = alike & (place[block, None] != place)
        itself = place[block]
        if official:
            found = torch.where(other, similar, 0.0).argmin(1)
            positive = torch.where(found == 0, itself, found)
        else:
            positive = torch.where(
                other.any(1), similar.masked_fill(~other, torch.inf).argmin(1), itself
            )
        different = similar.masked_fill(alike, -torch.inf)
        negative = torch.where((~alike).any(1), different.argmax(1), 0)
        return torch.stack([positive, negative], dim=1)

    positive, negative = in_row_blocks(rows, features).unbind(dim=1)
    return positive, negative


@full_precision
def mixed_pairs(
    features: Tensor,
    label: Tensor,
    classes: int,
    draws: tuple[Tensor, Tensor, Tensor],
    *,
    least: float = 0.8,
    official: bool = False,
) -> tuple[Tensor, Tensor]:
    """Originals, hard negatives and hard positives with their soft labels.

        hard negative: (1 - l) h_i + l h_pi(i), l at least ``least``;
          hard positive: m h_p + (1 - m) h_n of the mined pair

    Args:
        features: (N, D); the originals enter without gradient, the mixtures with it.
        label: (N,) int64.
        classes: number of classes C.
        draws: a permutation pi (N,), weights l (N,) and weights m (N,), both from a Beta
            distribution.
        least: smallest l.
        official: as the authors' code, which mines other positives and keeps weights and labels in
            single precision.

    Returns:
        Features (3 N, D) and soft labels (3 N, C).

    Source: Zhang et al. 2021 (Core-tuning), equations 4 and 5.
    """
    permutation, weight, share = draws
    one_hot = torch.nn.functional.one_hot(label, classes).to(
        torch.float32 if official else features.dtype
    )
    weight, share = (
        w.float() if official else w for w in (weight.clamp(min=least)[:, None], share[:, None])
    )
    positive, negative = hard_pairs(features, label, official=official)

    def mixtures(rows: Tensor) -> list[Tensor]:
        return [
            (1 - weight) * rows + weight * rows[permutation],
            share * rows[positive] + (1 - share) * rows[negative],
        ]

    return torch.cat([features.detach(), *mixtures(features)]), torch.cat(
        [one_hot, *mixtures(one_hot)]
    )


@full_precision
def soft_cross_entropy(logits: Tensor, soft_label: Tensor) -> Tensor:
    """- mean over rows of sum_c Y_c log softmax(logits)_c, both (N, C). Source: Zhang et al. 2021
    (Core-tuning), equation 7.

    Example:
        >>> import torch
        >>> from nearfar.losses.supervised.core_tuning import soft_cross_entropy
        >>> soft_cross_entropy(torch.zeros(2, 4), torch.full((2, 4), 0.25))
        tensor(1.3863)
    """
    expect_shapes(logits=(logits, "N C"), soft_label=(soft_label, "N C"))
    return -(soft_label * log_softmax(logits, dim=1)).sum(1).mean()


@full_precision
def focal_contrast(
    z: Tensor, soft_label: Tensor, *, temperature: float = 0.07, official: bool = False
) -> Tensor:
    """Supervised contrast that dwells on pairs it gets wrong.

        log p_ij = z_i . z_j / tau - log sum_{k != i} exp(z_i . z_k / tau)
        L_i = - 1/|P_i| sum_{j in P_i} (1 - p_ij) log p_ij,
          P_i: rows with an equal soft label; mean over anchors with |P_i| > 0

    Args:
        z: (N, D), normalised here.
        soft_label: (N, C); equal within 1e-6 means positive.
        temperature: above 0.
        official: divide by N instead of |P_i|, as the authors' code does.

    Example:
        >>> import torch
        >>> from nearfar.losses.supervised.core_tuning import focal_contrast
        >>> focal_contrast(torch.eye(4), torch.eye(2).repeat(2, 1), temperature=0.5)
        tensor(0.7324)

    Source: Zhang et al. 2021 (Core-tuning), equation 6. The factor (1 - p) carries gradient too.
    """
    expect_shapes(z=(z, "N D"), soft_label=(soft_label, "N C"))
    expect_temperature(temperature)
    expect_no_nan("focal_contrast", soft_label=soft_label)
    rows = unit(z)
    place = torch.arange(len(z), device=z.device)

    def terms_and_positives(block: slice) -> Tensor:
        logits = rows[block] @ rows.T / temperature
        other = place[block, None] != place
        positive = (torch.cdist(soft_label[block], soft_label, p=torch.inf) < 1e-6) & other
        lowest = torch.finfo(
            logits.dtype
        ).min  # not -inf, which has no gradient where a row has no others
        log_p = logits - logits.masked_fill(~other, lowest).logsumexp(1, keepdim=True)
        log_p = torch.where(positive, log_p, 0.0)
        terms = -(1 - log_p.exp()) * log_p
        return torch.stack([terms.sum(1), positive.sum(1).to(terms)], dim=1)

    terms, positives = in_row_blocks(terms_and_positives, z).unbind(dim=1)
    anchors = (positives > 0).sum().clamp(min=1)
    return (terms / (len(z) if official else positives.clamp(min=1))).sum() / anchors
