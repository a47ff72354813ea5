"""GroCo: the group of positives must rank above the hardest negatives, asked of a differentiable
sort.

For each anchor the similarities [negatives ascending | positives ascending] pass a soft sorting
network; u_i, the mass that element i has in the top ranks, is compared with 1 for a positive and 0
for a negative. Only the anchor receives gradient.

    loss = mean over anchors' views, samples and elements of BCE(u_i, whether i is a positive)

Source: Shvetsova et al. 2023, "Learning by Sorting: Self-supervised Learning with Group Ordering
Constraints", section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from nearfar.losses.instance.sorting import soft_sort
from nearfar.losses.kernels.blocks import gathered, nearest_rows
from nearfar.losses.kernels.similarity import expect_no_nan, full_precision, reduce, unit

__all__ = ["groco"]


@full_precision
def groco(
    views: Tensor,
    *,
    whole: int | None = None,
    negatives: int = 10,
    steepness: float = 1.0,
    network: str = "odd_even",
    distribution: str = "cauchy",
    reduction: str = "mean",
) -> Tensor:
    """The group-ordering loss of V views of N samples; every view is an anchor once.

    Positives are the sample's other whole views; negatives are the nearest other samples under the
    anchor's own view.

    Args:
        views: (V, N, D) projections, normalised here; whole views first, at least 2 of them.
        whole: number of whole views; None for all.
        negatives: how many of the nearest others count; all of them in a smaller batch.
        steepness: of the sorting network's distributions, above 0.
        network: "odd_even" or "bitonic".
        distribution: of the soft comparisons, as in ``soft_sort``.
        reduction: "mean", or "none" for (N,).

    Raises:
        ValueError: if ``views`` has not three dimensions or fewer than two whole views, or for an
            unknown network or distribution.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.groco import groco
        >>> views = torch.eye(4).repeat(2, 1, 1)  # two equal views of four samples
        >>> groco(views, negatives=2)
        tensor(0.1849)
    """
    whole = len(views) if whole is None else whole
    if views.ndim != 3 or not 2 <= whole <= len(views):
        raise ValueError(
            f"GroCo needs views (V, N, D), at least 2 of them whole; found {tuple(views.shape)}, "
            f"{whole} whole."
        )
    if 0 in views.shape:
        raise ValueError(
            f"GroCo needs views (V, N, D), none of them empty; found {tuple(views.shape)}."
        )
    expect_no_nan("groco", views=views)
    anchor = unit(views)
    other = anchor.detach()
    nearest = nearest_rows(anchor, other, min(negatives, views.shape[1] - 1), exclude=(0,))
    nearest = torch.einsum("vnd,vnkd->vnk", anchor, gathered(other, nearest)).flip(-1)
    positive = torch.einsum("vnd,wnd->vnw", anchor, other[:whole])
    place = torch.arange(whole, device=views.device)
    elsewhere = place[:-1] + (place[:-1] >= place[:, None])
    within = positive[:whole].take_along_dim(elsewhere[:, None], dim=2)
    groups = [(nearest[:whole], within), (nearest[whole:], positive[whole:])]
    losses = [_ordering(*group, steepness, network, distribution) for group in groups]
    return reduce(torch.cat(losses).mean(dim=0), reduction)


def _ordering(
    negative: Tensor, positive: Tensor, steepness: float, network: str, distribution: str
) -> Tensor:
    """How far (V, N) the positives (V, N, P) are from ranking above the negatives (V, N, k), which
    come sorted."""
    count = positive.shape[-1]
    group = torch.cat([negative, positive.sort(dim=-1).values], dim=-1)
    _, permutation = soft_sort(
        group, steepness=steepness, network=network, distribution=distribution
    )
    top = permutation[..., -count:].sum(dim=-1).clamp(0.0, 1.0)
    target = torch.zeros_like(top)
    target[..., -count:] = 1.0
    undefined = (
        top.isnan()
    )  # on a GPU, where NaN is not looked for, it must not reach the assertion of the cross-entropy
    losses = binary_cross_entropy(top.masked_fill(undefined, 0.5), target, reduction="none")
    return losses.masked_fill(undefined, torch.nan).mean(dim=-1)
