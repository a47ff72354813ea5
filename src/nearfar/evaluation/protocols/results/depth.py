"""Depth beside the truth, and beside what is known without looking."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from nearfar.evaluation.measures.depth import DEPTH_MEASURES, depth_errors
from nearfar.evaluation.protocol import Predict, Protocol, Row, Task
from nearfar.evaluation.result import Score
from nearfar.results.depth import Depth
from nearfar.rows import tensors_of

_TRUTH = "depth"
_SHARES = ("a1", "a2", "a3")


def _depth(row: Row) -> Iterator[Score]:
    each = _errors(row)
    row.keep("abs_rel", each["abs_rel"])
    for name, values in each.items():
        mean = float(values.mean())
        half = 1.96 * float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        share = name in _SHARES
        yield Score(
            row.name,
            DEPTH.version,
            name,
            mean,
            mean - half,
            mean + half,
            "test samples",
            len(values),
            unit="%" if share else "",
            better="higher" if share else "lower",
        )


def _online(row: Row) -> dict[str, float]:
    return {"abs_rel": float(_errors(row)["abs_rel"].mean())}


def _errors(row: Row) -> dict[str, Tensor]:
    """Each measure of each test sample whose depth is known anywhere, (M,) float64."""
    found: Depth = row.predictions
    truth = row.task.test.annotations[_TRUTH]
    made = _resized(found.depth.cpu(), truth.shape[1:])
    each = []
    for one, known in zip(made, truth, strict=True):
        there = (known > 0) & known.isfinite()
        if bool(there.any()):
            each.append(depth_errors(one[there], known[there]))
    return {
        name: torch.tensor([one[name] for one in each], dtype=torch.float64)
        for name in DEPTH_MEASURES
    }


def _resized(depth: Tensor, sides: tuple[int, ...]) -> Tensor:
    """Depth at the truth's size, by its inverse, as the KITTI protocol does."""
    if depth.shape[1:] == sides:
        return depth
    inverse = interpolate(1 / depth[:, None], size=list(sides), mode="bilinear")
    return 1 / inverse[:, 0]


def _without_looking(task: Task) -> Mapping[str, Predict]:
    """One depth everywhere, and each row of pixels at its mean depth among the training samples."""
    known = task.train.annotations[_TRUTH].double()
    there = (known > 0) & known.isfinite()
    total = torch.where(there, known, 0.0)
    mean = total.sum() / there.sum().clamp_min(1)
    rows = total.sum((0, 2)) / there.sum((0, 2)).clamp_min(1)
    rows = torch.where(rows > 0, rows, mean)
    sides = known.shape[1:]

    def everywhere(x: Any) -> Depth:
        return Depth(mean.expand(len(tensors_of(x)[0]), *sides).float())

    def by_row(x: Any) -> Depth:
        return Depth(rows[:, None].expand(len(tensors_of(x)[0]), *sides).float())

    return {"mean depth": everywhere, "mean depth of the row": by_row}


def _lacks(task: Task) -> str | None:
    has_truth = all(_TRUTH in part.annotations for part in (task.train, task.test))
    return None if has_truth else "samples whose depth is known (an annotation named depth)"


DEPTH = Protocol(
    "depth",
    "depth-v1",
    "depth of the middle frame of test clips, its median made that of the truth, cut to 0.001 to "
    "80: relative, squared and logarithmic errors, and shares of pixels within 1.25, 1.25^2 and "
    "1.25^3 of the truth; means over test samples with normal intervals",
    _depth,
    _lacks,
    quick=True,
    judges=Depth,
    baselines=_without_looking,
    online=_online,
    headline=("abs_rel",),
    beats=("mean depth", "mean depth of the row"),
    rank=5,
)
PROTOCOLS = (DEPTH,)
