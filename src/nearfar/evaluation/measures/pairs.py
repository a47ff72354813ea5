"""Pairs of two modalities in one space, such as images and their texts: retrieval, zero-shot
classification, and the gap.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nearfar.errors import UserError
from nearfar.evaluation.features import check_features

_BLOCK = 1024


@torch.no_grad()
def partner_ranks(queries: Tensor, bank: Tensor) -> Tensor:
    """At which place each query finds its partner, row i of ``bank`` for row i of ``queries``, by
    cosine.

    Ties count against the query, within rounding: where all embeddings are equal, every rank is N.

    Args:
        queries: (N, D).
        bank: (N, D).

    Returns:
        (N,) int64, from 1 (found first) to N.

    Raises:
        UserError: if the shapes differ or an embedding is not finite.
    """
    q, b = _unit_pair(queries, bank)
    rounding = 10 * torch.finfo(q.dtype).eps
    ranks = []
    for start in range(0, len(q), _BLOCK):
        cosine = q[start : start + _BLOCK] @ b.T
        own = cosine.diagonal(start)[:, None]
        ranks.append((cosine >= own - rounding).sum(dim=1))
    return torch.cat(ranks)


def recall_at(ranks: Tensor, k: int) -> float:
    """Share of queries, in [0, 1], whose partner is among the first k; ``ranks`` from
    ``partner_ranks``.
    """
    return float((ranks <= k).double().mean())


def zero_shot(images: Tensor, class_texts: Tensor) -> Tensor:
    """The class whose text embedding has the largest cosine to each image's embedding.

    Args:
        images: (N, D).
        class_texts: (C, D), one a class in label order; for several texts a class, the mean of
            their unit embeddings.

    Returns:
        (N,) int64.
    """
    check_features(images, "images")
    check_features(class_texts, "class texts")
    return (F.normalize(images, dim=1) @ F.normalize(class_texts, dim=1).T).argmax(dim=1)


def modality_gap(first: Tensor, second: Tensor) -> float:
    """Distance between the two modalities' mean unit embeddings, both (N, D); 0 to 2.

    Source: Liang et al. 2022, "Mind the Gap: Understanding the Modality Gap in Multi-modal
        Contrastive Representation
    Learning".
    """
    u, v = _unit_pair(first, second)
    return float((u.mean(dim=0) - v.mean(dim=0)).norm())


def _unit_pair(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    check_features(first, "first of the pairs")
    check_features(second, "second of the pairs")
    if first.shape != second.shape:
        raise UserError(
            f"The pairs' embeddings have shapes {tuple(first.shape)} and {tuple(second.shape)}; "
            "expected one space, so use a method that projects both modalities."
        )
    return F.normalize(first, dim=1), F.normalize(second, dim=1)
