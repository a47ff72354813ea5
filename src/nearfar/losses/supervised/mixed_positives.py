"""SupReMix's mixed positives without a number for each of them: all pairs of parents, summed label
by label.

A mixed positive of an anchor with label y has one parent j of a lower label u and one parent k of a
higher label v. Its share a = (v - y) / (v - u) depends on the labels alone, so over all parents of
these two labels the sum separates:

    sum_{j, k} exp(a c_j + (1 - a) c_k) = sum_j exp(a c_j) sum_k exp((1 - a) c_k),
      c: the anchor's products

Where every sample comes in two views, and labels are ages, that is far fewer terms than there are
pairs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Labels", "Terms", "mixed_positives"]


class Labels(NamedTuple):
    """Rows grouped by label, for M rows with G different labels.

    Attributes:
        values: (G,) the labels, rising.
        group: (M,) int64, which label each row has.
        size: (G,) int64, how many rows have it.
        order: (M,) int64, the rows by rising label.
        start: (G,) int64, where a label's rows begin in ``order``.
    """

    values: Tensor
    group: Tensor
    size: Tensor
    order: Tensor
    start: Tensor

    @classmethod
    def of(cls, label: Tensor) -> Labels:
        """From (M,) labels."""
        values, group, size = torch.unique(label.detach(), return_inverse=True, return_counts=True)
        return cls(values, group, size, group.argsort(stable=True), size.cumsum(0) - size)

    def parents(self, anchor: Tensor, window: float) -> tuple[Tensor, Tensor]:
        """(A, G) bool each: which labels lie below and above those of the anchors (A,), less than
        ``window`` away."""
        gap = anchor[:, None] - self.values
        return (gap > 0) & (gap < window), (gap < 0) & (gap > -window)

    def entries(self, window: float) -> int:
        """The most numbers that one anchor's mixed positives take on the way."""
        below, above = self.parents(self.values, window)
        kinds = [side.sum(1) for side in (below, above)]
        rows = [(side * self.size).sum(1) for side in (below, above)]
        return max(len(self.values) ** 2, int((kinds[0] * rows[1] + kinds[1] * rows[0]).max()))


class Terms(NamedTuple):
    """What a loss needs of some of each anchor's terms, (A,) each; where an anchor has none, of no
    weight.

    Attributes:
        logsumexp: of their logits, each plus the logarithm of its weight.
        total: sum of the positives' logits.
        number: of positives.
        largest: the largest logit, without gradient.
    """

    logsumexp: Tensor
    total: Tensor
    number: Tensor
    largest: Tensor

    def beside(self, other: Terms) -> Terms:
        """These terms and others together."""
        largest = torch.maximum(self.largest, other.largest)
        return Terms(
            torch.logaddexp(self.logsumexp, other.logsumexp),
            self.total + other.total,
            self.number + other.number,
            largest,
        )

    def from_largest(self) -> Terms:
        """The same with the largest logit taken off every logit."""
        shift = torch.where(self.largest.isfinite(), self.largest, 0.0)
        return Terms(
            self.logsumexp - shift,
            self.total - self.number * shift,
            self.number,
            self.largest - shift,
        )


def mixed_positives(logits: Tensor, anchor: Tensor, labels: Labels, window: float) -> Terms:
    """The mixed positives of some anchors.

    Args:
        logits: (A, M) products of the anchors with all rows over the temperature.
        anchor: (A,) labels of the anchors.
        labels: of the M rows.
        window: largest label distance (exclusive) of a parent.

    Source: Wu et al. 2023 (SupReMix), section 3.2.
    """
    below, above = labels.parents(anchor, window)
    i, low, high = (below[:, :, None] & above[:, None, :]).nonzero(as_tuple=True)
    share = (labels.values[high] - anchor[i]) / (labels.values[high] - labels.values[low])
    fixed = logits.detach()
    peak = fixed.new_full(below.shape, -math.inf).scatter_reduce(
        1, labels.group.expand_as(fixed), fixed, "amax"
    )
    sums = logits.new_zeros(below.shape).index_add(1, labels.group, logits)

    def over_rows(group: Tensor, weight: Tensor) -> Tensor:
        """log sum of exp(weight * logit) over the rows of the label ``group``, one for each pair of
        labels."""
        size = labels.size[group]
        pair = torch.repeat_interleave(torch.arange(len(group), device=group.device), size)
        place = (
            torch.arange(len(pair), device=group.device)
            - (size.cumsum(0) - size)[pair]
            + labels.start[group][pair]
        )
        highest = peak[i, group]
        terms = (weight[pair] * (logits[i[pair], labels.order[place]] - highest[pair])).exp()
        return weight * highest + logits.new_zeros(len(group)).index_add(0, pair, terms).log()

    pairs = over_rows(low, share) + over_rows(high, 1 - share)
    numbers = (labels.size[low] * labels.size[high]).to(logits)
    total = numbers * (
        share * sums[i, low] / labels.size[low] + (1 - share) * sums[i, high] / labels.size[high]
    )
    none = logits.new_zeros(len(logits))
    top, largest = (
        torch.full_like(none, -math.inf).scatter_reduce(0, i, values, "amax")
        for values in (pairs.detach(), share * peak[i, low] + (1 - share) * peak[i, high])
    )
    mass = none.index_add(0, i, (pairs - top[i]).exp())
    found = mass > 0
    logsumexp = torch.where(
        found, top + torch.where(found, mass, 1.0).log(), torch.finfo(logits.dtype).min
    )
    return Terms(logsumexp, none.index_add(0, i, total), none.index_add(0, i, numbers), largest)
