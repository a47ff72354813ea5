"""RKD: distances between samples, and angles among three, are as the teacher has them.

With l the Huber loss of width 1 and mu the mean distance of a batch's pairs,

    distance:  mean over i != j of l( |s_i - s_j| / mu_s, |t_i - t_j| / mu_t )
    angle:     mean over distinct i, j, k of
               l( cos(s_i - s_j, s_k - s_j), cos(t_i - t_j, t_k - t_j) )

Student and teacher may have different dimensions, as only relations are compared. The teacher is a
constant. Matrices of pairs and triples are made in blocks and none is kept.

Source: Park et al. 2019, "Relational Knowledge Distillation", equations 4 to 9.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from nearfar.losses.kernels.blocks import in_row_blocks
from nearfar.losses.kernels.similarity import full_precision

__all__ = ["rkd_angle", "rkd_distance"]


@full_precision
def rkd_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """How far the student's distances, relative to their mean, are from the teacher's.

    Args:
        student: (N, D) features of N >= 2 samples.
        teacher: (N, E) features of the same samples; receives no gradient.

    Raises:
        ValueError: If there are fewer than two rows, or not as many of both.

    Example:
        >>> import torch
        >>> from nearfar.losses.distillation.relational import rkd_distance
        >>> rkd_distance(2 * torch.eye(3), torch.eye(3))
        tensor(0.)
    """
    _expect_same_samples(student, teacher)
    target = teacher.detach().to(student.dtype)
    pairs = len(student) * (len(student) - 1)
    mean = _distance_sums(student).sum() / pairs
    mean_target = _distance_sums(target).sum() / pairs
    least = torch.finfo(student.dtype).tiny

    def anchors(block: slice) -> Tensor:
        own = _distances(student, block) / mean.clamp(min=least)
        wanted = _distances(target, block) / mean_target.clamp(min=least)
        return smooth_l1_loss(own, wanted, reduction="none").sum(dim=1)

    return in_row_blocks(anchors, student).sum() / pairs


@full_precision
def rkd_angle(student: Tensor, teacher: Tensor) -> Tensor:
    """How far the cosines of the student's angles are from those of the teacher's.

    Args:
        student: (N, D) features of N >= 2 samples; two alone have no angle, and the loss is 0.
        teacher: (N, E) features of the same samples; receives no gradient.

    Raises:
        ValueError: If there are fewer than two rows, or not as many of both.

    Example:
        >>> import torch
        >>> from nearfar.losses.distillation.relational import rkd_angle
        >>> turned = torch.tensor([[0.0, 1.0], [-1.0, 0.0], [0.0, 0.0]])
        >>> straight = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
        >>> rkd_angle(turned, straight)
        tensor(0.)
    """
    _expect_same_samples(student, teacher)
    samples = len(student)
    target = teacher.detach().to(student.dtype)

    def anchors(block: slice) -> Tensor:
        own = _cosines(student, block)
        wanted = _cosines(target, block)
        return smooth_l1_loss(own, wanted, reduction="none").sum(dim=(1, 2))

    # A triple with an equal member adds nothing: both cosines are 0 there, or 1.
    width = max(samples, student.shape[1], target.shape[1])
    total = in_row_blocks(anchors, student, columns=samples * width).sum()
    return total / max(1, samples * (samples - 1) * (samples - 2))


def _expect_same_samples(student: Tensor, teacher: Tensor) -> None:
    fits = student.ndim == teacher.ndim == 2 and len(student) == len(teacher)
    if not fits or len(student) < 2 or 0 in (*student.shape, *teacher.shape):
        raise ValueError(
            "Expected features (N, D) and (N, E) of the same N >= 2 samples; found "
            f"{tuple(student.shape)} and {tuple(teacher.shape)}."
        )


def _distance_sums(rows: Tensor) -> Tensor:
    """For each row the sum of its distances to all others: (N,)."""
    return in_row_blocks(lambda block: _distances(rows, block).sum(dim=1), rows)


def _distances(rows: Tensor, block: slice) -> Tensor:
    """Distances of a block's rows from all rows, (B, N); those of equal rows are 0 and constant."""
    squared = (rows[block, None] - rows).square().sum(dim=2)
    is_same = squared == 0  # false for NaN, which must not be hidden
    return torch.where(is_same, 1.0, squared).sqrt() * ~is_same


def _cosines(rows: Tensor, block: slice) -> Tensor:
    """For each row j of a block the cosines between all rows as seen from it: (B, N, N)."""
    seen = rows - rows[block, None]
    squared = seen.square().sum(dim=2, keepdim=True)
    directions = seen * torch.where(squared > 0, squared, 1.0).rsqrt()
    return directions @ directions.mT
