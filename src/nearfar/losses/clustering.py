"""Losses on cluster assignments: SwAV's swapped prediction."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import log_softmax

from nearfar.losses.similarity import full_precision

__all__ = ["swav"]


@full_precision
def swav(scores: Tensor, codes: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Predict the codes of each assigned crop from every other crop.

        mean over assigned crops a of mean over crops v != a of mean_n - sum_k Q_ank log softmax(S_vn / tau)_k

    Args:
        scores: (V, N, K) of unit embeddings with unit prototypes; the assigned crops come first.
        codes: (A, N, K), rows sum to 1; no gradient reaches them.
        temperature: above 0.

    Source: Caron et al. 2020 (SwAV), equations 2 and 6.
    """
    if scores.ndim != 3 or codes.ndim != 3 or scores.shape[1:] != codes.shape[1:] or len(scores) < 2:
        raise ValueError(
            f"scores must be (V, N, K) with at least 2 crops and codes (A, N, K); found {tuple(scores.shape)} and {tuple(codes.shape)}."
        )
    guess, target = log_softmax(scores / temperature, dim=-1), codes.detach()
    # All pairs, less those of a crop with itself: sums over crops first, so that one product serves them.
    whole = (target.sum(dim=0) * guess.sum(dim=0)).sum()
    same = (target * guess[: len(target)]).sum()
    return -(whole - same) / (len(target) * (len(scores) - 1) * scores.shape[1])
