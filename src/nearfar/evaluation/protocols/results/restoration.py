"""Restored images beside the true ones, and beside what simple resampling gives."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor

from nearfar.data.degradations.resampling import bicubic_up
from nearfar.errors import UserError
from nearfar.evaluation.features import BATCH
from nearfar.evaluation.measures.restoration import detail_ratio, similarities
from nearfar.evaluation.protocol import Predict, Protocol, Row, Task
from nearfar.evaluation.result import Score
from nearfar.losses.restoration.structure import psnr
from nearfar.results.restored import Restored
from nearfar.rows import Parts
from nearfar.views.image.aligned import factor_of

_DEGRADED = "degraded"
_CLEAN = "clean"


def _restoration(row: Row) -> Iterator[Score]:
    made, truth = _pair(row)
    factor = factor_of(row.task.source.spec.parts[_DEGRADED])
    border = factor if factor > 1 else 0
    for metric, values in similarities(made, truth, border=border).items():
        if metric == "PSNR":
            row.keep("PSNR", values)
        yield _score(row.name, metric, values)
    ratios = detail_ratio(made, truth)
    ratios = ratios[ratios.isfinite()]
    if len(ratios):
        median = float(ratios.double().median())
        yield Score(row.name, RESTORATION.version, "detail", median, better="")


def _online(row: Row) -> dict[str, float]:
    made, truth = _pair(row)
    return {"psnr": float(psnr(made, truth, reduction="none").double().mean())}


def _pair(row: Row) -> tuple[Tensor, Tensor]:
    """What was restored, rounded to bytes as files hold it, and the truth, both in [0, 1]."""
    found: Restored = row.predictions
    made = found.pixels.float() / 255
    task = row.task
    blocks = [
        task.view(task.test.take(torch.arange(start, min(start + BATCH, len(task.test)))))
        for start in range(0, len(task.test), BATCH)
    ]
    truth = torch.cat([block[_CLEAN].cpu() for block in blocks])
    if made.shape != truth.shape:
        raise UserError(
            f"The images that {row.name} restores are {tuple(made.shape[1:])} and the clean ones "
            f"are {tuple(truth.shape[1:])}; choose data that were degraded as in training."
        )
    return made.cpu(), truth


def _score(
    row: str,
    metric: str,
    values: Tensor,
    better: Literal["higher", "lower", ""] = "higher",
) -> Score:
    """A mean over images with its normal interval."""
    mean = float(values.double().mean())
    count = len(values)
    half = 1.96 * float(values.double().std()) / math.sqrt(count) if count > 1 else math.nan
    return Score(
        row,
        RESTORATION.version,
        metric,
        mean,
        mean - half,
        mean + half,
        "test samples" if count > 1 else "",
        count if count > 1 else 0,
        better=better,
    )


def _simple(task: Task) -> Mapping[str, Predict]:
    """The degraded image itself; where pixels are missing, bicubic enlargement and repeated
    pixels.
    """
    factor = factor_of(task.source.spec.parts[_DEGRADED])
    if factor == 1:
        return {"degraded image": lambda x: Restored(_degraded(x).clamp(0, 1))}

    def bicubic(x: Parts) -> Restored:
        return Restored(bicubic_up(_degraded(x), factor).clamp(0, 1))

    def repeated(x: Parts) -> Restored:
        large = _degraded(x).repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
        return Restored(large.clamp(0, 1))

    return {"bicubic": bicubic, "repeated pixels": repeated}


def _degraded(x: Parts) -> Tensor:
    found: Tensor = x[_DEGRADED]
    return found


def _lacks(task: Task) -> str | None:
    has_both = {_DEGRADED, _CLEAN} <= set(task.source.spec.parts)
    return None if has_both else "degraded images with clean ones (--with degrade:...)"


RESTORATION = Protocol(
    "restoration",
    "restoration-v1",
    "restored test images, rounded to bytes, beside the clean ones: PSNR and SSIM (window 11) of "
    "all channels, MS-SSIM with the scales that fit, for enlargement Y-PSNR and Y-SSIM of the "
    "brightness without a border of the factor's width; detail: median ratio of the energy of a "
    "Laplacian; intervals over test images (normal)",
    _restoration,
    _lacks,
    quick=True,
    judges=Restored,
    baselines=_simple,
    online=_online,
    headline=("PSNR", "SSIM"),
    beats=("degraded image", "bicubic", "repeated pixels"),
    rank=4,
)
PROTOCOLS = (RESTORATION,)
