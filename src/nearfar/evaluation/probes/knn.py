"""Weighted k-nearest-neighbour classification, and the blockwise search under it.

Source: Wu et al. 2018, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination",
    section 3.4.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nearfar.errors import UserError
from nearfar.evaluation.features import Labelled, check_features, check_labels

# a block of similarities is 32 MiB in float32
QUERY_BLOCK = 1024
BANK_BLOCK = 8192


@torch.no_grad()
def nearest(
    bank: Tensor,
    queries: Tensor,
    *,
    k: int,
    query_block: int = QUERY_BLOCK,
    bank_block: int = BANK_BLOCK,
) -> tuple[Tensor, Tensor]:
    """The k rows of ``bank`` with the largest cosine to each query, exactly; no (Q, N) matrix is
    kept.

    Args:
        bank: (N, D).
        queries: (Q, D).
        k: at least 1; where it is larger than N, all N rows are neighbours.

    Returns:
        Cosines and int64 rows of the bank, both (Q, min(k, N)), most similar first.

    Raises:
        UserError: if k is below 1, the dimensions differ, or a feature is not finite.
    """
    check_features(bank, "bank")
    check_features(queries, "queries")
    if k < 1:
        raise UserError(f"k is {k}; expected at least 1 neighbour.")
    if bank.shape[1] != queries.shape[1]:
        raise UserError(
            f"Queries have {queries.shape[1]} dimensions, the bank {bank.shape[1]}; expected one "
            "encoder."
        )
    bank = F.normalize(bank, dim=1)
    queries = F.normalize(queries, dim=1)
    # One buffer for all blocks: allocating them anew costs as much as searching them.
    buffer = bank.new_empty(min(query_block, len(queries)) * min(bank_block, len(bank)))
    starts = range(0, len(queries), query_block)
    found = [_nearest_to(queries[i : i + query_block], bank, k, bank_block, buffer) for i in starts]
    return torch.cat([cosine for cosine, _ in found]), torch.cat([row for _, row in found])


def _nearest_to(
    queries: Tensor, bank: Tensor, k: int, bank_block: int, buffer: Tensor
) -> tuple[Tensor, Tensor]:
    cosine = queries.new_empty(len(queries), 0)
    row = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
    for start in range(0, len(bank), bank_block):
        block = bank[start : start + bank_block]
        shape = len(queries), len(block)
        similarity = torch.mm(queries, block.T, out=buffer[: shape[0] * shape[1]].view(shape))
        top, position = similarity.topk(min(k, len(block)), dim=1)
        cosine = torch.cat([cosine, top], dim=1)
        row = torch.cat([row, position + start], dim=1)
        cosine, kept = cosine.topk(min(k, cosine.shape[1]), dim=1)
        row = row.gather(1, kept)
    return cosine, row


def knn_scores(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    *,
    k: int = 20,
    temperature: float = 0.07,
    classes: int,
) -> Tensor:
    """Votes for each class: the sum of exp(cosine / temperature) over the k nearest neighbours of
    that class.

    Args:
        bank: (N, D); rows need not have unit length.
        bank_labels: (N,) int64 in [0, classes).
        queries: (Q, D).
        temperature: above 0. In float32 votes overflow below about 0.012; ``knn_predict`` does not.

    Returns:
        (Q, classes) in the features' dtype.

    Raises:
        UserError: for labels or features that do not fit.
    """
    cosine, label = _neighbours(bank, bank_labels, queries, k, temperature, classes)
    return _votes(cosine / temperature, label, classes)


def knn_predict(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    *,
    k: int = 20,
    temperature: float = 0.07,
    classes: int,
) -> Tensor:
    """The class with the most votes, (Q,) int64; arguments as for ``knn_scores``."""
    cosine, label = _neighbours(bank, bank_labels, queries, k, temperature, classes)
    return _votes((cosine - cosine[:, :1]) / temperature, label, classes).argmax(dim=1)


def knn_accuracy(
    train: Labelled, test: Labelled, *, k: int = 20, temperature: float = 0.07
) -> float:
    """Share of test samples, in [0, 1], that get their label from the k nearest training
    samples.
    """
    return float(knn_right(train, test, k=k, temperature=temperature).mean())


def knn_right(train: Labelled, test: Labelled, *, k: int = 20, temperature: float = 0.07) -> Tensor:
    """(N,) float64: 1 for each test sample that gets its label from the k nearest training samples,
    otherwise 0.
    """
    bank = train.features, train.labels
    predicted = knn_predict(
        *bank, test.features, k=k, temperature=temperature, classes=train.classes
    )
    return (predicted == test.labels).double()


def _neighbours(
    bank: Tensor, bank_labels: Tensor, queries: Tensor, k: int, temperature: float, classes: int
) -> tuple[Tensor, Tensor]:
    check_labels(bank_labels, len(bank), classes)
    if temperature <= 0:
        raise UserError(f"The kNN temperature is {temperature}; expected a number above 0.")
    cosine, row = nearest(bank, queries, k=k)
    return cosine, bank_labels[row]


def _votes(logits: Tensor, label: Tensor, classes: int) -> Tensor:
    return logits.new_zeros(len(logits), classes).scatter_add_(1, label, logits.exp())
