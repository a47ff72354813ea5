"""SEER's assignments: Sinkhorn with prototypes wanted unequally often, hard ones, and a queue."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.losses.restoration.inputs import expect_number, expect_pictures
from nearfar.ranges import above, at_least

__all__ = ["balanced_assignment", "hard_assignment", "power_law"]


def power_law(prototypes: int, exponent: float) -> Tensor:
    """Wanted shares of prototypes, (k + 1)^-exponent over their sum; 0 wants all alike.

    Example:
        >>> from nearfar.losses.dense.assignments import power_law
        >>> power_law(2, 1.0)
        tensor([0.6667, 0.3333], dtype=torch.float64)

    Source: VISSL's power-law Sinkhorn.
    """
    expect_number(Annotated[int, at_least(1)], prototypes=prototypes)
    expect_number(Annotated[float, at_least(0)], exponent=exponent)
    shares = torch.arange(1, prototypes + 1, dtype=torch.float64) ** -exponent
    return shares / shares.sum()


@torch.no_grad()
def balanced_assignment(
    scores: Tensor,
    *,
    epsilon: float = 0.05,
    iterations: int = 3,
    wanted: Tensor | None = None,
    queued: Tensor | None = None,
) -> Tensor:
    """Soft assignments of samples to prototypes that use each prototype by its wanted share.

    exp(scores / epsilon) is scaled in turn so that prototypes receive their shares and samples give
    alike, in logarithms; at the end each sample gives 1.

    Args:
        scores: (N, K) similarities of samples and prototypes.
        epsilon: Softness, above 0.
        iterations: At least 1.
        wanted: (K,) shares that sum to 1, such as ``power_law``; None for 1 / K.
        queued: (M, K) scores of earlier samples that balance with these and are not returned.

    Returns:
        (N, K) without gradient; rows sum to 1.

    Example:
        >>> import torch
        >>> from nearfar.losses.dense.assignments import balanced_assignment
        >>> balanced_assignment(torch.zeros(2, 4))[0]
        tensor([0.2500, 0.2500, 0.2500, 0.2500])

    Source: Caron et al. 2020 (SwAV); Goyal et al. 2022 (SEER).
    """
    expect_pictures(scores=(scores, "N K"))
    expect_number(Annotated[float, above(0)], epsilon=epsilon)
    expect_number(Annotated[int, at_least(1)], iterations=iterations)
    together = scores
    if queued is not None:
        expect_pictures(scores=(scores, "N K"), queued=(queued, "M K"))
        together = torch.cat([scores, queued])
    samples, prototypes = together.shape
    if wanted is not None and wanted.shape != (prototypes,):
        raise UserError(f"Expected {prototypes} wanted shares; found {tuple(wanted.shape)}.")
    logs = together.to(torch.promote_types(together.dtype, torch.float32)) / epsilon
    shares = (
        torch.full((prototypes,), -math.log(prototypes), dtype=logs.dtype, device=logs.device)
        if wanted is None
        else wanted.to(logs).log()
    )
    for _ in range(iterations):
        logs = logs - logs.logsumexp(dim=0, keepdim=True) + shares
        logs = logs - logs.logsumexp(dim=1, keepdim=True) - math.log(samples)
    return logs.softmax(dim=1)[: len(scores)]


def hard_assignment(assignment: Tensor) -> Tensor:
    """1 at the largest share of each row, else 0.

    Example:
        >>> import torch
        >>> from nearfar.losses.dense.assignments import hard_assignment
        >>> hard_assignment(torch.tensor([[0.2, 0.8]]))
        tensor([[0., 1.]])

    Source: VISSL's hard assignments of the first iterations.
    """
    expect_pictures(assignment=(assignment, "N K"))
    largest = assignment.argmax(dim=1, keepdim=True)
    return torch.zeros_like(assignment).scatter(1, largest, 1.0)
