"""Retrieval within one modality: does a sample find the others of its class?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from nearfar.evaluation.features import Labelled, check_features

_BLOCK = 2**23  # similarities held at once


@dataclass(frozen=True)
class Retrieved:
    """How each query fared.

    Attributes:
        first: (Q,) int64, place of the nearest sample of its class, from 1.
        precision: (Q,) float64, average precision over the whole ranking, in (0, 1].
    """

    first: Tensor
    precision: Tensor

    def recall_at(self, k: int) -> float:
        """Share of queries, in [0, 1], with a sample of their class among the k nearest."""
        return float((self.first <= k).double().mean())


@torch.no_grad()
def retrieve(data: Labelled) -> Retrieved:
    """Rank the other samples for each sample by cosine; what has its class is relevant.

    Samples that are alone in their class are no queries. Ties are ranked by place, so samples must
    not be in the order of the classes.

    Args:
        data: N samples.
    """
    u = F.normalize(check_features(data.features, "retrieval"), dim=1)
    label = data.labels
    count = label.bincount(minlength=data.classes)
    queries = (count[label] > 1).nonzero()[:, 0]
    rank = torch.arange(1, len(u), device=u.device)
    first = []
    precision = []
    for rows in torch.split(queries, max(1, _BLOCK // len(u))):
        similarity = u[rows] @ u.T
        similarity[
            torch.arange(len(rows), device=u.device), rows
        ] = -torch.inf  # itself, sorted last and cut off
        order = similarity.sort(dim=1, descending=True, stable=True).indices[:, :-1]
        relevant = label[order] == label[rows, None]
        found = relevant.cumsum(dim=1)
        first.append(relevant.int().argmax(dim=1) + 1)
        precision.append(((found.double() / rank) * relevant).sum(dim=1) / found[:, -1])
    if not first:
        return Retrieved(queries, queries.double())
    return Retrieved(torch.cat(first), torch.cat(precision))
