"""Results of samples of several sizes, which no one tensor holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Self

from nearfar.results.result import Result

__all__ = ["Several"]


@dataclass(frozen=True)
class Several(Result):
    """Results one after another, each of samples of one size.

    Attributes:
        parts: One or more, of one type.

    Example:
        >>> import torch
        >>> from nearfar.results.restored import Restored
        >>> small, large = (Restored(torch.zeros(2, 1, side, side)) for side in (4, 8))
        >>> both = Several((small, large))
        >>> len(both), both.columns(["a", "b", "c", "d"])["image"]
        (4, ['1 x 4 x 4', '1 x 4 x 4', '1 x 8 x 8', '1 x 8 x 8'])
    """

    parts: tuple[Result, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def to(self, device: Any) -> Self:
        return type(self)(tuple(part.to(device) for part in self.parts))

    def columns(self, ids: Sequence[str]) -> dict[str, list[Any]]:
        each = [part.columns(own) for part, own in self._with_ids(ids)]
        return {name: [value for one in each for value in one[name]] for name in each[0]}

    def write(self, folder: Path, ids: Sequence[str]) -> list[Path]:
        """The files of all parts, none of which has another's name."""
        from nearfar.results.writing import file_names

        named = file_names(ids, ".file")
        return [path for part, own in self._with_ids(named) for path in part.write(folder, own)]

    def pictures(self, samples: Any = None) -> list[str]:
        return [picture for part in self.parts for picture in part.pictures()]

    def _with_ids(self, ids: Sequence[str]) -> list[tuple[Result, Sequence[str]]]:
        ends = list(accumulate(len(part) for part in self.parts))
        starts = [0, *ends[:-1]]
        return [
            (part, ids[start:end])
            for part, start, end in zip(self.parts, starts, ends, strict=True)
        ]
