"""Losses of depth from several frames: ManyDepth's teacher and student, and ProDepth's student.

A scale's reprojection errors are maps of each source's ``photometric_error`` at full size.
"""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from nearfar.losses.depth.photometric import masked_mean
from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.inputs import expect_number, expect_pictures
from nearfar.ranges import at_least

__all__ = ["fusion_student", "single_frame_teacher", "student_mask", "two_frame_student"]


@full_precision
def single_frame_teacher(
    errors: Tensor, identity: Tensor, *, noise: Tensor | None = None
) -> Tensor:
    """Reprojection of the single-frame network, averaged over the pixels that move.

        r = min_f errors_f,  i = min_f identity_f,  m = [r <= i],  loss = sum(r m) / (sum m + 1e-7)

    Args:
        errors: (N, F, H, W) of warped sources.
        identity: (N, F, H, W) of the sources as they are.
        noise: (N, 1, H, W) added to i to break ties; None for none.

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.multi_frame import single_frame_teacher
        >>> errors = torch.tensor([1.0, 5.0]).view(1, 1, 1, 2)
        >>> single_frame_teacher(errors, torch.full((1, 1, 1, 2), 2.0))
        tensor(1.0000)

    Source: Watson et al. 2021 (ManyDepth), the authors' code.
    """
    expect_pictures(errors=(errors, "N F H W"), identity=(identity, "N F H W"))
    least = errors.amin(dim=1, keepdim=True)
    still = identity.amin(dim=1, keepdim=True)
    if noise is not None:
        still = still + noise
    return masked_mean(least, (least <= still).to(least))


def student_mask(confident: Tensor, agree: Tensor, augmented: Tensor) -> Tensor:
    """Where the cost volume is trusted: confident, in agreement, and of a sample left as it was.

    Args:
        confident: (N, H, W) of the cost volume, enlarged to full size.
        agree: (N, H, W) ``depths_agree`` of teacher and cost volume at full size.
        augmented: (N, 1, 1, 1), 1 for samples whose volume was altered.

    Returns:
        (N, 1, H, W) in the type of ``augmented``.

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.multi_frame import student_mask
        >>> yes = torch.ones(2, 1, 1, dtype=torch.bool)
        >>> student_mask(yes, yes, torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)).flatten()
        tensor([1., 0.])
    """
    both = (confident.bool() & agree.bool())[:, None].to(augmented)
    return both * (1 - augmented)


@full_precision
def two_frame_student(
    errors: Tensor, mask: Tensor, depth: Tensor, teacher: Tensor
) -> tuple[Tensor, Tensor]:
    """ManyDepth's student: reprojection where the volume is trusted, the teacher's depth elsewhere.

        sum(r m) / (sum m + 1e-7)  and  mean( |depth - sg(teacher)| (1 - m) ),  r = min_f errors_f

    Args:
        errors: (N, F, H, W) of sources warped by the student's depth.
        mask: (N, 1, H, W) from ``student_mask``.
        depth: (N, 1, H, W) of the student.
        teacher: (N, 1, H, W) of the single-frame teacher; receives no gradient.

    Returns:
        The reprojection term and the consistency term; their sum is the loss.

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.multi_frame import two_frame_student
        >>> one = torch.ones(1, 1, 2, 2)
        >>> two_frame_student(one, 0 * one, 3 * one, one)
        (tensor(0.), tensor(2.))

    Source: Watson et al. 2021, equations 4 and 5.
    """
    expect_pictures(
        errors=(errors, "N F H W"),
        mask=(mask, "N 1 H W"),
        depth=(depth, "N 1 H W"),
        teacher=(teacher, "N 1 H W"),
    )
    least = errors.amin(dim=1, keepdim=True)
    elsewhere = ((depth - teacher.detach()).abs() * (1 - mask)).mean()
    return masked_mean(least, mask), elsewhere


@full_precision
def fusion_student(
    errors: Tensor,
    mask: Tensor,
    disparity: Tensor,
    teacher: Tensor,
    *,
    consistency: float = 0.1,
) -> tuple[Tensor, Tensor]:
    """ProDepth's student: as ``two_frame_student`` with a soft mask and disparities.

        sum(r m) / (sum m + 1e-7)  and  consistency mean( |u - sg(u_teacher)| (1 - m) )

    Args:
        errors: (N, F, H, W) of sources warped by the student's depth.
        mask: (N, 1, H, W) from 0 to 1: the static weight, 0 for altered samples.
        disparity: (N, 1, H, W) of the student at the finest scale, for every scale's loss.
        teacher: (N, 1, H, W) disparity of the single-frame network; receives no gradient.
        consistency: Weight, at least 0.

    Returns:
        The reprojection term and the weighted consistency term; their sum is the loss.

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.multi_frame import fusion_student
        >>> one = torch.ones(1, 1, 2, 2)
        >>> fusion_student(one, 0 * one, 3 * one, one)[1]
        tensor(0.2000)

    Source: Woo et al. 2024 (ProDepth), section 3.4 and the authors' code.
    """
    expect_number(Annotated[float, at_least(0)], consistency=consistency)
    reprojection, elsewhere = two_frame_student(errors, mask, disparity, teacher)
    return reprojection, consistency * elsewhere
