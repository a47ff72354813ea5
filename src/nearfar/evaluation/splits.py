"""Seeded draws from labelled samples that keep the classes' proportions."""

from __future__ import annotations

import torch
from torch import Tensor


def stratified(labels: Tensor, share: float, *, seed: int, leave: int = 0) -> Tensor:
    """Choose a share of each class at random, at least one sample of each class that occurs.

    Args:
        labels: (N,) int64, not negative.
        share: in (0, 1].
        seed: of the draw.
        leave: samples of each class that must remain unchosen, even if none of it is chosen then.

    Returns:
        (N,) bool on the labels' device, true where chosen.
    """
    labels_here = labels.cpu()
    shuffled = torch.randperm(len(labels_here), generator=torch.Generator().manual_seed(seed))
    order = shuffled[labels_here[shuffled].argsort(stable=True)]  # class by class, in random order within each
    count = labels_here.bincount()
    quota = torch.minimum((share * count).round().long().clamp(min=1), (count - leave).clamp(min=0))
    first = count.cumsum(0) - count
    sorted_labels = labels_here[order]
    rank = torch.arange(len(order)) - first[sorted_labels]
    chosen = torch.empty(len(order), dtype=torch.bool)
    chosen[order] = rank < quota[sorted_labels]
    return chosen.to(labels.device)
