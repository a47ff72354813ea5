"""Real numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from nearfar.results.result import Result


@dataclass(frozen=True)
class Values(Result):
    """What a regressor says.

    Attributes:
        values: (N,) or (N, K).
    """

    judged_as_features: ClassVar[bool] = True

    values: Tensor

    def columns(self, ids: Sequence[str]) -> dict[str, list[Any]]:
        return {"id": list(ids), "value": self.values.tolist()}
