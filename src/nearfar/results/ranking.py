"""Scores of what could be the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from nearfar.results.result import Result

_SHOWN = 5


@dataclass(frozen=True)
class Ranking(Result):
    """How well each of G candidates answers each of N queries.

    Attributes:
        scores: (N, G), higher is better.
    """

    scores: Tensor

    def columns(self, ids: Sequence[str]) -> dict[str, list[Any]]:
        best = self.scores.topk(min(_SHOWN, self.scores.shape[1]), dim=1)
        return {
            "id": list(ids),
            "best": best.indices.tolist(),
            "score": best.values.tolist(),
        }
