"""What the temperature does: contrastive losses with more and less attention to hard negatives, and
how to measure it.

All functions take a matrix of similarities, one row an anchor, so that a batch and a memory bank
are treated alike, and so that gradients with respect to similarities, the paper's subject, can be
had. Memory is that of the caller's matrix: to train on large batches take the losses of
``contrastive``. The softmax loss weighs negative j of anchor i by exp(s_ij / tau); the simple loss
weighs all alike; the hard losses keep the nearest negatives only.

Source: Wang and Liu 2021, "Understanding the Behaviour of Contrastive Loss".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nearfar.losses.kernels.similarity import (
    expect_shapes,
    expect_temperature,
    full_precision,
    reduce,
)

__all__ = [
    "contrastive",
    "hard_contrastive",
    "hard_simple",
    "hard_threshold",
    "penalty_entropy",
    "relative_penalty",
    "simple",
]


@full_precision
def contrastive(
    similarity: Tensor,
    *,
    positive: Tensor | None = None,
    temperature: float = 0.3,
    reduction: str = "mean",
) -> Tensor:
    """The softmax contrastive loss of a similarity matrix.

        mean_i  - s_ii / tau + log sum_k exp(s_ik / tau)

    As tau -> 0, tau times a row's loss becomes max(0, hardest negative - positive). As tau grows,
    tau times its gradient becomes (K - 1) / K times that of ``simple``.

    Args:
        similarity: (N, K), each anchor with K candidates; no more is normalised here.
        positive: (N,) int64, each anchor's positive column; None for the diagonal.
        temperature: tau, above 0.
        reduction: "mean", or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.behaviour import contrastive
        >>> contrastive(torch.eye(3))
        tensor(0.0689)
    """
    expect_temperature(temperature)
    attraction = similarity.gather(1, _column(similarity, positive)).squeeze(1)
    return reduce(
        torch.logsumexp(similarity / temperature, dim=1) - attraction / temperature, reduction
    )


@full_precision
def hard_contrastive(
    similarity: Tensor,
    *,
    alpha: float = 0.0819,
    positive: Tensor | None = None,
    temperature: float = 0.3,
    reduction: str = "mean",
) -> Tensor:
    """The contrastive loss against each row's hardest negatives alone.

    Args:
        similarity: (N, K).
        alpha: share of the negatives to keep, in (0, 1]: the ceil(alpha (K - 1)) largest of each
            row, and ties with the last.
        positive: (N,) int64 columns; None for the diagonal.
        temperature: tau, above 0.
        reduction: "mean", or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.behaviour import hard_contrastive
        >>> hard_contrastive(torch.eye(3), alpha=0.5)
        tensor(0.0689)
    """
    expect_temperature(temperature)
    attraction, negatives = _split(similarity, positive)
    softer = negatives.detach() < _threshold(negatives, alpha)[:, None]
    logits = (
        torch.cat([attraction[:, None], negatives.masked_fill(softer, -math.inf)], dim=1)
        / temperature
    )
    return reduce(torch.logsumexp(logits, dim=1) - attraction / temperature, reduction)


@full_precision
def simple(
    similarity: Tensor,
    *,
    positive: Tensor | None = None,
    weight: float | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The contrastive loss without softmax: all negatives count alike.

        mean_i  - s_ii + lambda sum_{j != i} s_ij

    Args:
        similarity: (N, K).
        positive: (N,) int64 columns; None for the diagonal.
        weight: lambda; None for one over the number of negatives (the paper does not state its
            value).
        reduction: "mean", or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.behaviour import simple
        >>> simple(torch.eye(3))
        tensor(-1.)
    """
    attraction = similarity.gather(1, _column(similarity, positive)).squeeze(1)
    weight = 1.0 / max(1, similarity.shape[1] - 1) if weight is None else weight
    return reduce(weight * (similarity.sum(dim=1) - attraction) - attraction, reduction)


@full_precision
def hard_simple(
    similarity: Tensor,
    *,
    alpha: float = 0.0819,
    positive: Tensor | None = None,
    weight: float | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The loss without softmax against each row's hardest negatives alone.

    Args:
        similarity: (N, K).
        alpha: share of the negatives to keep, as in ``hard_contrastive``.
        positive: (N,) int64 columns; None for the diagonal.
        weight: lambda; None for one over the number of negatives that are to be kept.
        reduction: "mean", or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.behaviour import hard_simple
        >>> hard_simple(torch.eye(3), alpha=0.5)
        tensor(-1.)
    """
    attraction, negatives = _split(similarity, positive)
    hard = (negatives.detach() >= _threshold(negatives, alpha)[:, None]) & negatives.isfinite()
    weight = 1.0 / _kept(negatives, alpha) if weight is None else weight
    return reduce(weight * negatives.masked_fill(~hard, 0.0).sum(dim=1) - attraction, reduction)


@full_precision
def hard_threshold(
    similarity: Tensor, *, alpha: float = 0.0819, positive: Tensor | None = None
) -> Tensor:
    """The least similarity (N,) that counts as a hard negative of each row; arguments as in
    ``hard_contrastive``."""
    return _threshold(_split(similarity, positive)[1], alpha)


@full_precision
def relative_penalty(
    similarity: Tensor, *, positive: Tensor | None = None, temperature: float = 0.3
) -> Tensor:
    """The share of each negative in what drives an anchor away: |dL / ds_ij| / |dL / ds_ii| of
    ``contrastive``.

    Args:
        similarity: (N, K), K at least 2.
        positive: (N,) int64 columns; None for the diagonal.
        temperature: tau, above 0.

    Returns:
        (N, K); 0 at the positive, each row sums to 1.

    Raises:
        ValueError: if there are no negatives.
    """
    expect_temperature(temperature)
    _expect_negatives(similarity)
    return torch.softmax(_split(similarity, positive)[1] / temperature, dim=1)


@full_precision
def penalty_entropy(
    similarity: Tensor, *, positive: Tensor | None = None, temperature: float = 0.3
) -> Tensor:
    """Entropy (N,) of ``relative_penalty`` in nats: 0 where one negative takes all, log(K - 1)
    where all are alike.

    It rises strictly with the temperature unless all negatives of the row are equally near.
    Arguments as above.
    """
    expect_temperature(temperature)
    _expect_negatives(similarity)
    logits = _split(similarity, positive)[1] / temperature
    mean = (torch.softmax(logits, dim=1) * logits.masked_fill(logits.isneginf(), 0.0)).sum(dim=1)
    return torch.logsumexp(logits, dim=1) - mean


def _expect_negatives(similarity: Tensor) -> None:
    if similarity.shape[1] < 2:
        raise ValueError(
            f"An anchor needs a positive and a negative; found {tuple(similarity.shape)}: take a "
            "larger batch."
        )


def _column(similarity: Tensor, positive: Tensor | None) -> Tensor:
    """Places (N, 1) of the positives."""
    expect_shapes(similarity=(similarity, "N K"))
    if positive is not None:
        expect_shapes(similarity=(similarity, "N K"), positive=(positive, "N"))
    elif len(similarity) > similarity.shape[1]:
        raise ValueError(
            "Without places of the positives, each of N rows needs its own column; found "
            f"{tuple(similarity.shape)}."
        )
    column = (
        torch.arange(len(similarity), device=similarity.device) if positive is None else positive
    )
    return column[:, None]


def _split(similarity: Tensor, positive: Tensor | None) -> tuple[Tensor, Tensor]:
    """The positives' similarities (N,), and the matrix with -inf in their places."""
    column = _column(similarity, positive)
    return similarity.gather(1, column).squeeze(1), similarity.scatter(1, column, -math.inf)


def _kept(negatives: Tensor, alpha: float) -> int:
    return max(1, math.ceil(alpha * (negatives.shape[1] - 1)))


def _threshold(negatives: Tensor, alpha: float) -> Tensor:
    return negatives.detach().topk(_kept(negatives, alpha), dim=1).values[:, -1]
