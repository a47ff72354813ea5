"""Point clouds as tokens: far points, their neighbourhoods, and the image patches they fall on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.losses.restoration.inputs import expect_choice, expect_pictures

__all__ = [
    "MASKINGS",
    "ImageMask",
    "farthest_points",
    "grouped",
    "image_mask",
    "patches_hit",
    "project_upright",
]

MASKINGS = ("random", "uniform", "complement")
"""How image patches may be hidden: by chance, with hidden points, or where points stay visible."""


def farthest_points(points: Tensor, count: int) -> Tensor:
    """Indices of points that lie far apart: each the farthest from those before, 0 the first.

    Args:
        points: (N, P, D).
        count: From 1 to P.

    Returns:
        (N, count) int64.

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.points import farthest_points
        >>> farthest_points(torch.tensor([[[0.0], [1.0], [3.0]]]), 2)
        tensor([[0, 2]])

    Source: Qi et al. 2017 (PointNet++).
    """
    expect_pictures(points=(points, "N P D"))
    if not 1 <= count <= points.shape[1]:
        raise UserError(f"count is {count}; expected from 1 to {points.shape[1]} points.")
    rows = torch.arange(len(points), device=points.device)
    chosen = torch.zeros(len(points), count, dtype=torch.int64, device=points.device)
    nearest = torch.full_like(points[:, :, 0], float("inf"))
    for place in range(1, count):
        last = points[rows, chosen[:, place - 1]]
        nearest = torch.minimum(nearest, (points - last[:, None]).square().sum(dim=2))
        chosen[:, place] = nearest.argmax(dim=1)
    return chosen


def grouped(points: Tensor, groups: int, neighbours: int) -> tuple[Tensor, Tensor, Tensor]:
    """Neighbourhoods of far points, relative to their centres.

    Args:
        points: (N, P, D).
        groups: How many centres, ``farthest_points``.
        neighbours: Points of each neighbourhood, nearest first, the centre included.

    Returns:
        Indices of centres (N, G) and of neighbours (N, G, K), and neighbourhoods (N, G, K, D).

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.points import grouped
        >>> grouped(torch.tensor([[[0.0], [1.0], [3.0]]]), 2, 2)[1]
        tensor([[[0, 1],
                 [2, 1]]])

    Source: Pang et al. 2022 (Point-MAE).
    """
    centre_index = farthest_points(points, groups)
    if not 1 <= neighbours <= points.shape[1]:
        raise UserError(f"neighbours is {neighbours}; expected from 1 to {points.shape[1]}.")
    rows = torch.arange(len(points), device=points.device)
    centres = points[rows[:, None], centre_index]
    squared = (centres[:, :, None] - points[:, None]).square().sum(dim=3)
    index = squared.argsort(dim=2, stable=True)[:, :, :neighbours]
    around = points[rows[:, None, None], index] - centres[:, :, None]
    return centre_index, index, around


def project_upright(points: Tensor, tilt: Tensor, intrinsics: Tensor) -> Tensor:
    """Pixels at which upright points (x right, y forward, z up) appear, not rounded.

    Args:
        points: (N, P, 3).
        tilt: (N, 3, 3) rotation from the camera's depth coordinates to upright ones.
        intrinsics: (N, 3, 3) K.

    Returns:
        (N, P, 2) columns and rows.

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.points import project_upright
        >>> eye = torch.eye(3)[None]
        >>> project_upright(torch.tensor([[[1.0, 2.0, 4.0]]]), eye, eye)
        tensor([[[ 0.5000, -2.0000]]])

    Source: Song et al. 2015 (SUN RGB-D toolbox).
    """
    expect_pictures(
        points=(points, "N P 3"), tilt=(tilt, "N 3 3"), intrinsics=(intrinsics, "N 3 3")
    )
    depth = points @ tilt
    camera = torch.stack([depth[..., 0], -depth[..., 2], depth[..., 1]], dim=2)
    seen = camera @ intrinsics.transpose(1, 2)
    return seen[..., :2] / seen[..., 2:]


def patches_hit(places: Tensor, height: int, width: int, patch: int = 16) -> Tensor:
    """Which patches of an image hold a point; shares are of the sides less one pixel.

    Args:
        places: (N, P, 2) shares of the width and of the height, cut to [0, 0.999].
        height: Of the image, a multiple of the patch.
        width: Of the image, a multiple of the patch.
        patch: Side of a patch.

    Returns:
        (N, L) 1 where a point lies, patches row by row.

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.points import patches_hit
        >>> patches_hit(torch.tensor([[[0.9, 0.1]]]), 32, 32)
        tensor([[0., 1., 0., 0.]])

    Source: Chen et al. 2023 (PiMAE).
    """
    expect_pictures(places=(places, "N P 2"))
    if height % patch or width % patch:
        raise UserError(f"Patches of {patch} do not divide {height} x {width} pixels.")
    rows, columns = height // patch, width // patch
    inside = places.clamp(0, 0.999)
    column = (inside[..., 0] * (width - 1) / patch).floor().long()
    row = (inside[..., 1] * (height - 1) / patch).floor().long()
    mask = places.new_zeros(len(places), rows * columns)
    return mask.scatter(1, row * columns + column, 1.0)


@dataclass(frozen=True, kw_only=True)
class ImageMask:
    """Which image patches are hidden.

    Attributes:
        kept: (N, V) int64 indices of visible patches, in their order of choice.
        mask: (N, L) 1 where a patch is hidden.
        restore: (N, L) int64, where each patch stands among visible and then hidden ones.
    """

    kept: Tensor
    mask: Tensor
    restore: Tensor


def image_mask(
    hit: Tensor, noise: Tensor, *, ratio: float = 0.6, masking: str = "complement"
) -> ImageMask:
    """Hide image patches by chance, with the hidden points or where points stay visible.

    Patches are sorted by hit + noise / 2: ascending for "uniform", so that patches of hidden points
    are hidden too; descending for "complement", so that they stay visible; by noise alone for
    "random". ceil(L (1 - ratio)) are kept.

    Args:
        hit: (N, L), 1 where a hidden point falls on a patch, ``patches_hit``.
        noise: (N, L) drawn from U(0, 1).
        ratio: Share that is hidden, from 0 to below 1.
        masking: One of ``MASKINGS``.

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.points import image_mask
        >>> hit, noise = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.1, 0.2]])
        >>> image_mask(hit, noise, ratio=0.5, masking="uniform").mask
        tensor([[1., 0.]])

    Source: Chen et al. 2023 (PiMAE); as in Gaussian2Scene 2025.
    """
    expect_choice("masking", masking, MASKINGS)
    expect_pictures(hit=(hit, "N L"), noise=(noise, "N L"))
    if not 0 <= ratio < 1:
        raise UserError(f"ratio is {ratio}; expected from 0 to below 1.")
    patches = hit.shape[1]
    keys = noise if masking == "random" else hit + noise / 2
    order = keys.argsort(dim=1, descending=masking == "complement", stable=True)
    restore = order.argsort(dim=1)
    visible = -int(-(patches * (1 - ratio)) // 1)
    mask = torch.ones_like(hit)
    mask[:, :visible] = 0
    return ImageMask(kept=order[:, :visible], mask=mask.gather(1, restore), restore=restore)
