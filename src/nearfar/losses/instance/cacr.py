"""CACR: positives compete for attraction (the farther the heavier), negatives for repulsion (the
nearer the heavier).

With c(a, b) = |a - b|^2, weights w+ = softmax(t+ c) over an anchor's positives and w- = softmax(-t-
c) over its negatives take the place of InfoNCE's one softmax:

    loss = mean_i sum_p w+(p) c(i, p)  -  mean_i sum_n w-(n) c(i, n)

t+ and t- multiply distances, although the paper calls them temperatures. Where paper and code
differ: in the queue form every view has its own similarities with the queue (the released code
reuses the first view's by mistake); the Euclidean MoCo v3 form is a mean over the batch (the
released code sums).

Source: Zheng et al. 2023, "Contrastive Attraction and Contrastive Repulsion for Representation
Learning", section 3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nearfar.losses.instance.contrastive import info_nce
from nearfar.losses.kernels.blocks import in_row_blocks, squared_distances
from nearfar.losses.kernels.similarity import (
    expect_queue,
    expect_shapes,
    expect_temperature,
    full_precision,
    reduce,
    unit,
)

__all__ = [
    "attraction",
    "cacr",
    "moco_v3_cacr",
    "moco_v3_key",
    "queue_attraction",
    "queue_repulsion",
    "repulsion",
]


@full_precision
def cacr(
    views: Tensor, *, positive_temperature: float = 1.0, negative_temperature: float = 0.9
) -> Tensor:
    """``attraction`` plus ``repulsion`` of unit views (V, N, D), as in the paper's experiments on
    small images.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.cacr import cacr
        >>> cacr(torch.eye(3).repeat(2, 1, 1))
        tensor(-2.)
    """
    return attraction(views, temperature=positive_temperature) + repulsion(
        views, temperature=negative_temperature
    )


@full_precision
def attraction(
    views: Tensor, *, temperature: float = 1.0, weight: float = 1.0, uniform: bool = False
) -> Tensor:
    """Expected cost of pulling each view towards the others of its sample; the weights pass
    gradients too.

    Args:
        views: (V, N, D) unit rows, V at least 2.
        temperature: t+, at least 0.
        weight: alpha, of the whole term.
        uniform: weigh all positives alike (an ablation of the paper).

    Raises:
        ValueError: if there are fewer than two views.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.cacr import attraction
        >>> attraction(torch.stack([torch.eye(3), -torch.eye(3)]))
        tensor(4.)
    """
    _expect_views(views, views=2)
    expect_temperature(temperature, zero=True)
    return weight * _attracted(views, views, 0.0 if uniform else temperature).mean()


@full_precision
def repulsion(
    views: Tensor,
    *,
    temperature: float = 0.9,
    weight: float = 1.0,
    uniform: bool = False,
    debias: float = 0.0,
    kernel_width: float | None = None,
) -> Tensor:
    """Minus the expected cost between each view and the other samples under each later view; the
    weights pass gradients too.

    Args:
        views: (V, N, D) unit rows, V and N at least 2.
        temperature: t-, at least 0; the paper has 0.9 for CIFAR-10 and 2 for its other sets.
        weight: beta, of the negatives' cost.
        uniform: weigh all negatives alike (an ablation of the paper).
        debias: tau+ in [0, 1), the prior probability that a negative is of the anchor's class (the
            paper has 0.1); it corrects the weighted Euclidean cost only, as in the authors' code.
        kernel_width: t above 0 (the paper has 2) takes log of the mean kernel exp(-t c) for the
            cost; None: Euclidean.

    Raises:
        ValueError: if there are fewer than two views or samples.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.cacr import repulsion
        >>> repulsion(torch.eye(3).repeat(2, 1, 1))
        tensor(-2.)
    """
    _expect_views(views, views=2, samples=2)
    expect_temperature(temperature, zero=True)
    temperature = 0.0 if uniform else temperature
    first, second = torch.triu_indices(len(views), len(views), offset=1, device=views.device)

    query = views[first]
    other = views[second]

    def rows(block: slice) -> Tensor:
        cost, logits = _competing(query[:, block], other, block.start, temperature)
        if kernel_width is not None:
            return torch.logsumexp(
                torch.log_softmax(logits, dim=-1) - kernel_width * cost, dim=-1
            ).T
        repelled = -weight * (torch.softmax(logits, dim=-1) * cost).sum(dim=-1)
        if debias and not uniform:
            repelled = (repelled - debias * cost.diagonal(block.start, dim1=-2, dim2=-1)) / (
                1.0 - debias
            )
        return repelled.T

    values = in_row_blocks(rows, query[0]).T
    if kernel_width is None:
        return values.mean()
    return weight * (torch.logsumexp(values, dim=-1) - math.log(views.shape[1])).mean()


@full_precision
def queue_attraction(query: Tensor, key: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Expected cost of pulling each query towards the momentum keys of its sample's other views;
    the weights are constants.

    Args:
        query: (V, N, D), V at least 2, normalised here.
        key: (V, N, D), normalised here; no gradient reaches it.
        temperature: t+, at least 0.

    Raises:
        ValueError: if there are fewer than two views.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.cacr import queue_attraction
        >>> query = torch.stack([torch.eye(3), -torch.eye(3)])
        >>> queue_attraction(query, query)
        tensor(4.)
    """
    _expect_views(query, views=2)
    expect_shapes(query=(query, "V N D"), key=(key, "V N D"))
    expect_temperature(temperature, zero=True)
    return _attracted(unit(query), unit(key.detach()), temperature, constant=True).mean()


@full_precision
def queue_repulsion(
    query: Tensor,
    queue: Tensor,
    *,
    temperature: float = 2.0,
    within_batch: bool = True,
    as_coded: bool = False,
) -> Tensor:
    """Minus the expected cost between each query and the queue's keys, and the other queries of its
    view.

    Only the queue's share against the batch passes a gradient, not the weights within the queue:
    its keys act together as one point, their weighted mean, and no N x K matrix is kept.

    Args:
        query: (V, N, D), normalised here.
        queue: (K, D) unit keys; no gradient reaches them.
        temperature: t-, at least 0.
        within_batch: whether the N - 1 other queries are negatives too.
        as_coded: meet the queue with the first view's queries in every view's term, as the released
            code does by mistake.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.cacr import queue_repulsion
        >>> queue_repulsion(torch.eye(4)[None, :2], torch.eye(4)[2:])
        tensor(-2.)
    """
    _expect_views(query, views=1)
    expect_queue(queue, query.shape[2])
    expect_temperature(temperature, zero=True)
    query, queue = unit(query), queue.detach().to(query.dtype)
    anchor = query[:1].expand_as(query) if as_coded else query
    points = [_point(view, queue, temperature) for view in anchor]
    share, mean = (torch.stack(parts) for parts in zip(*points, strict=True))
    far = 2.0 - 2.0 * (anchor * mean).sum(dim=-1)
    if not within_batch:
        return -far.mean()

    def rows(block: slice) -> Tensor:
        cost, logits = _competing(query[:, block], query, block.start, temperature)
        logits = torch.cat([share[:, block, None], logits], dim=-1)
        return (
            -(torch.softmax(logits, dim=-1) * torch.cat([far[:, block, None], cost], dim=-1))
            .sum(dim=-1)
            .T
        )

    return in_row_blocks(rows, query[0]).mean()


@full_precision
def moco_v3_cacr(
    prediction: Tensor,
    key: Tensor,
    *,
    temperature: float = 1.0,
    euclidean: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """CACR on MoCo v3: the mean over keys of ``moco_v3_key`` with the predictions of all other
    views.

    Args:
        prediction: (V, N, D) of all views, V at least 2.
        key: (K, N, D) of the first K views: of the two whole ones, or of all ("full mode").
        temperature: T, above 0.
        euclidean: see ``moco_v3_key``.
        reduction: "mean", or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.cacr import moco_v3_cacr
        >>> prediction = torch.eye(3).repeat(2, 1, 1)
        >>> moco_v3_cacr(prediction, prediction)
        tensor(1.1029)
    """
    _expect_views(prediction, views=2, samples=2)
    expect_shapes(prediction=(prediction, "V N D"), key=(key, "K N D"))
    losses = [
        moco_v3_key(
            torch.cat([prediction[:i], prediction[i + 1 :]]),
            k,
            temperature=temperature,
            euclidean=euclidean,
            reduction=reduction,
        )
        for i, k in enumerate(key)
    ]
    return torch.stack(losses).mean(dim=0)


@full_precision
def moco_v3_key(
    query: Tensor,
    key: Tensor,
    *,
    temperature: float = 1.0,
    euclidean: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Predictions from several views against one view's momentum key, the farther the heavier; all
    weights are constants.

        sum_q mean_n p_qn 2 T InfoNCE_n(q, k),  or Euclidean:
          sum_q mean_n p_qn ( c(q_n, k_n) - sum_{m != n} w-(m) c(q_n, k_m) )

    with p = softmax over the predictions of |q - k|^2 / T, and in the Euclidean form c = 1 -
    cosine, w- = softmax(-c / T).

    Args:
        query: (Q, N, D) predictions, normalised here; N at least 2 in the Euclidean form.
        key: (N, D), normalised here; no gradient reaches it.
        temperature: T, above 0.
        euclidean: take the Euclidean form; the released code then sums over the batch, N times this
            mean.
        reduction: "mean", or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.cacr import moco_v3_key
        >>> moco_v3_key(torch.eye(3)[None], torch.eye(3))
        tensor(1.1029)
    """
    _expect_views(query, views=1, samples=2 if euclidean else 1)
    expect_shapes(query=(query, "Q N D"), key=(key, "N D"))
    expect_temperature(temperature)
    query = unit(query)
    key = unit(key.detach())
    with torch.no_grad():
        share = torch.softmax((query - key).square().sum(dim=-1) / temperature, dim=0)
    if not euclidean:
        losses = torch.stack(
            [info_nce(q, key, temperature=temperature, reduction="none") for q in query]
        )
        return reduce((share * 2.0 * temperature * losses).sum(dim=0), reduction)

    def mean_of_others(block: slice) -> Tensor:
        logits = query[:, block] @ key.T / temperature
        logits.diagonal(block.start, dim1=-2, dim2=-1).fill_(-math.inf)
        return (torch.softmax(logits, dim=-1) @ key).transpose(0, 1)

    with torch.no_grad():
        repelling = in_row_blocks(mean_of_others, key).transpose(0, 1)
    return reduce((share * (query * (repelling - key)).sum(dim=-1)).sum(dim=0), reduction)


def _expect_views(tensor: Tensor, *, views: int, samples: int = 1) -> None:
    if (
        tensor.ndim != 3
        or tensor.shape[0] < views
        or tensor.shape[1] < samples
        or tensor.shape[2] < 1
    ):
        raise ValueError(
            f"CACR needs a tensor (V, N, D) with V at least {views} and N at least {samples}; "
            f"found {tuple(tensor.shape)}."
        )


def _attracted(query: Tensor, key: Tensor, temperature: float, *, constant: bool = False) -> Tensor:
    """The weighted cost (N, V) of reaching, from each view's query, the keys of the sample's other
    views."""
    cost = squared_distances(query.transpose(0, 1), key.transpose(0, 1))
    logits = temperature * (cost.detach() if constant else cost)
    logits.diagonal(dim1=-2, dim2=-1).fill_(-math.inf)
    return (torch.softmax(logits, dim=-1) * cost).sum(dim=-1)


def _competing(
    query: Tensor, other: Tensor, start: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """Costs (..., h, M) of query rows from number ``start`` on, and the logits of their weights:
    -inf for a row itself."""
    cost = squared_distances(query, other)
    logits = -temperature * cost
    logits.diagonal(start, dim1=-2, dim2=-1).fill_(-math.inf)
    return cost, logits


@torch.no_grad()
def _point(query: Tensor, queue: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The queue as one point for each unit query (N, D): its joint logit (N,) and its weighted mean
    key (N, D)."""

    def rows(block: slice) -> Tensor:
        logits = temperature * (2.0 * query[block] @ queue.T - 2.0)
        return torch.cat(
            [torch.logsumexp(logits, dim=1, keepdim=True), torch.softmax(logits, dim=1) @ queue],
            dim=1,
        )

    found = in_row_blocks(rows, query, columns=len(queue))
    return found[:, 0], found[:, 1:]
