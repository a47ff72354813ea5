"""Prototypes moved onto the queries by optimal transport, at test time."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.errors import UserError

__all__ = ["standardised", "transport_plan", "transported_prototypes"]


def standardised(features: Tensor) -> Tensor:
    """Each row (..., D) minus its mean, divided by its deviation (with D - 1).

    >>> standardised(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[-1.,  0.,  1.]])

    Source: BECLR 2024, evaluation.
    """
    centred = features - features.mean(dim=-1, keepdim=True)
    return centred / features.std(dim=-1, keepdim=True)


@torch.no_grad()
def transport_plan(
    cost: Tensor, *, regularisation: float = 0.05, iterations: int = 1000, tolerance: float = 1e-4
) -> Tensor:
    """The entropic plan between two uniform distributions.

        u <- u + e ( log(1/n + 1e-8) - log sum_j exp((-C + u + v) / e) ), v likewise
        plan = exp((-C + u + v) / e);  stops when sum |change of u| < tolerance

    Args:
        cost: (n, m) C.
        regularisation: e, above 0.
        iterations: Most rounds.
        tolerance: Of the change, from 0 on.

    Returns:
        (n, m), in all about 1.

    Example:
        >>> transport_plan(torch.tensor([[0.0, 1.0], [1.0, 0.0]])).round(decimals=3)
        tensor([[0.5000, 0.0000],
                [0.0000, 0.5000]])

    Source: Cuturi 2013, "Sinkhorn Distances", in logarithms.
    """
    if cost.ndim != 2 or 0 in cost.shape or not regularisation > 0 or iterations < 1:
        found = f"{tuple(cost.shape)}, regularisation {regularisation} and {iterations} rounds"
        raise UserError(f"A plan needs costs (n, m), and numbers above 0; found {found}.")
    own, other = cost.new_zeros(cost.shape[0]), cost.new_zeros(cost.shape[1])
    log_own = (torch.ones_like(own) / len(own) + 1e-8).log()
    log_other = (torch.ones_like(other) / len(other) + 1e-8).log()

    def logits() -> Tensor:
        return (-cost + own[:, None] + other) / regularisation

    for _ in range(iterations):
        before = own
        own = regularisation * (log_own - logits().logsumexp(dim=1)) + own
        other = regularisation * (log_other - logits().logsumexp(dim=0)) + other
        if float((own - before).abs().sum()) < tolerance:
            break
    return logits().exp()


def transported_prototypes(
    prototypes: Tensor,
    queries: Tensor,
    *,
    passes: int = 1,
    regularisation: float = 0.05,
    iterations: int = 1000,
    tolerance: float = 1e-4,
    share: float = 1.0,
) -> Tensor:
    """Class prototypes at the queries that a transport plan gives them.

        P <- (plan / its row sums) queries, ``passes`` times;  C = squared distances / their maximum
        result = share P + (1 - share) first prototypes

    Args:
        prototypes: (C, D) means of the supports.
        queries: (Q, D).
        passes: 5 for one shot, 1 for more.
        regularisation: Of the plan, above 0.
        iterations: Of the plan.
        tolerance: Of the plan.
        share: 1 for one shot, 0.7 for more.

    Returns:
        (C, D).

    Example:
        >>> prototypes, queries = torch.tensor([[0.0], [4.0]]), torch.tensor([[1.0], [3.0]])
        >>> transported_prototypes(prototypes, queries).round(decimals=2)
        tensor([[1.],
                [3.]])

    Source: BECLR 2024, OpTA, section 4.
    """
    if not 0 <= share <= 1 or passes < 0:
        raise UserError(f"The share is {share} and there are {passes} passes; expected 0 to 1.")
    moved = prototypes
    for _ in range(passes):
        distance = (moved[:, None] - queries).square().sum(dim=2)
        most = distance.max()
        plan = transport_plan(
            distance / torch.where(most > 0, most, 1),
            regularisation=regularisation,
            iterations=iterations,
            tolerance=tolerance,
        )
        moved = plan / plan.sum(dim=1, keepdim=True) @ queries
    return share * moved + (1 - share) * prototypes
