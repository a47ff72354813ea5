"""Losses of few-shot episodes: the score of inter and intra class neighbours, and triplets with
prototypes (SuSana Distancia)."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.losses.kernels.blocks import in_row_blocks
from nearfar.losses.kernels.similarity import expect_shapes, full_precision

__all__ = ["distances", "neighbour_score", "prototype_triplet", "prototypes"]


@full_precision
def prototypes(features: Tensor, label: Tensor, classes: int) -> Tensor:
    """Class means (C, D) of features (N, D) with int64 labels 0 to C - 1; each class must occur."""
    sums = torch.zeros(
        classes, features.shape[1], dtype=features.dtype, device=features.device
    ).index_add(0, label, features)
    return sums / torch.bincount(label, minlength=classes)[:, None]


@full_precision
def distances(first: Tensor, second: Tensor) -> Tensor:
    """sqrt(||a - b||^2 + 1e-6) of (N, D) and (M, D): (N, M), by differences in blocks."""
    return in_row_blocks(
        lambda rows: _lengths(first[rows, None] - second), first, columns=second.numel()
    )


def _lengths(difference: Tensor) -> Tensor:
    return (difference.square().sum(-1) + 1e-6).sqrt()


@full_precision
def prototype_triplet(
    query: Tensor, label: Tensor, prototype: Tensor, prototype_label: Tensor, *, margin: float = 0.5
) -> Tensor:
    """mean over queries of max(0, d(q, own prototype) - distance of the nearest other prototype +
    margin).

    Args:
        query: (N, D) features, not normalised.
        label: (N,) int64.
        prototype: (C, D).
        prototype_label: (C,) int64.
        margin: at least 0.

    Example:
        >>> import torch
        >>> from nearfar.losses.supervised.episodes import prototype_triplet
        >>> place, label = torch.eye(3), torch.arange(3)
        >>> prototype_triplet(place, label, place, label, margin=2.0)
        tensor(0.5868)

    Source: Mendez-Ruiz et al. 2023 (SuSana Distancia), Proto-Triplet loss.
    """
    expect_shapes(
        query=(query, "N D"),
        label=(label, "N"),
        prototype=(prototype, "C D"),
        prototype_label=(prototype_label, "C"),
    )
    distance = distances(query, prototype)
    own = label[:, None] == prototype_label
    to_own = torch.where(own, distance, 0.0).sum(1)
    to_other = distance.masked_fill(own, torch.inf).amin(1)
    return (to_own - to_other + margin).clamp(min=0).mean()


@full_precision
def neighbour_score(
    features: Tensor,
    label: Tensor,
    target: Tensor | None = None,
    target_label: Tensor | None = None,
    *,
    neighbours: int = 4,
    looked_at: int | None = None,
) -> dict[str, Tensor]:
    """Inter and intra class nearest neighbour score in (0, 1]: classes tight within and far apart.

    Of each row the ``looked_at`` nearest targets after the first (itself) are kept in rising
    distance d_1, d_2 ...; among the first k:
        same  = 1 - mean over rows of the mean ratio d_m / D of same-class neighbours,
            D the nearest other-class distance
        apart = mean over rows of the mean distance of other-class neighbours, in units of the
        largest share = mean share of same-class neighbours (1 when k + 2 >= number of targets)
        score = ((same + apart) / 2 + share) / 2

    Args:
        features: (N, D) rows.
        label: (N,) int64.
        target: (T, D) rows among which neighbours are looked up; by default the features
            themselves.
        target_label: (T,) int64.
        neighbours: k, at most T - 2.
        looked_at: neighbours among which the nearest of another class is sought; by default k + 1.

    Raises:
        ValueError: with fewer than 3 targets, which have no neighbours to score.

    Returns:
        "score", "same", "apart", "share"; gradients go through the distances alone. The loss is
        ``-log(score)``.

    Example:
        >>> import torch
        >>> from nearfar.losses.supervised.episodes import neighbour_score
        >>> features = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
        >>> label = torch.tensor([0, 0, 1, 1])
        >>> neighbour_score(features, label, neighbours=1)["share"]
        tensor(1.)

    Source: Mendez-Ruiz et al. 2023 (SuSana Distancia), ICNN loss, without its variance term as in
    the author's code.
    """
    target, target_label = (
        (features, label) if target is None or target_label is None else (target, target_label)
    )
    expect_shapes(
        features=(features, "N D"),
        label=(label, "N"),
        target=(target, "T D"),
        target_label=(target_label, "T"),
    )
    count = len(target)
    if count < 3:
        raise ValueError(
            f"neighbour_score needs at least 3 targets; found {count}: take larger episodes."
        )
    k = count - 2 if neighbours + 2 > count else neighbours
    wide = min((k + 1 if looked_at is None else looked_at) + 1, count)
    index = _nearest(features, target, wide)[:, 1:]
    distance = _lengths(features[:, None] - target[index])
    alike = target_label[index] == label[:, None]
    nearest_other = distance.masked_fill(alike, torch.inf).amin(1, keepdim=True)
    near = distance[:, :k]
    alike = alike[:, :k]
    ratio = near / (nearest_other + 1e-7)
    ratio = ratio / ratio.amax(1, keepdim=True).clamp(min=1)
    same = 1 - _row_mean(ratio, alike)
    other = ~alike
    apart = _row_mean(near / (torch.where(other, near, 0.0).amax() + 1e-7), other)
    apart = torch.where(other.any(), apart, 1.0)
    share = torch.ones_like(same) if neighbours + 2 >= count else alike.to(near.dtype).mean()
    return {"score": ((same + apart) / 2 + share) / 2, "same": same, "apart": apart, "share": share}


@torch.no_grad()
def _nearest(features: Tensor, target: Tensor, count: int) -> Tensor:
    """Places (N, count) of the nearest targets of each row, the nearest first."""

    def rows(block: slice) -> Tensor:
        return distances(features[block], target).topk(count, dim=1, largest=False).indices

    return in_row_blocks(rows, features, columns=target.numel())


def _row_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the rows that have a masked entry of the mean over their masked entries."""
    kept = mask.to(values.dtype)
    rows = (values * kept).sum(1) / (kept.sum(1) + 1e-7)
    return rows.sum() / (mask.any(1).to(values.dtype).sum() + 1e-7)
