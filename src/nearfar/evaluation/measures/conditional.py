"""How often a query finds its target in a gallery."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.errors import UserError

__all__ = ["next_item_scores", "recall_at", "without_reference"]


def recall_at(similarity: Tensor, k: int, *, targets: Tensor | None = None) -> Tensor:
    """Whether each query finds a target among its k most similar.

        found_q = 1 if some target of q is among the k highest of similarity_q

    A wrong candidate that is as similar as the target counts as before it.

    Args:
        similarity: (Q, G).
        k: From 1 on.
        targets: (Q, T) int64 places of valid targets, any of which will do; -1 stands for none.
            None for one target, the first of each gallery.

    Returns:
        (Q,) bool; the mean is R@k.

    Example:
        >>> similarity = torch.tensor([[0.9, 0.1, 0.5], [0.2, 0.1, 0.5]])
        >>> recall_at(similarity, 1).tolist(), recall_at(similarity, 2).tolist()
        ([True, False], [True, True])

    Source: Vaze et al. 2023, "GeneCIS", section 3.
    """
    _check(similarity)
    if k < 1:
        raise UserError(f"Recall at {k} was asked for; expected at least 1.")
    places = torch.zeros(len(similarity), 1, dtype=torch.int64) if targets is None else targets
    places = places.to(similarity.device)
    if places.ndim != 2 or len(places) != len(similarity) or places.dtype != torch.int64:
        found = f"{tuple(places.shape)} in {str(places.dtype).removeprefix('torch.')}"
        raise UserError(f"Targets must be ({len(similarity)}, T) int64; found {found}.")
    if places.numel() and int(places.max()) >= similarity.shape[1]:
        worst, size = int(places.max()), similarity.shape[1]
        raise UserError(f"A target is at place {worst} of a gallery of {size}; expected less.")
    there = places >= 0
    counted = torch.zeros_like(similarity, dtype=torch.int64)
    # Added up, as a place that stands for none may be that of a target.
    wrong = counted.scatter_add(1, places.clamp(min=0), there.long()) == 0
    best = similarity.gather(1, places.clamp(min=0)).masked_fill(~there, -torch.inf).amax(dim=1)
    before = ((similarity >= best[:, None]) & wrong).sum(dim=1)
    return (before < k) & there.any(dim=1)


def without_reference(similarity: Tensor, reference: Tensor) -> Tensor:
    """Similarities in which each query's own reference image comes last.

    Args:
        similarity: (Q, G).
        reference: (Q,) int64 places in the gallery.

    Example:
        >>> without_reference(torch.ones(1, 2), torch.tensor([1]))
        tensor([[1., -inf]])

    Source: Vaze et al. 2023, "GeneCIS" (retrieval from the whole image set).
    """
    _check(similarity)
    return similarity.scatter(1, reference[:, None], -torch.inf)


def next_item_scores(
    scores: Tensor, target: Tensor, k: int, *, seen: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Hit and discounted gain of each user's next item among all items.

        rank = number of other items with a score at least the target's
        hit = 1 if rank < k;  gain = 1 / log2(rank + 2) if rank < k, else 0

    Args:
        scores: (U, I).
        target: (U,) int64, the next item.
        k: From 1 on.
        seen: (U, I) bool, items that are left out, but for the target; None for none.

    Returns:
        (U,) hits and (U,) gains; their means are HR@k and NDCG@k.

    Example:
        >>> scores = torch.tensor([[0.1, 0.9, 0.5]])
        >>> next_item_scores(scores, torch.tensor([2]), 2)
        (tensor([1.]), tensor([0.6309]))

    Source: Kang and McAuley 2018, "Self-Attentive Sequential Recommendation", section 4; full
    ranking as Krichene and Rendle 2020 ask.
    """
    _check(scores)
    if k < 1 or target.shape != (len(scores),):
        found = f"{k} and {tuple(target.shape)}"
        raise UserError(f"A rank from 1 on and targets ({len(scores)},); found {found}.")
    own = scores.gather(1, target[:, None])
    before = scores >= own
    if seen is not None:
        before = before & ~seen
    rank = (before.scatter(1, target[:, None], False)).sum(dim=1)
    hit = (rank < k).to(scores)
    return hit, hit / (rank + 2).to(scores).log2()


def _check(similarity: Tensor) -> None:
    if similarity.ndim != 2 or 0 in similarity.shape:
        found = tuple(similarity.shape)
        raise UserError(f"Similarities must be (queries, gallery), none of them 0; found {found}.")
    if bool(similarity.isnan().any()):
        raise UserError("Similarities of queries hold NaN; look for the step that made them.")
