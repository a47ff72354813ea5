"""MoCHi: each query also faces mixtures of its hardest negatives, and mixtures of those with
itself.

    h = norm(alpha T_i + (1 - alpha) T_j),  alpha in [0, 1];  h' = norm(beta q + (1 - beta) T_j),
      beta in [0, 1/2]

where T are the queue's keys nearest to query q. Synthetic points are constants, q inside h'
included; they join the negatives of this step only and never enter the queue.

Source: Kalantidis et al. 2020, "Hard Negative Mixing for Contrastive Learning", section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from nearfar.losses.kernels.blocks import in_row_blocks
from nearfar.losses.kernels.logsumexp import row_logsumexp
from nearfar.losses.kernels.similarity import (
    expect_queue,
    expect_rows,
    expect_temperature,
    full_precision,
    reduce,
    unit,
)

__all__ = ["Draws", "draw", "hardest_keys", "mochi", "proxy_accuracy", "synthesise"]


@dataclass(frozen=True)
class Draws:
    """One step's choices for N queries; places count from each query's hardest key, number 0, on.

    Attributes:
        hardest: how many of the hardest keys were drawn from, at most the queue's length.
        first: (N, s) int64 place of one parent of each mixed pair.
        second: (N, s) int64 place of the other, which may be the same.
        alpha: (N, s) share of the first parent, in [0, 1].
        partner: (N, s') int64 place of the key that is mixed with the query.
        beta: (N, s') share of the query, in [0, 1/2].
    """

    hardest: int
    first: Tensor
    second: Tensor
    alpha: Tensor
    partner: Tensor
    beta: Tensor

    def of(self, rows: slice) -> Draws:
        """The draws of these queries alone."""
        first = self.first[rows]
        second = self.second[rows]
        alpha = self.alpha[rows]
        return Draws(self.hardest, first, second, alpha, self.partner[rows], self.beta[rows])


def draw(
    query: Tensor,
    queue: Tensor,
    *,
    generator: torch.Generator,
    hardest: int = 1024,
    pairs: int = 1024,
    with_query: int = 128,
) -> Draws:
    """Fresh uniform draws for each query.

    Args:
        query: (N, D), for its number of rows, type and device.
        queue: (K, D), for its length.
        generator: source of the draws, on any device.
        hardest: number of hardest keys to draw from, at least 1; all keys of a shorter queue.
        pairs: s, mixtures of two keys for each query.
        with_query: s', mixtures of a key with the query; 0 for none.
    """
    device = generator.device
    hardest = min(hardest, len(queue))
    places = torch.randint(
        hardest, (len(query), 2 * pairs + with_query), generator=generator, device=device
    )
    shares = torch.rand(len(query), pairs + with_query, generator=generator, device=device).to(
        query
    )
    first, second, partner = torch.split(places.to(query.device), [pairs, pairs, with_query], dim=1)
    alpha, beta = torch.split(shares, [pairs, with_query], dim=1)
    return Draws(hardest, first, second, alpha, partner, 0.5 * beta)


@torch.no_grad()
@full_precision
def hardest_keys(query: Tensor, queue: Tensor, count: int) -> Tensor:
    """Places (N, count) int64 of the keys (K, D) with the largest dot products with each query (N,
    D), the largest first."""
    return (query @ queue.to(query.dtype).T).topk(count, dim=1).indices


@torch.no_grad()
@full_precision
def synthesise(query: Tensor, queue: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """The synthetic negatives of each query: unit constants h (N, s, D) and h' (N, s', D).

    Args:
        query: (N, D) unit rows.
        queue: (K, D) unit rows.
        draws: this step's choices.
    """
    queue = queue.to(query.dtype)
    nearest = hardest_keys(query, queue, draws.hardest)
    first, second, partner = (
        queue[nearest.gather(1, place)] for place in (draws.first, draws.second, draws.partner)
    )
    alpha, beta = (weight.to(query.dtype)[..., None] for weight in (draws.alpha, draws.beta))
    return unit(alpha * first + (1.0 - alpha) * second), unit(
        beta * query[:, None] + (1.0 - beta) * partner
    )


@full_precision
def mochi(
    query: Tensor,
    key: Tensor,
    queue: Tensor,
    draws: Draws,
    *,
    temperature: float = 0.2,
    reduction: str = "mean",
) -> Tensor:
    """Queue InfoNCE with the synthetic negatives added: cross-entropy of [q.k | q.Q | q.h | q.h'] /
    tau with its first entry.

    Args:
        query: (N, D) unit rows; gradient flows through it as the anchor only.
        key: (N, D) unit rows; no gradient reaches it.
        queue: (K, D) unit rows; no gradient reaches it.
        draws: this step's choices.
        temperature: tau, above 0.
        reduction: "mean", or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.hard_negatives import draw, mochi
        >>> query, queue = torch.eye(4)[:2], torch.eye(4)[2:]
        >>> generator = torch.Generator().manual_seed(0)
        >>> draws = draw(query, queue, generator=generator, pairs=2, with_query=0)
        >>> mochi(query, query, queue, draws) > 0
        tensor(True)
    """
    expect_rows(query=query, key=key)
    expect_temperature(temperature)
    expect_queue(queue, query.shape[1])
    scaled = query / temperature
    queue = queue.detach().to(query.dtype)
    own = (scaled * key.detach()).sum(dim=1)

    def against_synthetic(rows: slice) -> Tensor:
        synthetic = torch.cat(synthesise(query[rows], queue, draws.of(rows)), dim=1)
        return torch.logsumexp((synthetic @ scaled[rows, :, None]).squeeze(2), dim=1)

    each = len(queue) + query.shape[1] * (draws.alpha.shape[1] + draws.beta.shape[1])
    near = in_row_blocks(against_synthetic, query, columns=each)
    return reduce(-logsigmoid(own - torch.logaddexp(near, row_logsumexp(scaled, queue))), reduction)


@torch.no_grad()
@full_precision
def proxy_accuracy(query: Tensor, key: Tensor, queue: Tensor, draws: Draws | None = None) -> Tensor:
    """Share of queries that are nearer to their own key than to all negatives, synthetic ones
    included if there are draws.

    Args:
        query: (N, D) unit rows.
        key: (N, D) unit rows.
        queue: (K, D) unit rows.
        draws: this step's choices; None for MoCo's own proxy task.
    """
    hardest = (query @ queue.to(query.dtype).T).amax(dim=1)
    if draws is not None:
        synthetic = torch.cat(synthesise(query, queue, draws), dim=1)
        hardest = torch.maximum(hardest, (synthetic @ query[:, :, None]).squeeze(2).amax(dim=1))
    return ((query * key).sum(dim=1) > hardest).to(query.dtype).mean()
