"""Losses that compare a prediction with what another network, or the other branch, said; without
negatives.

Teachers and targets are constants: no gradient reaches them. Half types are computed in float32.
"""

from __future__ import annotations

from torch import Tensor

from nearfar.losses.distillation.clustering import swapped_cross_entropy
from nearfar.losses.kernels.similarity import (
    expect_rows,
    expect_temperature,
    full_precision,
    reduce,
    unit,
)

__all__ = ["byol", "dino", "simsiam"]


@full_precision
def byol(
    p1: Tensor, p2: Tensor, target1: Tensor, target2: Tensor, *, reduction: str = "mean"
) -> Tensor:
    """BYOL's loss: squared distance of unit predictions from the other view's unit targets, added
    over both directions.

        loss = mean_n [ ||p1 - target2||^2 + ||p2 - target1||^2 ]
             = 4 - 2 mean cos(p1, target2) - 2 mean cos(p2, target1)

    Args:
        p1, p2: (N, D) predictions from views 1 and 2.
        target1, target2: (N, D) projections of views 1 and 2 by the momentum encoder.
        reduction: "mean" (from 0 to 8), or "none": (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses import byol
        >>> p = torch.eye(3)
        >>> byol(p, p, p, p), byol(p, p, -p, -p)
        (tensor(0.), tensor(8.))

    Source: Grill et al. 2020, "Bootstrap your own latent", equation 2, with the exchanged term
    added.
    """
    return reduce(4 - 2 * _cosines(p1, p2, target1, target2), reduction)


@full_precision
def simsiam(p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor, *, reduction: str = "mean") -> Tensor:
    """SimSiam's loss: the negative cosine of predictions with the other view's projections, mean of
    both directions.

        loss = -1/2 mean cos(p1, z2) - 1/2 mean cos(p2, z1)

    Args:
        p1, p2: (N, D) predictions from views 1 and 2.
        z1, z2: (N, D) projections of views 1 and 2.
        reduction: "mean" (from -1 to 1), or "none": (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses import simsiam
        >>> p = torch.eye(3)
        >>> simsiam(p, p, p, p)
        tensor(-1.)

    Source: Chen and He 2020, "Exploring Simple Siamese Representation Learning", equations 3 and 4.
    """
    return reduce(-_cosines(p1, p2, z1, z2) / 2, reduction)


def _cosines(p1: Tensor, p2: Tensor, target1: Tensor, target2: Tensor) -> Tensor:
    """cos(p1, target2) + cos(p2, target1) of each sample, (N,)."""
    expect_rows(p1=p1, p2=p2, target1=target1, target2=target2)
    first = unit(p1) * unit(target2.detach())
    second = unit(p2) * unit(target1.detach())
    return first.sum(dim=1) + second.sum(dim=1)


@full_precision
def dino(
    student: Tensor,
    teacher: Tensor,
    centre: Tensor,
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
    reduction: str = "mean",
) -> Tensor:
    """DINO's loss: every view of the student must give the teacher's centred, sharpened shares of
    the other ones.

        loss = mean over teacher views a, student views v != a, samples n of
               - sum_k softmax((teacher_an - centre) / tau_t)_k log softmax(student_vn / tau_s)_k

    Args:
        student: (V, N, K) logits of all views, the teacher's views first.
        teacher: (2, N, K) logits of the whole views.
        centre: (K,) or (1, K) running mean of the teacher's logits, to be updated after the loss.
        student_temperature: tau_s, above 0.
        teacher_temperature: tau_t, above 0.
        reduction: "mean", or "none": (N,), a value for each sample, so that processes need not join
            the wide logits.

    Example:
        >>> import torch
        >>> from nearfar.losses import dino
        >>> student, teacher = torch.zeros(4, 2, 3), torch.zeros(2, 2, 3)
        >>> dino(student, teacher, torch.zeros(3))
        tensor(1.0986)

    Source: Caron et al. 2021, "Emerging Properties in Self-Supervised Vision Transformers",
    equation 3 and algorithm 1.
    """
    expect_temperature(student_temperature)
    expect_temperature(teacher_temperature)
    target = ((teacher.detach() - centre) / teacher_temperature).softmax(dim=-1)
    return reduce(swapped_cross_entropy(student / student_temperature, target), reduction)
