"""A memory in balanced clusters that gives each row neighbours of its own kind."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from nearfar.errors import UserError
from nearfar.targets.kmeans import kmeans
from nearfar.targets.sinkhorn import sinkhorn

__all__ = ["DynamicClusters", "cluster_scores", "enhanced"]

Score = Literal["near", "far", "cosine"]


def cluster_scores(z: Tensor, prototypes: Tensor, score: Score = "near") -> Tensor:
    """How well each row fits each prototype, (N, K), of unit rows and unit prototypes.

    Args:
        z: (N, D).
        prototypes: (K, D).
        score: "near" is minus the distance; "cosine"; "far" is plus the distance, as the released
            code has it, which assigns rows to prototypes far away.
    """
    if score not in ("near", "far", "cosine"):
        raise UserError(f"The score is {score!r}; expected 'near', 'far' or 'cosine'.")
    rows, centres = normalize(z, dim=1), normalize(prototypes, dim=1)
    if score == "cosine":
        return rows @ centres.T
    distance = torch.cdist(rows, centres, compute_mode="donot_use_mm_for_euclid_dist")
    return distance if score == "far" else -distance


class DynamicClusters(nn.Module):
    """The memory DyCE: raw rows, their clusters, and a prototype for each cluster.

    Attributes:
        rows: (size, D), written first in, first out.
        label: (size,) int64 cluster of each row.
        prototypes: (K, D) means of raw rows.
        place: Where the next row is written.
        written: How many rows were ever written, at most ``size``.

    Args:
        size: Rows that are kept.
        dimension: D.
        clusters: K.
        momentum: Share of an old prototype that stays, from 0 to 1.

    Source: Poulakakis-Daktylidis and Jamali-Rad 2024, "BECLR", algorithm 2.
    """

    rows: Tensor
    label: Tensor
    prototypes: Tensor
    place: Tensor
    written: Tensor

    def __init__(self, size: int, dimension: int, clusters: int, *, momentum: float = 0.0) -> None:
        super().__init__()
        if not 1 <= clusters <= size or not 0 <= momentum <= 1:
            raise UserError(
                f"A memory of {size} rows in {clusters} clusters with momentum {momentum};"
                " expected at least a row for each cluster, and a momentum from 0 to 1."
            )
        self.momentum = momentum
        self.register_buffer("rows", torch.zeros(size, dimension))
        self.register_buffer("label", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("prototypes", torch.zeros(clusters, dimension))
        self.register_buffer("place", torch.tensor(0))
        self.register_buffer("written", torch.tensor(0))

    @property
    def full(self) -> bool:
        """Whether every row has been written."""
        return int(self.written) >= len(self.rows)

    @torch.no_grad()
    def write(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Write rows (N, D); those that do not fit before the end are dropped, and the place is 0.

        Args:
            z: Raw rows.
            label: (N,) clusters; None while there are none.

        Returns:
            Numbers of the rows written.
        """
        start = int(self.place)
        count = min(len(z), len(self.rows) - start)
        there = torch.arange(start, start + count, device=self.rows.device)
        self.rows[there] = z[:count].to(self.rows)
        if label is not None:
            self.label[there] = label[:count]
        self.place.fill_(0 if count < len(z) else (start + count) % len(self.rows))
        self.written.fill_(min(int(self.written) + count, len(self.rows)))
        return there

    @torch.no_grad()
    def cluster(self, *, seed: int) -> None:
        """Cluster all rows anew by k-means on unit rows."""
        self.label.copy_(kmeans(normalize(self.rows, dim=1), len(self.prototypes), seed=seed))
        self._recentre(0.0)

    @torch.no_grad()
    def step(
        self,
        z: Tensor,
        *,
        epsilon: float = 0.05,
        iterations: int = 10,
        score: Score = "near",
    ) -> Tensor:
        """Assign rows evenly to prototypes, write them and move the prototypes.

        Args:
            z: (N, D) rows of a batch.
            epsilon: Softness of the assignment, above 0.
            iterations: Of Sinkhorn's.
            score: As in ``cluster_scores``.

        Returns:
            Numbers of the rows written.
        """
        scores = cluster_scores(z.to(self.rows), self.prototypes, score)
        label = sinkhorn(scores, epsilon=epsilon, iterations=iterations).argmax(dim=1)
        there = self.write(z, label)
        self._recentre(self.momentum)
        return there

    @torch.no_grad()
    def neighbours(self, z: Tensor, count: int, *, exclude: Tensor | None = None) -> Tensor:
        """The most similar rows of each row's cluster, (N, count, D), raw.

        A row's cluster is that of the nearest prototype. Where it has ``count`` rows or fewer, the
        most similar rows of the whole memory are taken.

        Args:
            z: (N, D).
            count: Neighbours of each row, at most the memory's size.
            exclude: Numbers of rows that are no neighbours, such as those just written.
        """
        rows = normalize(z.to(self.rows), dim=1)
        nearest = (rows @ normalize(self.prototypes, dim=1).T).argmax(dim=1)
        similarity = rows @ normalize(self.rows, dim=1).T
        member = self.label == nearest[:, None]
        if exclude is not None:
            similarity[:, exclude] = -torch.inf
            member[:, exclude] = False
        enough = member.sum(dim=1, keepdim=True) > count
        best = similarity.masked_fill(~member & enough, -torch.inf).topk(count, dim=1).indices
        return self.rows[best]

    @torch.no_grad()
    def _recentre(self, momentum: float) -> None:
        count = torch.bincount(self.label, minlength=len(self.prototypes)).to(self.rows)
        total = torch.zeros_like(self.prototypes).index_add_(0, self.label, self.rows)
        mean = total / count.clamp(min=1)[:, None]
        moved = momentum * self.prototypes + (1 - momentum) * mean
        self.prototypes.copy_(torch.where(count[:, None] > 0, moved, self.prototypes))


def enhanced(z: Tensor, neighbours: Tensor) -> Tensor:
    """An enlarged view: unit rows, then for each row its raw neighbours.

    Args:
        z: (N, D) with gradient.
        neighbours: (N, k, D); constants.

    Returns:
        (N (1 + k), D).
    """
    return torch.cat([normalize(z, dim=1), neighbours.detach().to(z).flatten(0, 1)])
