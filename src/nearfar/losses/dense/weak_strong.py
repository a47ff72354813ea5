"""Weak features teach strong ones: prototypes, uncertain background, weighted contrast.

Source: "Rethinking Weak-to-Strong Augmentation in Source-Free Domain Adaptive Object Detection"
(WSCoL) 2024. Its formulas were not at hand; the forms here are put together from its abstract.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nearfar.losses.kernels.similarity import (
    expect_shapes,
    expect_temperature,
    full_precision,
    unit,
)

__all__ = ["prototype_labels", "region_certainty", "weighted_class_contrast"]


@torch.no_grad()
def prototype_labels(
    features: Tensor, prototypes: Tensor, *, rounds: int = 2, momentum: float = 0.9
) -> tuple[Tensor, Tensor]:
    """Labels of weak features by prototypes that move towards them.

        label_i = argmax_c cos(f_i, P_c)
        P_c <- unit( momentum P_c + (1 - momentum) mean of its f )

    An empty class keeps its prototype. The labels are of the last prototypes.

    Args:
        features: (N, D), made unit rows here.
        prototypes: (C + 1, D), background last.
        rounds: At least 0.
        momentum: From 0 to 1.

    Returns:
        (N,) int64 labels and (C + 1, D) unit prototypes.

    Example:
        >>> import torch
        >>> prototype_labels(torch.eye(2), torch.eye(2), rounds=1)[0]
        tensor([0, 1])

    Source: WSCoL 2024, as put together here.
    """
    expect_shapes(features=(features, "N D"), prototypes=(prototypes, "classes D"))
    if rounds < 0 or not 0 <= momentum <= 1:
        raise ValueError(f"{rounds} rounds with momentum {momentum}; expected 0 to 1.")
    rows, centres = unit(features), unit(prototypes.to(features))
    for _ in range(rounds):
        label = (rows @ centres.T).argmax(dim=1)
        count = torch.bincount(label, minlength=len(centres)).to(rows)[:, None]
        total = torch.zeros_like(centres).index_add_(0, label, rows)
        moved = momentum * centres + (1 - momentum) * total / count.clamp(min=1)
        centres = torch.where(count > 0, unit(moved), centres)
    return (rows @ centres.T).argmax(dim=1), centres


@torch.no_grad()
def region_certainty(logits: Tensor, label: Tensor, *, least: float = 1e-3) -> Tensor:
    """Weights of regions: 1 for an object, less for background that a teacher is unsure of.

        w_i = 1 for an object
        w_i = max(1 - H(softmax(logits_i)) / log(C + 1), least) for background

    Args:
        logits: (N, C + 1) of the teacher, background last.
        label: (N,) int64 from ``prototype_labels``.
        least: Above 0.

    Returns:
        (N,).

    Example:
        >>> import torch
        >>> region_certainty(torch.zeros(2, 3), torch.tensor([0, 2]))
        tensor([1.0000, 0.0010])

    Source: WSCoL 2024, as put together here.
    """
    expect_shapes(logits=(logits, "N classes"), label=(label, "N"))
    expect_temperature(least, "least weight")
    logs = logits.log_softmax(dim=1)
    entropy = -(logs.exp() * logs).sum(dim=1)
    unsure = (1 - entropy / math.log(logits.shape[1])).clamp(min=least)
    return torch.where(label == logits.shape[1] - 1, unsure, torch.ones_like(unsure))


@full_precision
def weighted_class_contrast(
    features: Tensor, label: Tensor, weight: Tensor, *, temperature: float | Tensor = 0.07
) -> Tensor:
    """Supervised contrast in which each row counts by its weight in every role.

        Z_i = log sum_{j != i} w_j exp(s_ij)
        a_i = -sum_{j in P(i)} w_j (s_ij - Z_i) / sum_{j in P(i)} w_j
        loss = sum_i w_i a_i / sum_i w_i over the rows with a positive;  s = cosine / tau

    Args:
        features: (N, D), made unit rows here.
        label: (N,) int64; P(i) is every other row of the class of i.
        weight: (N,) above 0; constants.
        temperature: tau, above 0; a scalar tensor receives its gradient.

    Returns:
        Scalar; 0 where no row has a positive.

    Example:
        >>> import torch
        >>> z, label = torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 1])
        >>> weighted_class_contrast(z, label, torch.ones(4), temperature=0.5)
        tensor(0.2395)

    Source: Khosla et al. 2020 with weights, for WSCoL 2024.
    """
    expect_shapes(features=(features, "N D"), label=(label, "N"), weight=(weight, "N"))
    expect_temperature(temperature)
    rows = unit(features)
    held = weight.detach().to(rows)
    itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    similarity = rows @ rows.T / temperature
    weighted = (similarity + held.log()).masked_fill(itself, -torch.inf)
    if len(rows) == 1:
        return 0 * rows.sum()
    positive = ((label[:, None] == label) & ~itself).to(rows) * held
    total = positive.sum(dim=1)
    found = total > 0
    log_share = (positive * similarity).sum(dim=1) / torch.where(found, total, 1)
    losses = torch.where(found, weighted.logsumexp(dim=1) - log_share, 0)
    anchors = held * found
    scale = anchors.sum()
    return (anchors * losses).sum() / torch.where(scale > 0, scale, 1)
