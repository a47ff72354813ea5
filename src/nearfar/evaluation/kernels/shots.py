"""Regression errors by how many training samples have the label: many, medium or few shots."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nearfar.errors import UserError

MANY = 100
FEW = 20


class ShotErrors(NamedTuple):
    """Errors of some test samples.

    Attributes:
        mean: absolute error, on average.
        geometric: geometric mean of the absolute errors, 0 if one of them is 0; it dwells on small
            errors.
        samples: number of test samples.
    """

    mean: float
    geometric: float
    samples: int


def shot_errors(
    errors: Tensor, targets: Tensor, train_targets: Tensor, *, width: float = 1.0
) -> dict[str, ShotErrors]:
    """Errors over "all" test samples and over those whose label has "many" (more than 100),
    "medium" or "few" (fewer than 20) training samples; a group without test samples is left out.

    Args:
        errors: (N,) predicted minus true values.
        targets: (N,) true values.
        train_targets: (M,) labels of the training samples.
        width: labels that round to the same multiple of it count as one.

    Raises:
        UserError: if there are no test samples, or lengths or the width do not fit.

    Source: Yang et al. 2021, "Delving into Deep Imbalanced Regression", section 4.1.
    """
    if errors.shape != targets.shape or errors.ndim != 1 or not len(errors) or width <= 0:
        raise UserError(
            f"Errors have shape {tuple(errors.shape)}, targets {tuple(targets.shape)}, the width "
            f"is {width}; expected one of each for at"
            " least one sample, and a width above 0."
        )
    bins, of_sample = torch.unique(
        torch.cat([targets, train_targets.to(targets)]).div(width).round(), return_inverse=True
    )
    seen = of_sample[len(targets) :].bincount(minlength=len(bins))[of_sample[: len(targets)]]
    chosen = {
        "all": seen >= 0,
        "many": seen > MANY,
        "medium": (seen >= FEW) & (seen <= MANY),
        "few": seen < FEW,
    }
    return {name: _errors(errors[rows]) for name, rows in chosen.items() if rows.any()}


def _errors(errors: Tensor) -> ShotErrors:
    size = errors.double().abs()
    return ShotErrors(float(size.mean()), float(size.log().mean().exp()), len(size))
