"""BECLR: agreement with a teacher over a batch enlarged by neighbours, and spread."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from nearfar.losses.kernels.logsumexp import self_logsumexp
from nearfar.losses.kernels.similarity import (
    expect_shapes,
    expect_temperature,
    full_precision,
    similarity_bound,
    unit,
)

__all__ = ["beclr", "beclr_terms"]

Sides = Literal["SS", "ST", "TS", "TT"]


@full_precision
def beclr_terms(
    prediction: Tensor,
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 2.0,
    sides: Sides = "SS",
) -> dict[str, Tensor]:
    """The two terms of BECLR's loss.

        positive = 1/2 [ -mean cos(p_1, t_2) - mean cos(p_2, t_1) ]
        negative = log mean_i ( 1/(n - 2) sum_j exp(cos(z_i, z_j) / tau) )

    j runs over all rows but i and its other view.

    Args:
        prediction: (2, M, D) p of the two views.
        student: (2, M, D) projections.
        teacher: (2, M, D) t; constants. n = 2 M.
        temperature: tau, above 0.
        sides: Whose projections z are of each view: the student's (S) or the teacher's (T).

    Returns:
        "positive" and "negative"; the latter is 0 for a batch of one sample.

    Example:
        >>> import torch
        >>> z = torch.eye(2).expand(2, 2, 2)
        >>> beclr_terms(z, z, z)
        {'positive': tensor(-1.), 'negative': tensor(0.)}

    Source: Poulakakis-Daktylidis and Jamali-Rad 2024, "BECLR: Batch Enhanced Contrastive Few-Shot
    Learning", equations 3 and 4.
    """
    expect_shapes(
        prediction=(prediction, "views M D"),
        student=(student, "views M D"),
        teacher=(teacher, "views M D"),
    )
    expect_temperature(temperature)
    if len(prediction) != 2 or sides not in ("SS", "ST", "TS", "TT"):
        raise ValueError(
            f"beclr takes 2 views and sides of S and T for each; found {len(prediction)} views"
            f" and {sides!r}."
        )
    p, s, t = unit(prediction), unit(student), unit(teacher.detach())
    positive = -(p * t.flip(0)).sum(dim=2).mean()
    z = torch.cat([(s if side == "S" else t)[place] for place, side in enumerate(sides)])
    rows, half = len(z), len(z) // 2
    if half < 2:
        return {"positive": positive, "negative": 0 * z.sum()}
    logs = self_logsumexp(
        z / temperature**0.5, exclude=(0, half, -half), bound=similarity_bound(temperature)
    )
    negative = logs.logsumexp(dim=0) - math.log(rows) - math.log(rows - 2)
    return {"positive": positive, "negative": negative}


@full_precision
def beclr(
    prediction: Tensor,
    student: Tensor,
    teacher: Tensor,
    *,
    weight: float = 0.1,
    temperature: float = 2.0,
    sides: Sides = "SS",
) -> Tensor:
    """BECLR's loss: positive + weight * negative of ``beclr_terms``.

    Args:
        prediction: (2, M, D) of the two views.
        student: (2, M, D) projections.
        teacher: (2, M, D); constants.
        weight: Of the spread, from 0 on.
        temperature: tau, above 0.
        sides: As in ``beclr_terms``.

    Example:
        >>> import torch
        >>> z = torch.eye(2).expand(2, 2, 2)
        >>> beclr(z, z, z)
        tensor(-1.)

    Source: Poulakakis-Daktylidis and Jamali-Rad 2024, equation 5.
    """
    if not weight >= 0:
        raise ValueError(f"The weight of the spread is {weight}; expected at least 0.")
    terms = beclr_terms(prediction, student, teacher, temperature=temperature, sides=sides)
    return terms["positive"] + weight * terms["negative"]
