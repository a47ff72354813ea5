"""GLARE: altered patches and attended regions of the student against the unaltered teacher."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.inputs import expect_number, expect_pictures
from nearfar.ranges import above

__all__ = ["altered_patches", "attended_regions", "corresponding_logits"]


def _shares(logits: Tensor, centre: Tensor, temperature: float) -> Tensor:
    return ((logits.detach() - centre) / temperature).softmax(dim=-1)


@full_precision
def altered_patches(
    student: Tensor,
    teacher: Tensor,
    mask: Tensor,
    centre: Tensor,
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.07,
) -> Tensor:
    """Cross-entropy of altered patches with the teacher's view of the patches as they were.

        h_nl = H( softmax((t_nl - c) / tau_t), softmax(s_nl / tau_s) )
        loss = mean_n ( sum_l m_nl h_nl / sum_l m_nl )

    Args:
        student: (N, L, K) logits of patches, some of them altered in the student's input.
        teacher: (N, L, K) logits of the same patches unaltered; receives no gradient.
        mask: (N, L), 1 where a patch was altered; an image without any counts as 0.
        centre: (K,) running mean of the teacher's patch logits, c.
        student_temperature: tau_s, above 0.
        teacher_temperature: tau_t, above 0.

    Example:
        >>> import torch
        >>> from nearfar.losses.dense.attended_regions import altered_patches
        >>> x = torch.zeros(1, 2, 4)
        >>> altered_patches(x, x, torch.tensor([[1.0, 0.0]]), torch.zeros(4))
        tensor(1.3863)

    Source: GLARE 2025, the local term, in this library's explicit form; Zhou et al. 2022 (iBOT).
    """
    expect_pictures(
        student=(student, "N L K"),
        teacher=(teacher, "N L K"),
        mask=(mask, "N L"),
        centre=(centre, "K"),
    )
    expect_number(Annotated[float, above(0)], student_temperature=student_temperature)
    expect_number(Annotated[float, above(0)], teacher_temperature=teacher_temperature)
    target = _shares(teacher, centre, teacher_temperature)
    each = -(target * (student / student_temperature).log_softmax(dim=2)).sum(dim=2)
    return ((each * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)).mean()


@full_precision
def corresponding_logits(query: Tensor, keys: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """What the teacher says of the places in its view that a region of the other view looks like.

        w = softmax(q k' / sqrt(D)),  target = w t

    Args:
        query: (N, R, D) mean student tokens of regions; receives no gradient.
        keys: (N, L, D) teacher tokens of the other view; receive no gradient.
        teacher: (N, L, K) teacher logits of its patches; receive no gradient.

    Returns:
        w (N, R, L) and the targets (N, R, K), without gradient.

    Example:
        >>> import torch
        >>> from nearfar.losses.dense.attended_regions import corresponding_logits
        >>> x = torch.zeros(1, 2, 3)
        >>> corresponding_logits(x, x, x)[0]
        tensor([[[0.5000, 0.5000],
                 [0.5000, 0.5000]]])

    Source: GLARE 2025, the regional term, in this library's explicit form.
    """
    expect_pictures(query=(query, "N R D"), keys=(keys, "N L D"), teacher=(teacher, "N L K"))
    query, keys, teacher = query.detach(), keys.detach(), teacher.detach()
    attention = (query @ keys.transpose(1, 2) / query.shape[2] ** 0.5).softmax(dim=2)
    return attention, attention @ teacher


@full_precision
def attended_regions(
    student: Tensor,
    target: Tensor,
    centre: Tensor,
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.07,
) -> Tensor:
    """Cross-entropy of region logits with the teacher's corresponding ones.

        loss = mean_nr H( softmax((target_nr - c) / tau_t), softmax(s_nr / tau_s) )

    Args:
        student: (N, R, K) logits of the region head.
        target: (N, R, K) from ``corresponding_logits``; receives no gradient.
        centre: (K,) running mean of the teacher's patch logits, c.
        student_temperature: tau_s, above 0.
        teacher_temperature: tau_t, above 0.

    Example:
        >>> import torch
        >>> from nearfar.losses.dense.attended_regions import attended_regions
        >>> attended_regions(torch.zeros(1, 2, 4), torch.zeros(1, 2, 4), torch.zeros(4))
        tensor(1.3863)

    Source: GLARE 2025, the regional term, in this library's explicit form.
    """
    expect_pictures(student=(student, "N R K"), target=(target, "N R K"), centre=(centre, "K"))
    expect_number(Annotated[float, above(0)], student_temperature=student_temperature)
    expect_number(Annotated[float, above(0)], teacher_temperature=teacher_temperature)
    shares = _shares(target, centre, teacher_temperature)
    each = -(shares * (student / student_temperature).log_softmax(dim=2)).sum(dim=2)
    return torch.mean(each)
