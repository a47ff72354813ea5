"""Dynamic curation: a budget shared among clusters so that no cluster crowds the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nearfar.errors import UserError

__all__ = [
    "allocate",
    "allocate_levels",
    "choose_in_cluster",
    "cut",
    "nearest_centroid",
    "selection_entropy",
]


def cut(sizes: Tensor, budget: int) -> int:
    """The largest x with sum_i min(x, size_i) at most the budget; the largest size if all fit.

    Args:
        sizes: (K,) int64 points of each cluster.
        budget: At least 0.

    Example:
        >>> import torch
        >>> from nearfar.data.selection.balance import cut
        >>> cut(torch.tensor([5, 1, 9]), 8)
        3

    Source: Vo et al. 2024, "Automatic Data Curation for Self-Supervised Learning", algorithm 2.
    """
    if sizes.ndim != 1 or not len(sizes) or sizes.is_floating_point() or int(sizes.min()) < 0:
        raise UserError(f"Expected whole sizes (K,) of at least 0; found {tuple(sizes.shape)}.")
    if budget < 0:
        raise UserError(f"budget is {budget}; expected at least 0.")
    low, high = 0, int(sizes.max())
    while low < high:
        middle = (low + high + 1) // 2
        if int(sizes.clamp(max=middle).sum()) <= budget:
            low = middle
        else:
            high = middle - 1
    return low


def allocate(sizes: Tensor, budget: int, generator: torch.Generator) -> Tensor:
    """How many points each cluster gives: min(cut, size), and the rest one by one at random.

    The remainder goes to random clusters larger than the cut, one more each.

    Args:
        sizes: (K,) int64 points of each cluster.
        budget: Points wanted; if there are not more, all are kept.
        generator: What the remainder is drawn from.

    Returns:
        (K,) int64 that sum to the budget, or to all points.

    Example:
        >>> import torch
        >>> from nearfar.data.selection.balance import allocate
        >>> allocate(torch.tensor([5, 1, 9]), 7, torch.Generator())
        tensor([3, 1, 3])

    Source: Vo et al. 2024, algorithm 2.
    """
    level = cut(sizes, budget)
    given = sizes.clamp(max=level)
    rest = min(budget, int(sizes.sum())) - int(given.sum())
    if rest > 0:
        larger = (sizes > level).nonzero().flatten()
        picked = larger[torch.randperm(len(larger), generator=generator)[:rest]]
        given = given.index_add(0, picked, torch.ones_like(picked))
    return given


def allocate_levels(
    sizes: Tensor, parents: Sequence[Tensor], budget: int, generator: torch.Generator
) -> Tensor:
    """``allocate`` from the top level of a tree of clusters down to its leaves.

    Args:
        sizes: (K,) int64 points of each leaf.
        parents: For each level from the leaves up, (clusters of that level,) int64 number of the
            cluster of the next level; empty for one level.
        budget: Points wanted.
        generator: What remainders are drawn from.

    Returns:
        (K,) int64 points that each leaf gives.

    Example:
        >>> import torch
        >>> from nearfar.data.selection.balance import allocate_levels
        >>> groups = [torch.tensor([0, 0, 1])]
        >>> allocate_levels(torch.tensor([9, 9, 9]), groups, 8, torch.Generator())
        tensor([2, 2, 4])

    Source: Vo et al. 2024, section 3.3.
    """
    levels = [sizes]
    for parent in parents:
        below = levels[-1]
        if parent.shape != below.shape:
            raise UserError(
                f"A level of {len(below)} clusters needs as many parents; found {len(parent)}."
            )
        above = torch.zeros(int(parent.max()) + 1, dtype=torch.int64)
        levels.append(above.index_add(0, parent, below))
    given = allocate(levels[-1], budget, generator)
    for below, parent in zip(reversed(levels[:-1]), reversed(list(parents)), strict=True):
        found = torch.zeros_like(below)
        for cluster, share in enumerate(given.tolist()):
            own = (parent == cluster).nonzero().flatten()
            if len(own):
                found[own] = allocate(below[own], share, generator)
        given = found
    return given


def choose_in_cluster(
    squared: Tensor, budget: int, generator: torch.Generator, *, eta: float = 0.0
) -> Tensor:
    """Which points of a cluster are kept: near ones, far ones or any.

    With u = (rank + 0.5) / n of the squared distance, the points of the largest keys
    log(U(0, 1)) / exp(-4 eta u) are kept.

    Args:
        squared: (M,) squared distances to the centroid.
        budget: Points to keep, from 0 to M.
        generator: What the keys are drawn from.
        eta: Above 0 favours central points, below 0 peripheral ones, 0 none; infinite ones take the
            nearest or the farthest.

    Returns:
        (budget,) int64, ascending.

    Example:
        >>> import math, torch
        >>> from nearfar.data.selection.balance import choose_in_cluster
        >>> choose_in_cluster(torch.tensor([3.0, 1.0, 2.0]), 2, torch.Generator(), eta=math.inf)
        tensor([1, 2])

    Source: OceanSAR 2025, "Efficient Self-Supervised Learning for Earth Observation via Dynamic
    Dataset Curation", in this library's explicit form; Efraimidis and Spirakis 2006.
    """
    if squared.ndim != 1 or not 0 <= budget <= len(squared) or math.isnan(eta):
        raise UserError(
            f"Expected squared distances (M,) and a budget up to M; found {tuple(squared.shape)}"
            f" and {budget}."
        )
    rank = squared.argsort(stable=True).argsort()
    if math.isinf(eta):
        keys = -rank.double() if eta > 0 else rank.double()
    else:
        u = (rank + 0.5) / max(len(squared), 1)
        drawn = torch.rand(len(squared), generator=generator, dtype=torch.float64)
        keys = drawn.log() * (4 * eta * u.double()).exp()
    return keys.topk(budget).indices.sort().values


def nearest_centroid(features: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest centroid of each point and its squared distance.

    Args:
        features: (M, D).
        centroids: (K, D).

    Returns:
        (M,) int64 and (M,).

    Example:
        >>> import torch
        >>> from nearfar.data.selection.balance import nearest_centroid
        >>> nearest_centroid(torch.tensor([[2.0]]), torch.tensor([[0.0], [3.0]]))
        (tensor([1]), tensor([1.]))

    Source: Lloyd 1982.
    """
    if features.ndim != 2 or centroids.ndim != 2 or features.shape[1] != centroids.shape[1]:
        raise UserError(
            f"Expected features (M, D) and centroids (K, D); found {tuple(features.shape)} and"
            f" {tuple(centroids.shape)}."
        )
    nearest = torch.cdist(features, centroids).argmin(dim=1)
    return nearest, (features - centroids[nearest]).square().sum(dim=1)


def selection_entropy(sizes: Tensor) -> float:
    """How even a selection is: the entropy of cluster shares over ln K, from 0 to 1.

    Args:
        sizes: (K,) points of each cluster, K at least 2.

    Example:
        >>> import torch
        >>> from nearfar.data.selection.balance import selection_entropy
        >>> selection_entropy(torch.tensor([4, 4]))
        1.0

    Source: Shannon 1948.
    """
    if sizes.ndim != 1 or len(sizes) < 2 or not bool((sizes >= 0).all()) or not sizes.any():
        raise UserError(f"Expected sizes of at least 2 clusters; found {tuple(sizes.shape)}.")
    shares = sizes.double() / sizes.sum()
    return float(-torch.special.xlogy(shares, shares).sum() / math.log(len(sizes)))
