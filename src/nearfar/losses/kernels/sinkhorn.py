"""Balanced soft assignments: the Sinkhorn-Knopp iteration in logarithms."""

from __future__ import annotations

import math

import torch
from torch import Tensor


@torch.no_grad()
def sinkhorn(
    scores: Tensor,
    *,
    epsilon: float = 0.05,
    iterations: int = 3,
    counted: Tensor | None = None,
) -> Tensor:
    """Assign N samples softly to K prototypes so that all prototypes are used alike.

    exp(scores / epsilon) is divided in turn by the sums of its columns (each prototype gets N / K)
    and of its rows (each sample gives 1). Working with logarithms keeps large scores and small
    epsilons finite.

    Args:
        scores: (N, K) similarities of samples and prototypes, any float type.
        epsilon: softness above 0; near 0 each sample takes one prototype.
        iterations: passes over columns and rows; with 0 the result is only scaled to a total of N.
        counted: (N,) bool, false for rows that are no samples; None: all rows are.

    Returns:
        (N, K) codes without gradient, in float32 or wider; with ``iterations`` > 0 each row sums to
        1. Rows that are not counted are 0.

    Source: Caron et al. 2020 (SwAV), section 3.1; Cuturi 2013.
    """
    logs = scores.to(torch.promote_types(scores.dtype, torch.float32)) / epsilon
    total: float | Tensor = math.log(len(scores))
    share: float | Tensor = math.log(len(scores) / scores.shape[1])
    if counted is not None:
        total = counted.sum().to(logs.dtype).log()
        share = total - math.log(scores.shape[1])
        logs = logs.masked_fill(~counted[:, None], -torch.inf)
    logs = logs - _log_sum(logs, (0, 1)) + total
    for _ in range(iterations):
        logs = logs - _log_sum(logs, (0,)) + share
        logs = logs - _log_sum(logs, (1,))
    return logs.exp()


def _log_sum(logs: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The logarithm of the sum of exponentials, with its axes kept; 0 where there is nothing."""
    found = torch.logsumexp(logs, dim=axes, keepdim=True)
    return found.masked_fill(found == -torch.inf, 0.0)
