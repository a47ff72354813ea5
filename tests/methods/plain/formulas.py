"""What several plain forms say: unit rows, one pass or several, the softmax over similarities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])


def plain_form(function: F) -> F:
    """Mark a function as the plain form of the method that has its name."""
    function.is_plain_form = True  # type: ignore[attr-defined]
    return function


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (unit(a) * unit(b)).sum(-1)


def in_one_pass(network: Callable[[Tensor], Tensor], views: Sequence[Tensor]) -> list[Tensor]:
    """Views of one size side by side through the network: its batch norms see all of them at
    once.
    """
    found: dict[int, Tensor] = {}
    for shape in dict.fromkeys(view.shape for view in views):
        places = [place for place, view in enumerate(views) if view.shape == shape]
        outputs = network(torch.cat([views[place] for place in places])).chunk(len(places))
        found |= dict(zip(places, outputs, strict=True))
    return [found[place] for place in range(len(views))]


def one_by_one(network: Callable[[Any], Tensor], views: Sequence[Any]) -> list[Tensor]:
    """Each view by itself through the network: its batch norms see each alone."""
    return [network(view) for view in views]


def cross_entropy(logits: Tensor, answer: Tensor) -> Tensor:
    """- log softmax at the answer, mean over rows."""
    return (logits.logsumexp(1) - logits[torch.arange(len(logits)), answer]).mean()


def nt_xent(z1: Tensor, z2: Tensor, tau: float, allowed: Tensor | None = None) -> Tensor:
    """SimCLR, equation 1; ``allowed`` (N, N) says which samples may be compared."""
    n = len(z1)
    z = unit(torch.cat([z1, z2]))
    partner = (torch.arange(2 * n) + n) % (2 * n)
    left_out = torch.eye(2 * n, dtype=torch.bool)
    if allowed is not None:
        left_out = left_out | ~allowed.repeat(2, 2)
    return cross_entropy((z @ z.T / tau).masked_fill(left_out, -torch.inf), partner)


def queue_contrast(query: Tensor, key: Tensor, queue: Tensor, tau: float) -> Tensor:
    """The query finds its key among the queue's: cross-entropy at the first of 1 + K logits. All
    rows are of unit length.
    """
    logits = torch.cat([(query * key).sum(1, keepdim=True), query @ queue.T], dim=1) / tau
    return cross_entropy(logits, torch.zeros(len(query), dtype=torch.int64))


def supervised_contrast(z: Tensor, label: Tensor, tau: float) -> Tensor:
    """SupCon, equation 2, of rows z (M, D) of unit length: the log-softmax is averaged over the
    positives of each anchor.
    """
    total = z.new_zeros(())
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        log_denominator = (z[others] @ z[i] / tau).logsumexp(0)
        positives = [p for p in others if label[p] == label[i]]
        total = total - torch.stack([z[p] @ z[i] / tau - log_denominator for p in positives]).mean()
    return total / len(z)


def supervised_terms(z: Tensor, shared: Tensor, tau: float) -> Tensor:
    """The same where a pair has a weight: the mean over rows that share something with another."""
    z = unit(z)
    losses = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        weight = shared[i, others]
        if weight.sum() > 0:
            logits = (z[others] @ z[i] / tau).log_softmax(0)
            losses.append(-(weight * logits).sum() / weight.sum())
    return torch.stack(losses).mean()


def off_diagonal(matrix: Tensor) -> Tensor:
    return matrix[~torch.eye(len(matrix), dtype=torch.bool)]


def sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """SwAV's balanced codes: columns to N / K, then rows to 1, over and over."""
    codes = (scores.detach() / epsilon).exp()
    for _ in range(iterations):
        codes = codes / codes.sum(0) * len(codes) / codes.shape[1]
        codes = codes / codes.sum(1, keepdim=True)
    return codes
