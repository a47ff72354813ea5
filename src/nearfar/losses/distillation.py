"""Losses that match a target without negatives: BYOL, SimSiam, DINO."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, softmax

from nearfar.losses.similarity import expect_rows, full_precision, reduce, unit

__all__ = ["byol", "dino", "simsiam"]


@full_precision
def byol(p1: Tensor, p2: Tensor, target1: Tensor, target2: Tensor, *, reduction: str = "mean") -> Tensor:
    """BYOL's regression of each view's target from the other view's prediction, 0 to 8.

        mean_n ||norm(p1) - norm(t2)||^2 + ||norm(p2) - norm(t1)||^2 = 4 - 2 cos(p1, t2) - 2 cos(p2, t1)

    Args:
        p1: (N, D) predictions from view 1, normalised here.
        p2: (N, D) from view 2.
        target1: (N, D) target projections of view 1; no gradient reaches them.
        target2: (N, D) of view 2.
        reduction: "mean", or "none" for (N,).

    Source: Grill et al. 2020 (BYOL), equation 2, with the sum over both directions as in the authors' code.
    """
    expect_rows(p1=p1, p2=p2, target1=target1, target2=target2)
    return reduce(4 - 2 * _cosine(p1, target2) - 2 * _cosine(p2, target1), reduction)


@full_precision
def simsiam(p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor, *, reduction: str = "mean") -> Tensor:
    """SimSiam's negative cosine, -1 to 1.

        - 1/2 mean_n cos(p1, sg(z2)) - 1/2 mean_n cos(p2, sg(z1))

    Args:
        p1: (N, D) predictions from view 1, normalised here.
        p2: (N, D) from view 2.
        z1: (N, D) projections of view 1; no gradient reaches them.
        z2: (N, D) of view 2.
        reduction: "mean", or "none" for (N,).

    Source: Chen and He 2021 (SimSiam), equation 4.
    """
    expect_rows(p1=p1, p2=p2, z1=z1, z2=z2)
    return reduce(-(_cosine(p1, z2) + _cosine(p2, z1)) / 2, reduction)


def _cosine(prediction: Tensor, target: Tensor) -> Tensor:
    return (unit(prediction) * unit(target.detach())).sum(dim=1)


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
    """Cross-entropy of the student's other crops with the teacher's centred, sharpened softmax.

        mean over pairs (teacher crop a, student crop v != a) of mean_n - softmax((t_a - c) / tau_t) . log softmax(s_v / tau_s)

    Args:
        student: (V, N, K) logits of all crops, the teacher's crops first.
        teacher: (A, N, K) logits of the whole crops; no gradient reaches them.
        centre: (K,) or (1, K), subtracted from the teacher's logits; update it after the loss.
        student_temperature: above 0.
        teacher_temperature: above 0, below the student's for sharpening.
        reduction: "mean", or "none" for (N,) values whose mean is the loss.

    Source: Caron et al. 2021 (DINO), equation 3 and algorithm 1.
    """
    if student.ndim != 3 or teacher.ndim != 3 or student.shape[1:] != teacher.shape[1:] or len(student) < 2:
        raise ValueError(
            f"student must be (V, N, K) with at least 2 crops and teacher (A, N, K); found {tuple(student.shape)} and {tuple(teacher.shape)}."
        )
    target = softmax((teacher.detach() - centre) / teacher_temperature, dim=-1)
    guess = log_softmax(student / student_temperature, dim=-1)
    # All pairs, less those of a crop with itself: sums over crops first, so that one product serves them.
    whole = -(target.sum(dim=0) * guess.sum(dim=0)).sum(dim=-1)
    same = -(target * guess[: len(target)]).sum(dim=(0, 2))
    return reduce((whole - same) / (len(target) * (len(student) - 1)), reduction)
