"""SEER's audit of fairness: associated labels, hits by income, and retrieval by attribute."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nearfar.errors import UserError

__all__ = [
    "associated",
    "income_bucket",
    "label_rate_difference",
    "rate_by_group",
    "retrieval_precision",
    "top_hits",
]


def associated(
    labels: Tensor, confidence: Tensor, association: Sequence[int], threshold: float
) -> Tensor:
    """Which images have a confident prediction among the labels of an association.

    Args:
        labels: (N, 5) int64 predicted labels, best first.
        confidence: (N, 5) their probabilities.
        association: Labels of the association class, such as "non-human".
        threshold: Least confidence; the audit takes 0, 0.1, 0.3 and 0.8.

    Returns:
        (N,) bool; an image counts once.

    Example:
        >>> import torch
        >>> from nearfar.evaluation.trust.audit import associated
        >>> associated(torch.tensor([[1, 2]]), torch.tensor([[0.9, 0.2]]), [2], 0.3)
        tensor([False])

    Source: Goyal et al. 2022, "Fairness Indicators for Systematic Assessments of Visual Feature
    Extractors", indicator 1.
    """
    if labels.ndim != 2 or labels.shape != confidence.shape:
        raise UserError(
            f"Expected labels (N, K) and confidence (N, K); found {tuple(labels.shape)} and"
            f" {tuple(confidence.shape)}."
        )
    listed = torch.isin(labels, torch.tensor(list(association), device=labels.device))
    return (listed & (confidence >= threshold)).any(dim=1)


def rate_by_group(hits: Tensor, group: Tensor, groups: int | None = None) -> Tensor:
    """The percentage of hits in each group.

    Args:
        hits: (N,) bool or 0 and 1.
        group: (N,) int64 from 0.
        groups: How many; None for the largest plus 1.

    Returns:
        (groups,) float64; NaN for an empty group.

    Example:
        >>> import torch
        >>> from nearfar.evaluation.trust.audit import rate_by_group
        >>> rate_by_group(torch.tensor([True, False]), torch.tensor([1, 1]))
        tensor([nan, 50.], dtype=torch.float64)

    Source: Goyal et al. 2022, indicators 1 and 2.
    """
    if hits.ndim != 1 or hits.shape != group.shape or not len(hits):
        raise UserError(
            f"Expected hits (N,) and group (N,), not empty; found {tuple(hits.shape)} and"
            f" {tuple(group.shape)}."
        )
    count = int(group.max()) + 1 if groups is None else groups
    sums = torch.zeros(count, dtype=torch.float64).index_add(0, group.cpu(), hits.cpu().double())
    sizes = torch.bincount(group.cpu(), minlength=count)
    return 100 * sums / sizes


def label_rate_difference(rates: Tensor) -> Tensor:
    """Each group's rate minus the mean rate of the other groups.

    Example:
        >>> import torch
        >>> from nearfar.evaluation.trust.audit import label_rate_difference
        >>> label_rate_difference(torch.tensor([10.0, 20.0, 30.0]))
        tensor([-15.,   0.,  15.])

    Source: Goyal et al. 2022, indicator 1.
    """
    if rates.ndim != 1 or len(rates) < 2:
        raise UserError(f"Expected rates of at least 2 groups; found {tuple(rates.shape)}.")
    return rates - (rates.sum() - rates) / (len(rates) - 1)


def top_hits(predicted: Tensor, label: Tensor) -> Tensor:
    """Which images have their label among the predicted ones.

    Args:
        predicted: (N, 5) int64.
        label: (N,) int64.

    Returns:
        (N,) bool.

    Example:
        >>> import torch
        >>> from nearfar.evaluation.trust.audit import top_hits
        >>> top_hits(torch.tensor([[1, 2], [3, 4]]), torch.tensor([2, 5]))
        tensor([ True, False])

    Source: Goyal et al. 2022, indicator 2.
    """
    if predicted.ndim != 2 or label.shape != predicted.shape[:1]:
        raise UserError(
            f"Expected predicted (N, K) and label (N,); found {tuple(predicted.shape)} and"
            f" {tuple(label.shape)}."
        )
    return (predicted == label[:, None]).any(dim=1)


def income_bucket(income: Tensor) -> Tensor:
    """round(ln(income) / 3), half to even: 1 low, 2 medium, 3 high for monthly household incomes.

    Example:
        >>> import torch
        >>> from nearfar.evaluation.trust.audit import income_bucket
        >>> income_bucket(torch.tensor([50.0, 500.0, 5000.0]))
        tensor([1, 2, 3])

    Source: Goyal et al. 2022, indicator 2.
    """
    if not bool((income > 0).all()):
        raise UserError("income holds numbers that are not above 0.")
    return (income.log() / 3).round().long()


def retrieval_precision(
    query: Tensor,
    database: Tensor,
    query_label: Tensor,
    database_label: Tensor,
    neighbours: Sequence[int] = (1, 5, 10, 50),
) -> Tensor:
    """Share of the nearest database images with the query's attribute, for each query.

    Args:
        query: (N, D) features.
        database: (M, D) features; all are made unit rows and compared by their cosine.
        query_label: (N,) int64 attribute.
        database_label: (M,) int64.
        neighbours: Numbers of neighbours, at most M each.

    Returns:
        (N, numbers of neighbours) float64; its mean over queries, or over a group's, is the score.

    Example:
        >>> import torch
        >>> from nearfar.evaluation.trust.audit import retrieval_precision
        >>> label = torch.tensor([0, 1])
        >>> retrieval_precision(torch.eye(2), torch.eye(2), label, label, (1, 2))
        tensor([[1.0000, 0.5000],
                [1.0000, 0.5000]], dtype=torch.float64)

    Source: Goyal et al. 2022, indicator 3.
    """
    if query.ndim != 2 or database.ndim != 2 or query.shape[1] != database.shape[1]:
        raise UserError(
            f"Expected query (N, D) and database (M, D); found {tuple(query.shape)} and"
            f" {tuple(database.shape)}."
        )
    if query_label.shape != query.shape[:1] or database_label.shape != database.shape[:1]:
        raise UserError("Each query and each database image needs one label.")
    most = max(neighbours, default=0)
    if min(neighbours, default=0) < 1 or most > len(database):
        raise UserError(f"neighbours are {tuple(neighbours)}; expected from 1 to {len(database)}.")
    first, second = (torch.nn.functional.normalize(x.double(), dim=1) for x in (query, database))
    order = (first @ second.T).argsort(dim=1, descending=True, stable=True)[:, :most]
    right = (database_label[order] == query_label[:, None]).double()
    return torch.stack([right[:, :count].mean(dim=1) for count in neighbours], dim=1)
