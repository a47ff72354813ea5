"""Robust-Depth: clear and degraded frames teach each other wherever one shows the scene better.

Sources are clear in both branches: only the depth comes from the clear or the degraded frame.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from nearfar.losses.depth.photometric import masked_mean, smoothness
from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.inputs import expect_number, expect_pictures, per_image
from nearfar.ranges import at_least

__all__ = [
    "better_branch",
    "joint_reprojection",
    "masked_log_l1",
    "mutual_supervision",
    "pose_supervision",
    "smoothness_of_kept",
]


@full_precision
def masked_log_l1(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """sum( ln(1 + |first - second|) mask ) / (sum mask + 1e-7).

    Args:
        first: (N, 1, H, W).
        second: (N, 1, H, W).
        mask: (N, 1, H, W).

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.mutual import masked_log_l1
        >>> one = torch.ones(1, 1, 2, 2)
        >>> masked_log_l1(one, 2 * one, one)
        tensor(0.6931)

    Source: Saunders et al. 2023 (Robust-Depth), equation 7.
    """
    expect_pictures(first=(first, "N 1 H W"), second=(second, "N 1 H W"), mask=(mask, "N 1 H W"))
    return masked_mean((first - second).abs().log1p(), mask)


@full_precision
def better_branch(identity: Tensor, degraded: Tensor, clear: Tensor) -> tuple[Tensor, Tensor]:
    """Where the clear branch and where the degraded one shows the target best.

    The least error of each pixel among all sources as they are, all sources warped by the degraded
    frame's depth and all warped by the clear frame's depth decides; the first of equals wins.

    Args:
        identity: (N, F, H, W) errors of the sources as they are, noise added.
        degraded: (N, F, H, W) errors with the degraded frame's depth.
        clear: (N, F, H, W) errors with the clear frame's depth.

    Returns:
        Two masks (N, 1, H, W) in the errors' type: the clear branch wins, the degraded one wins.

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.mutual import better_branch
        >>> clear, degraded = better_branch(*torch.tensor([3.0, 2.0, 1.0]).view(3, 1, 1, 1, 1))
        >>> clear.item(), degraded.item()
        (1.0, 0.0)

    Source: Saunders et al. 2023 (Robust-Depth), section 3.3.
    """
    expect_pictures(
        identity=(identity, "N F H W"), degraded=(degraded, "N F H W"), clear=(clear, "N F H W")
    )
    sources = identity.shape[1]
    place = torch.cat([identity, degraded, clear], dim=1).argmin(dim=1, keepdim=True)
    by_clear = place >= 2 * sources
    by_degraded = (place >= sources) & ~by_clear
    return by_clear.to(clear), by_degraded.to(clear)


@full_precision
def mutual_supervision(
    degraded: Tensor,
    clear: Tensor,
    clear_wins: Tensor,
    degraded_wins: Tensor,
    *,
    weight: float = 0.01,
    scale: int = 0,
) -> tuple[Tensor, Tensor]:
    """Each branch's output is drawn to the other's where the other wins.

        weight / 2^scale ls(d_a, sg(d_c), clear wins)
        weight / 2^scale ls(sg(d_a), d_c, degraded wins)

    with ls = ``masked_log_l1``.

    Args:
        degraded: (N, 1, H, W) outputs in (0, 1) of the degraded frame, d_a.
        clear: (N, 1, H, W) outputs of the clear frame, d_c.
        clear_wins: (N, 1, H, W) mask at this scale.
        degraded_wins: (N, 1, H, W) mask at this scale.
        weight: At least 0.
        scale: Number of the scale, at least 0.

    Returns:
        The term of the degraded branch and that of the clear branch.

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.mutual import mutual_supervision
        >>> one = torch.ones(1, 1, 2, 2)
        >>> mutual_supervision(one, one, one, one)
        (tensor(0.), tensor(0.))

    Source: Saunders et al. 2023 (Robust-Depth), equations 7 and 8.
    """
    expect_number(Annotated[float, at_least(0)], weight=weight)
    expect_number(Annotated[int, at_least(0)], scale=scale)
    share = weight / 2**scale
    to_degraded = share * masked_log_l1(degraded, clear.detach(), clear_wins)
    to_clear = share * masked_log_l1(degraded.detach(), clear, degraded_wins)
    return to_degraded, to_clear


@full_precision
def joint_reprojection(
    identity: Tensor, degraded: Tensor, clear: Tensor, *, joint: bool = False
) -> Tensor:
    """Minimum reprojection of both branches: mean min[id, pe_a] + mean min[id, pe_c].

    Args:
        identity: (N, F, H, W) errors of the sources as they are, noise added.
        degraded: (N, F, H, W) errors with the degraded frame's depth.
        clear: (N, F, H, W) errors with the clear frame's depth.
        joint: Take one minimum over all, mean min[id, pe_a, pe_c].

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.mutual import joint_reprojection
        >>> joint_reprojection(*torch.tensor([3.0, 2.0, 1.0]).view(3, 1, 1, 1, 1))
        tensor(3.)

    Source: Saunders et al. 2023 (Robust-Depth), equation 5.
    """
    expect_pictures(
        identity=(identity, "N F H W"), degraded=(degraded, "N F H W"), clear=(clear, "N F H W")
    )
    if joint:
        return torch.cat([identity, degraded, clear], dim=1).amin(dim=1).mean()
    first = torch.cat([identity, degraded], dim=1).amin(dim=1).mean()
    return first + torch.cat([identity, clear], dim=1).amin(dim=1).mean()


@full_precision
def smoothness_of_kept(disparity: Tensor, image: Tensor, small: Tensor) -> Tensor:
    """``smoothness`` of single samples, summed over those that were not shrunk, over all N.

    Args:
        disparity: (N, 1, H, W).
        image: (N, C, H, W).
        small: (N,) bool, samples whose frame was shrunk and filled.

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.mutual import smoothness_of_kept
        >>> smoothness_of_kept(torch.rand(1, 1, 4, 4), torch.rand(1, 3, 4, 4), torch.tensor([True]))
        tensor(0.)

    Source: Saunders et al. 2023 (Robust-Depth), the authors' code.
    """
    each = smoothness(disparity, image, reduction="none")
    return per_image(torch.where(small, torch.zeros_like(each), each), "mean")


@full_precision
def pose_supervision(degraded: Tensor, clear: Tensor, *, weight: float = 0.01) -> Tensor:
    """The motion seen in degraded frames is drawn to that of clear ones.

        weight / 2 sum_f mean |sg(clear_f) - degraded_f|

    Args:
        degraded: (F, N, ...) axis-angles, or translations, of F pairs of frames.
        clear: The same of the clear pairs; receives no gradient.
        weight: At least 0.

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.mutual import pose_supervision
        >>> pose_supervision(torch.ones(2, 1, 3), torch.zeros(2, 1, 3), weight=1.0)
        tensor(1.)

    Source: Saunders et al. 2023 (Robust-Depth), equation 9.
    """
    axes = " ".join(f"A{axis}" for axis in range(degraded.ndim))
    expect_pictures(degraded=(degraded, axes), clear=(clear, axes))
    expect_number(Annotated[float, at_least(0)], weight=weight)
    return weight / 2 * (clear.detach() - degraded).abs().flatten(1).mean(dim=1).sum()
