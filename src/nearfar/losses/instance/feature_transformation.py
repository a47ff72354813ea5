"""FT: MoCo's positives are extrapolated apart and its negatives interpolated, in feature space,
before they meet.

    q' = a q + (1 - a) k,  k' = a k + (1 - a) q,  Q' = b Q + (1 - b) Q[partner],
      a in [1, 2], b in [0, 1]

For unit vectors the positive's score falls from s to s + 2 a (1 - a) (1 - s). Rows are not brought
back to unit length unless asked for, q' meets the negatives too, and it is the unmixed key that
enters the queue. Weights are scalars by default, as in the released commands; the paper also draws
one for every dimension.

Source: Zhu et al. 2021, "Improving Contrastive Learning by Visualizing Feature Transformation",
sections 3 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nearfar.losses.kernels.logsumexp import row_logsumexp
from nearfar.losses.kernels.similarity import (
    expect_queue,
    expect_rows,
    expect_temperature,
    full_precision,
    reduce,
    unit,
)

__all__ = ["Mixing", "draw_mixing", "feature_transformation", "mix", "score_statistics"]


@dataclass(frozen=True)
class Mixing:
    """One step's mixing; a weight of 1 changes nothing.

    Attributes:
        extrapolation: a, of the positives, at least 1: a number or what broadcasts to (N, D).
        interpolation: b, of the negatives, in [0, 1]: a number or what broadcasts to (K, D).
        partner: (K,) int64, the key that each key of the queue is mixed with; None leaves the
            negatives alone.
        normalise: bring the mixed pair (not the queue) back to unit length, the released option
            ``postmix_norm``.
    """

    extrapolation: Tensor | float = 1.0
    interpolation: Tensor | float = 1.0
    partner: Tensor | None = None
    normalise: bool = False


def draw_mixing(
    query: Tensor,
    queue: Tensor,
    *,
    generator: torch.Generator,
    elementwise_positive: bool = False,
    elementwise_negative: bool = False,
) -> Mixing:
    """Draw a = 1 + Beta(2, 2), b = Beta(1.6, 1.6) and a permutation of the queue.

    Args:
        query: (N, D), for its shape, type and device.
        queue: (K, D), likewise.
        generator: source of the draws, on any device.
        elementwise_positive: one a for every element of the query instead of one for all.
        elementwise_negative: one b for every element of the queue instead of one for all.
    """
    positive = _beta(2.0, query.shape if elementwise_positive else (), generator)
    negative = _beta(1.6, queue.shape if elementwise_negative else (), generator)
    partner = torch.randperm(len(queue), generator=generator, device=generator.device)
    return Mixing(1.0 + positive.to(query), negative.to(queue), partner.to(queue.device))


def _beta(alpha: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draws from Beta(alpha, alpha): the share of one gamma variate in the sum of two."""
    first, second = torch._standard_gamma(
        torch.full((2, *shape), alpha, device=generator.device), generator=generator
    )
    share: Tensor = first / (first + second)
    return share


@full_precision
def mix(query: Tensor, key: Tensor, queue: Tensor, mixing: Mixing) -> tuple[Tensor, Tensor, Tensor]:
    """The mixed query, key and queue. Key and queue are constants, but the mixed key passes
    gradient to the query."""
    key = key.detach()
    queue = queue.detach().to(query.dtype)
    positive = mixing.extrapolation
    negative = mixing.interpolation
    query, key = (
        positive * query + (1.0 - positive) * key,
        positive * key + (1.0 - positive) * query,
    )
    if mixing.normalise:
        query = unit(query)
        key = unit(key)
    if mixing.partner is not None:
        queue = negative * queue + (1.0 - negative) * queue[mixing.partner]
    return query, key, queue


@full_precision
def feature_transformation(
    query: Tensor,
    key: Tensor,
    queue: Tensor,
    mixing: Mixing,
    *,
    temperature: float = 0.2,
    reduction: str = "mean",
) -> Tensor:
    """Queue InfoNCE of the mixed features.

        mean_i  - q'_i.k'_i / tau + log ( exp(q'_i.k'_i / tau) + sum_u exp(q'_i.Q'_u / tau) )

    Args:
        query: (N, D) unit rows.
        key: (N, D) unit rows; no gradient reaches it.
        queue: (K, D) unit rows; no gradient reaches it.
        mixing: this step's weights.
        temperature: tau, above 0.
        reduction: "mean", or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.feature_transformation import feature_transformation
        >>> from nearfar.losses.instance.feature_transformation import Mixing
        >>> query, queue = torch.eye(4)[:2], torch.eye(4)[2:]
        >>> feature_transformation(query, query, queue, Mixing(extrapolation=1.5))
        tensor(0.0134)
    """
    expect_rows(query=query, key=key)
    expect_temperature(temperature)
    expect_queue(queue, query.shape[1])
    query, key, queue = mix(query, key, queue, mixing)
    query = query / temperature
    positive = (query * key).sum(dim=1)
    return reduce(torch.logaddexp(positive, row_logsumexp(query, queue)) - positive, reduction)


@torch.no_grad()
@full_precision
def score_statistics(
    query: Tensor, key: Tensor, queue: Tensor, *, temperature: float = 0.2
) -> Tensor:
    """What the paper's viewer plots over training, of the features that enter the loss.

    Args:
        query: (N, D), after ``mix`` if there is mixing.
        key: (N, D), likewise.
        queue: (K, D), likewise; of one row the variance is 0.
        temperature: tau, above 0.

    Returns:
        (N, 5): mean and unbiased variance of q.Q over the queue, q.k, mean exp(q.Q / tau), exp(q.k
        / tau).
    """
    negative = query @ queue.T
    positive = (query * key).sum(dim=1)
    heat = (negative / temperature).exp().mean(dim=1), (positive / temperature).exp()
    spread = negative.var(dim=1, correction=min(1, negative.shape[1] - 1))  # one negative has none
    return torch.stack([negative.mean(dim=1), spread, positive, *heat], dim=1)
