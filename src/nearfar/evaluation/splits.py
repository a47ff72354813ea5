"""Seeded draws from samples that keep the classes' proportions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nearfar.errors import UserError


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
    label = labels.cpu()
    count = label.bincount()
    quota = torch.minimum((share * count).round().long().clamp(min=1), (count - leave).clamp(min=0))
    return _drawn(label, quota, seed).to(labels.device)


def per_class(labels: Tensor, count: int, *, seed: int) -> Tensor:
    """Choose ``count`` samples of each class at random, all of a class that has fewer; otherwise as
    ``stratified``.
    """
    label = labels.cpu()
    return _drawn(label, torch.full_like(label.bincount(), count), seed).to(labels.device)


def _drawn(label: Tensor, quota: Tensor, seed: int) -> Tensor:
    shuffled = torch.randperm(len(label), generator=torch.Generator().manual_seed(seed))
    order = shuffled[
        label[shuffled].argsort(stable=True)
    ]  # class by class, in random order within each
    count = label.bincount()
    place = (
        torch.arange(len(order)) - (count.cumsum(0) - count)[label[order]]
    )  # of each sample within its class
    chosen = torch.empty(len(order), dtype=torch.bool)
    chosen[order] = place < quota[label[order]]
    return chosen


def validation_part(source: Any) -> tuple[Any, Any]:
    """What a run may look at while it trains: its training samples in two parts, a fifth of each
    class the second.

    No sample of either is among those that ``held_out`` gives for testing. With too few samples the
    second is empty.
    """
    train = source.train if len(source.train) < 5 else held_out(source)[0]
    chosen = _fifth(train, source.spec.target, seed=1)
    return train.subset((~chosen).nonzero()[:, 0]), train.subset(chosen.nonzero()[:, 0])


def _fifth(samples: Any, target: str, *, seed: int) -> Tensor:
    one_class = torch.zeros(len(samples), dtype=torch.int64)
    labels = samples.label if target == "class" and samples.label is not None else one_class
    return stratified(labels, 0.2, seed=seed, leave=1).cpu()


def held_out(source: Any) -> tuple[Any, Any]:
    """Training and test samples of a source; where it has no test samples, a fifth of the training
    samples, always the same.

    Raises:
        UserError: if there are no test samples and fewer than 5 for training.
    """
    if source.test is not None and len(source.test):
        return source.train, source.test
    if len(source.train) < 5:
        raise UserError(
            f"{source.spec.name} has {len(source.train)} samples and no test set; an evaluation "
            "needs at least 5."
        )
    chosen = _fifth(source.train, source.spec.target, seed=0)
    return source.train.subset((~chosen).nonzero()[:, 0]), source.train.subset(
        chosen.nonzero()[:, 0]
    )
