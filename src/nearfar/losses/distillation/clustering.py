"""Losses that compare assignments to prototypes: the swapped prediction of SwAV, whose form DINO
shares."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.losses.kernels.similarity import expect_temperature, full_precision, reduce

__all__ = ["swapped_cross_entropy", "swav"]


@full_precision
def swav(
    scores: Tensor, codes: Tensor, *, temperature: float | Tensor = 0.1, reduction: str = "mean"
) -> Tensor:
    """SwAV's loss: the code of one crop is predicted from every other crop.

        loss = mean over assigned crops a, crops v != a, samples n of  - sum_k codes_ank
                log softmax(scores_vn / tau)_k

    Args:
        scores: (V, N, K) cosines of V crops with K prototypes.
        codes: (A, N, K) balanced assignments of the first A crops, each summing to 1; constants.
        temperature: tau, above 0.
        reduction: "mean", or "none": (N,), a value for each sample.

    Example:
        >>> import torch
        >>> from nearfar.losses import swav
        >>> scores, codes = torch.zeros(2, 3, 4), torch.full((2, 3, 4), 0.25)
        >>> swav(scores, codes)
        tensor(1.3863)

    Source: Caron et al. 2020, "Unsupervised Learning of Visual Features by Contrasting Cluster
    Assignments", equation 2.
    """
    expect_temperature(temperature)
    return reduce(
        swapped_cross_entropy(scores / temperature, codes.detach().to(scores.dtype)), reduction
    )


def swapped_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of each target against the logits of every other view: for each sample the mean
    over these pairs.

    As - sum_k t_k log softmax(x)_k = (sum_k t_k) lse(x) - t . x, a view needs one log-sum-exp and
    one product with the sum of the targets that it faces; no log-softmax is kept.

    Args:
        logits: (V, N, K), each view's.
        target: (A, N, K) shares of the first A views.

    Returns:
        (N,).

    Raises:
        ValueError: if the shapes do not fit, or no view is left to predict a target.
    """
    views = len(logits)
    targets = len(target)
    fits = (
        logits.ndim == 3
        and target.ndim == 3
        and logits.shape[1:] == target.shape[1:]
        and 1 <= targets <= views
    )
    if not fits or 0 in logits.shape:
        found = f"{tuple(logits.shape)} and {tuple(target.shape)}"
        raise ValueError(
            "Expected (V, N, K) for all views and (A, N, K), 1 <= A <= V, for targets, none of "
            f"them empty; found {found}."
        )
    if views < 2:
        raise ValueError(
            "A view is never compared with itself: at least 2 views are needed, found 1."
        )
    total = target.sum(dim=0)
    loss = logits.new_zeros(logits.shape[1])
    for view, x in enumerate(logits):
        faced = total - target[view] if view < targets else total
        loss = loss + faced.sum(dim=1) * torch.logsumexp(x, dim=1) - (faced * x).sum(dim=1)
    return loss / (targets * (views - 1))
