"""Is the encoder as good for one group of samples as for another?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from nearfar.evaluation.kernels.intervals import Interval, wilson

FEWEST = 10
"""Samples that a group needs to be judged."""


@dataclass(frozen=True)
class Groups:
    """Accuracies of the groups.

    Attributes:
        judged: number of groups with enough samples.
        worst: number of the group with the lowest accuracy.
        samples: of that group.
        lowest: its accuracy, with its Wilson interval.
        gap: between the best and the worst group, with Newcombe's interval. Both are chosen after
            the fact, so that even groups that are alike have a gap above 0.
    """

    judged: int
    worst: int
    samples: int
    lowest: Interval
    gap: Interval


def groups(right: Tensor, group: Tensor, *, fewest: int = FEWEST) -> Groups | None:
    """Compare groups.

    Args:
        right: (N,) whether each sample was classified rightly, or in which share of several tries,
            in [0, 1].
        group: (N,) int64 numbers of the groups, not negative.
        fewest: samples that a group needs.

    Returns:
        None if fewer than two groups have so many samples.

    Source: Sagawa et al. 2020, "Distributionally Robust Neural Networks" (worst-group accuracy);
        Newcombe 1998, "Interval
    Estimation for the Difference between Independent Proportions", method 10.
    """
    group = group.to(right.device)
    count = group.bincount()
    members = (count >= fewest).nonzero()[:, 0]
    if len(members) < 2:
        return None
    share = (group.bincount(right.double()) / count)[members]
    places = int(share.argmin()), int(share.argmax())
    worst, best = (
        wilson(min(1.0, float(share[place])), int(count[members[place]])) for place in places
    )
    gap = best.value - worst.value
    low = gap - math.hypot(best.value - best.low, worst.high - worst.value)
    high = gap + math.hypot(best.high - best.value, worst.value - worst.low)
    return Groups(
        len(members),
        int(members[places[0]]),
        int(count[members[places[0]]]),
        worst,
        Interval(gap, low, high),
    )
