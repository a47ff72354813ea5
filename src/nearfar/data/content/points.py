"""Point clouds: N objects of K points each, kept as (N, 3, K)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nearfar.data.content.bounds import check_steps
from nearfar.data.options import DataOptions
from nearfar.data.spec import Spec
from nearfar.data.tables.table import Loaded
from nearfar.errors import UserError


@dataclass(frozen=True)
class PointClouds:
    """Points in memory.

    Attributes:
        array: (N, K, 3) float: x, y and the height z.
        name: of the data, for errors.
    """

    array: NDArray[Any]
    name: str

    @property
    def modality(self) -> str:
        return "points"

    def load(self, rows: NDArray[np.int64], options: DataOptions, like: Spec | None) -> Loaded:
        if options.size is not None:
            check_steps(options.size, "The data option size is")
        chosen = self.array[rows].astype(np.float32)
        broken = np.flatnonzero(~np.isfinite(chosen).all(axis=(1, 2)))
        if len(broken):
            raise UserError(
                f"Row {rows[broken[0]]} of {self.name} has points at missing or infinite places; "
                f"leave them out, or repeat others of "
                "the sample instead."
            )
        count = like.shape[-1] if like is not None else options.size or chosen.shape[1]
        return Loaded(
            torch.from_numpy(as_many(chosen, count).transpose(0, 2, 1).copy()),
            np.ones(len(rows), dtype=bool),
        )


def as_many(points: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Evenly chosen points of each sample, or the first ones again where there are too few: (N, K,
    3) to (N, count, 3)."""
    there = points.shape[1]
    order = np.arange(count) * there // count if count < there else np.arange(count) % there
    return points[:, order]
