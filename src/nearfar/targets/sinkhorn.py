"""Balanced soft assignments: the Sinkhorn-Knopp iteration in logarithms."""

from __future__ import annotations

import math

import torch
from torch import Tensor


@torch.no_grad()
def sinkhorn(scores: Tensor, *, epsilon: float = 0.05, iterations: int = 3) -> Tensor:
    """Assign N samples softly to K prototypes so that all prototypes are used alike.

    exp(scores / epsilon) is divided in turn by the sums of its columns (each prototype gets N / K)
    and of its rows (each sample gives 1). Working with logarithms keeps large scores and small
    epsilons finite.

    Args:
        scores: (N, K) similarities of samples and prototypes, any float type.
        epsilon: softness above 0; near 0 each sample takes one prototype.
        iterations: passes over columns and rows; with 0 the result is only scaled to a total of N.

    Returns:
        (N, K) codes without gradient, in float32 or wider; with ``iterations`` > 0 each row sums to
        1.

    Source: Caron et al. 2020 (SwAV), section 3.1; Cuturi 2013.
    """
    samples, prototypes = scores.shape
    logs = scores.to(torch.promote_types(scores.dtype, torch.float32)) / epsilon
    logs = logs - torch.logsumexp(logs, dim=(0, 1)) + math.log(samples)
    for _ in range(iterations):
        logs = logs - torch.logsumexp(logs, dim=0, keepdim=True) + math.log(samples / prototypes)
        logs = logs - torch.logsumexp(logs, dim=1, keepdim=True)
    return logs.exp()
