"""Scores of what could be the answer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nearfar.results.result import Result
from nearfar.rows import Parts, Picked

_SHOWN = 5


@dataclass(frozen=True)
class Ranking(Result):
    """How well each of G candidates answers each of N queries.

    Attributes:
        scores: (N, G), higher is better; -inf where a query has less than G candidates.
        candidates: (N, G) int64, what each candidate is called; None: by its place.
        names: What the numbers in ``candidates`` stand for; () for nothing but numbers.
    """

    scores: Tensor
    candidates: Tensor | None = None
    names: tuple[str, ...] = ()

    @classmethod
    def asked(cls, x: Any) -> Any:
        """Each sample with the targets of all of them as its gallery."""
        count = len(x)
        every = torch.arange(count, device=x.target.device)
        gallery = Picked(x.target, every.expand(count, -1), every)
        return Parts({**x, "target": gallery})

    def columns(self, ids: Sequence[str]) -> dict[str, list[Any]]:
        return self._ranked(ids, self.scores.shape[1])

    def shown(self, ids: Sequence[str]) -> dict[str, list[Any]]:
        return self._ranked(ids, _SHOWN)

    def named(self, names: Sequence[str]) -> Ranking:
        known = self.candidates is not None and int(self.candidates.max()) < len(names)
        return dataclasses.replace(self, names=tuple(names)) if known else self

    def _ranked(self, ids: Sequence[str], count: int) -> dict[str, list[Any]]:
        """The best candidates of each query, the best first."""
        best = self.scores.topk(min(count, self.scores.shape[1]), dim=1)
        called = best.indices
        if self.candidates is not None:
            called = self.candidates.to(called.device).gather(1, called)
        there = (best.values > -math.inf).sum(dim=1).tolist()
        found: list[list[Any]] = [
            row[:size] for row, size in zip(called.tolist(), there, strict=True)
        ]
        values = [row[:size] for row, size in zip(best.values.tolist(), there, strict=True)]
        if self.names:
            found = [[self.names[one] for one in row] for row in found]
        return {"id": list(ids), "best": found, "score": values}
