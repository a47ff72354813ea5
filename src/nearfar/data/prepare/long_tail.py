"""``--with long-tail``: classes of very different size.

Source: Cao et al. 2019 (LDAM), section 4.1: an exponential profile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch

from nearfar.data.prepare.classes_of import class_labels
from nearfar.data.samples import Source
from nearfar.ranges import at_least


@dataclass(frozen=True, kw_only=True)
class LongTail:
    """Each class keeps fewer training samples than the one before; test samples stay.

    Class k of K keeps n / imbalance^(k / (K - 1)) of the n samples of the smallest class, at least
    one.

    Attributes:
        imbalance: How many times as large the first class is as the last.
    """

    imbalance: Annotated[float, at_least(1)] = 100.0

    def __call__(self, source: Source, *, seed: int) -> Source:
        label = class_labels(source, "long-tail")
        classes = len(source.spec.classes)
        largest = int(torch.bincount(label, minlength=classes).min())
        generator = torch.Generator().manual_seed(seed)
        kept = []
        counts = []
        for number in range(classes):
            rows = (label == number).nonzero().flatten()
            share = self.imbalance ** (-number / (classes - 1))
            count = max(1, round(largest * share)) if len(rows) else 0
            counts.append(count)
            kept.append(rows[torch.randperm(len(rows), generator=generator)[:count]])
        train = source.train.subset(torch.cat(kept).sort().values)
        note = (
            f"Long tail: {len(train):,} of {len(label):,} training samples, from {max(counts):,} "
            f"to {min(counts):,} a class."
        )
        return replace(source, train=train, notes=[*source.notes, note])


PREPARATION = LongTail
