"""Evaluation of two modalities in one space: retrieval both ways, zero-shot classification, and the control."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nearfar.errors import UserError

_BLOCK = 1024


@torch.no_grad()
def ranks(query: Tensor, target: Tensor) -> Tensor:
    """Rank of each query's own target among all targets by cosine, (N,) int64 from 1.

    Ties count against the query, so that embeddings that are all alike do not look good.

    Args:
        query: (N, D).
        target: (N, D); row i belongs to query i.
    """
    if query.shape != target.shape or query.ndim != 2:
        raise UserError(f"Pairs have embeddings {tuple(query.shape)} and {tuple(target.shape)}; expected two of one shape (N, D).")
    query, target = F.normalize(query, dim=1), F.normalize(target, dim=1)
    found = []
    for start in range(0, len(query), _BLOCK):
        similar = query[start : start + _BLOCK] @ target.T
        own = similar.diagonal(start)[: len(similar), None]
        found.append((similar >= own).sum(dim=1))
    return torch.cat(found)


def recall(rank: Tensor, k: int) -> float:
    """Share of queries whose own target is among the first k, in [0, 1]."""
    return float((rank <= k).float().mean())


@torch.no_grad()
def zero_shot(samples: Tensor, classes: Tensor, labels: Tensor) -> float:
    """Share of samples (N, D) whose nearest class embedding (C, D), by cosine, is that of their label (N,), in [0, 1]."""
    similar = F.normalize(samples, dim=1) @ F.normalize(classes, dim=1).T
    return float((similar.argmax(dim=1) == labels.to(similar.device)).float().mean())


def shuffled(target: Tensor, *, seed: int = 0) -> Tensor:
    """The targets in random order: with wrong partners, retrieval must fall to chance, k / N."""
    return target[torch.randperm(len(target), generator=torch.Generator().manual_seed(seed)).to(target.device)]
