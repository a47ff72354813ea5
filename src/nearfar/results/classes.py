"""A probability of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from nearfar.results.result import Result


@dataclass(frozen=True)
class Classes(Result):
    """What a classifier says.

    Attributes:
        probabilities: (N, C), each row summing to 1.
        names: Of the C classes.
    """

    judged_as_features: ClassVar[bool] = True

    probabilities: Tensor
    names: tuple[str, ...]

    @property
    def label(self) -> Tensor:
        """(N,) int64, the likeliest class of each sample."""
        return self.probabilities.argmax(dim=1)

    def columns(self, ids: Sequence[str]) -> dict[str, list[Any]]:
        likely = self.probabilities.amax(dim=1).tolist()
        named = [self.names[number] for number in self.label.tolist()]
        return {
            "id": list(ids),
            "class": named,
            "probability": likely,
            "probabilities": self.probabilities.tolist(),
        }
