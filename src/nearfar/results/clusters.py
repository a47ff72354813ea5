"""A cluster of each sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from nearfar.results.result import Result


@dataclass(frozen=True)
class Clusters(Result):
    """Which cluster each sample is in.

    Attributes:
        cluster: (N,) int64 in [0, count).
        count: Number of clusters.
    """

    cluster: Tensor
    count: int

    def columns(self, ids: Sequence[str]) -> dict[str, list[Any]]:
        return {"id": list(ids), "cluster": self.cluster.tolist()}
