"""Errors of a regression in which rare targets count as much as common ones."""

from __future__ import annotations

import math

from scipy.special import ndtri
from torch import Tensor

from nearfar.errors import UserError
from nearfar.evaluation.kernels.intervals import CONFIDENCE, Interval

BINS = 20


def balanced_error(errors: Tensor, targets: Tensor, *, bins: int = BINS) -> Interval:
    """Mean over even bins of the targets' range of the mean error within each; empty bins take no
    part.

    Args:
        errors: (N,) absolute errors.
        targets: (N,) true values.
        bins: number of bins between the least and the largest target.

    Returns:
        The mean with a normal interval over the samples of each bin; a bin of one sample takes the
        spread of the others. NaN ends where no bin has two samples.

    Source: Ren et al. 2022, "Balanced MSE for Imbalanced Visual Regression", the balanced metrics.
    """
    if errors.shape != targets.shape or errors.ndim != 1 or not len(errors):
        raise UserError(
            f"Errors have shape {tuple(errors.shape)}, targets {tuple(targets.shape)}; expected "
            "(N,) for both."
        )
    error = errors.double().cpu()
    target = targets.double().cpu()
    width = float(target.max() - target.min()) / bins
    place = (
        ((target - target.min()) / width).long().clamp(max=bins - 1)
        if width
        else target.new_zeros(len(target)).long()
    )
    count = place.bincount(minlength=bins).double()
    held = count > 0
    count = count[held]
    number = int(held.sum())
    mean = place.bincount(error, minlength=bins)[held] / count
    away = (
        error
        - (place.bincount(error, minlength=bins) / place.bincount(minlength=bins).clamp(min=1))[
            place
        ]
    ).square()
    free = (count - 1).sum()
    if not free:
        return Interval(float(mean.mean()), math.nan, math.nan)
    within = place.bincount(away, minlength=bins)[held] / (count - 1).clamp(min=1)
    variance = within.where(count > 1, away.sum() / free)
    half = float(ndtri((1 + CONFIDENCE) / 2)) * math.sqrt(float((variance / count).sum())) / number
    value = float(mean.mean())
    return Interval(value, value - half, value + half)
