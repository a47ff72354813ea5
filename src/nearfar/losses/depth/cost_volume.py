"""Plane sweep: how well moved features match at each of many depths, and where that can be trusted.

Depth bins ascend. Cells of the volume that no source frame sees are missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from nearfar.losses.depth.geometry import backproject, project, warp
from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.inputs import expect_choice, expect_number, expect_pictures
from nearfar.ranges import above, at_least

__all__ = [
    "SPACINGS",
    "CostVolume",
    "cost_volume",
    "depth_bins",
    "depths_agree",
    "tracked_range",
]

SPACINGS = ("linear", "inverse", "log")
"""How depth bins may lie between the nearest and the farthest depth."""


def depth_bins(near: float, far: float, bins: int, spacing: str = "linear") -> Tensor:
    """Ascending depths from ``near`` to ``far``: evenly in depth, in 1 / depth or in log depth.

    Args:
        near: Least depth, above 0.
        far: Largest depth, above ``near``.
        bins: How many, at least 2.
        spacing: One of ``SPACINGS``.

    Returns:
        (bins,) float64.

    Example:
        >>> from nearfar.losses.depth.cost_volume import depth_bins
        >>> depth_bins(1.0, 4.0, 3, "log")
        tensor([1., 2., 4.], dtype=torch.float64)

    Source: Watson et al. 2021 (ManyDepth); Fu et al. 2018 (logarithmic).
    """
    expect_number(Annotated[float, above(0)], near=near)
    expect_number(Annotated[float, above(near)], far=far)
    expect_number(Annotated[int, at_least(2)], bins=bins)
    expect_choice("spacing", spacing, SPACINGS)
    if spacing == "linear":
        return torch.linspace(near, far, bins, dtype=torch.float64)
    if spacing == "inverse":
        return torch.linspace(1 / far, 1 / near, bins, dtype=torch.float64).reciprocal().flip(0)
    shares = torch.linspace(0, 1, bins, dtype=torch.float64)
    return near * (far / near) ** shares


@dataclass(frozen=True, kw_only=True)
class CostVolume:
    """What a plane sweep found.

    Attributes:
        cost: (N, D, H, W) mean L1 over the frames that see a cell; missing cells hold the largest
            cost of their pixel.
        missing: (N, D, H, W) bool, cells that no frame sees.
        confident: (N, H, W) bool, pixels of which every cell is seen.
        disparity: (N, H, W) 1 / depth of the cheapest cell, missing cells counting as 100.
    """

    cost: Tensor
    missing: Tensor
    confident: Tensor
    disparity: Tensor

    @property
    def trusted(self) -> Tensor:
        """(N, D, H, W) the cost where the pixel is confident, else 0."""
        return self.cost * self.confident[:, None]


@full_precision
@torch.no_grad()
def cost_volume(
    features: Tensor,
    sources: Tensor,
    motions: Tensor,
    intrinsics: Tensor,
    inverse: Tensor,
    bins: Tensor,
) -> CostVolume:
    """Compare features with those of other frames, moved as if the scene lay at each depth.

    A cell counts for a frame where it is seen at least 2 pixels inside the frame's borders and
    where its pixel is at least 2 pixels inside the target's. A frame whose motion sums to 0 is
    missing. Of a cell the cost is the sum over frames of mean_c |warped - features|, divided by the
    number of frames of a cost above 0 (1e-7 added). Nothing receives gradient.

    Args:
        features: (N, C, H, W) of the target, sides of at least 5.
        sources: (N, F, C, H, W) of F other frames.
        motions: (N, F, 4, 4) from the target camera into each frame's; zeros for no frame.
        intrinsics: (N, 4, 4) K at the size of the features.
        inverse: (N, 4, 4) K^-1.
        bins: (D,) depths, ascending, such as ``depth_bins`` gives.

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.cost_volume import cost_volume
        >>> maps, eye, bins = torch.rand(1, 4, 8, 8), torch.eye(4)[None], torch.tensor([1.0, 2.0])
        >>> found = cost_volume(maps, maps[None], eye[None], eye, eye, bins)
        >>> bool(found.cost[0, :, 4, 4].max() < 1e-5)
        True

    Source: Watson et al. 2021, "The Temporal Opportunist", section 3.2, and the authors' code.
    """
    expect_pictures(
        features=(features, "N C H W"),
        sources=(sources, "N F C H W"),
        motions=(motions, "N F 4 4"),
        intrinsics=(intrinsics, "N 4 4"),
        inverse=(inverse, "N 4 4"),
        bins=(bins.to(features), "D"),
    )
    samples, _, height, width = features.shape
    depths = bins.to(features)
    planes = depths.view(1, -1, 1, 1).expand(samples, -1, height, width)
    points = torch.stack(
        [backproject(planes[:, d : d + 1], inverse) for d in range(len(depths))], dim=1
    )
    cost = features.new_zeros(samples, len(depths), height, width)
    counts = torch.zeros_like(cost)
    inside = _inside_target(features)
    for frame in range(sources.shape[1]):
        motion = motions[:, frame]
        there = motion.flatten(1).sum(dim=1) != 0
        for d in range(len(depths)):
            grid = project(points[:, d], intrinsics, motion, height, width)
            warped = warp(sources[:, frame], grid, padding="zeros")
            seen = _seen(grid, height, width) & inside & there.view(-1, 1, 1)
            difference = (warped - features).abs().mean(dim=1)
            difference = torch.where(seen, difference, torch.zeros_like(difference))
            cost[:, d] += difference
            counts[:, d] += (difference > 0).to(cost)
    cost = cost / (counts + 1e-7)
    missing = cost == 0
    confident = (cost > 0).all(dim=1)
    filled = torch.where(missing, cost.amax(dim=1, keepdim=True), cost)
    cheapest = torch.where(missing, torch.full_like(cost, 100.0), cost).argmin(dim=1)
    return CostVolume(
        cost=filled, missing=missing, confident=confident, disparity=1 / depths[cheapest]
    )


def _inside_target(features: Tensor) -> Tensor:
    """(H, W) bool: pixels at least 2 inside the borders."""
    inside = torch.zeros(features.shape[2:], dtype=torch.bool, device=features.device)
    inside[2:-2, 2:-2] = True
    return inside


def _seen(grid: Tensor, height: int, width: int) -> Tensor:
    """(N, H, W) bool: places at least 2 pixels inside the borders of the frame."""
    x = (grid[..., 0] / 2 + 0.5) * (width - 1)
    y = (grid[..., 1] / 2 + 0.5) * (height - 1)
    return (x >= 2) & (x <= width - 2) & (y >= 2) & (y <= height - 2)


@full_precision
def depths_agree(first: Tensor, second: Tensor) -> Tensor:
    """Where two depths differ by less than a factor of 2: (a - b) / b < 1 and (b - a) / a < 1.

    Args:
        first: (N, H, W) depths, above 0.
        second: (N, H, W).

    Returns:
        (N, H, W) bool.

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.cost_volume import depths_agree
        >>> depths_agree(torch.tensor([[[1.0, 1.0]]]), torch.tensor([[[1.9, 2.0]]]))
        tensor([[[ True, False]]])

    Source: Watson et al. 2021, section 3.4.
    """
    expect_pictures(first=(first, "N H W"), second=(second, "N H W"))
    return ((first - second) / second < 1) & ((second - first) / first < 1)


def tracked_range(
    tracked: tuple[float, float], depth: Tensor, *, momentum: float = 0.99, least: float = 0.1
) -> tuple[float, float]:
    """The range of depth bins after one step: a running mean of what a single-frame network sees.

        low = max(least, 0.9 mean_n min depth_n),  high = 1.1 mean_n max depth_n
        tracked = momentum tracked + (1 - momentum) (low, high)

    Args:
        tracked: The range so far; the authors begin at (0.1, 10).
        depth: (N, 1, H, W) of the single-frame network.
        momentum: Share that stays, from 0 to 1.
        least: Floor of the nearest depth.

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.cost_volume import tracked_range
        >>> tracked_range((0.1, 10.0), torch.full((1, 1, 2, 2), 10.0), momentum=0.5)
        (4.55, 10.5)

    Source: Watson et al. 2021, section 3.3.
    """
    expect_pictures(depth=(depth, "N 1 H W"))
    values = depth.detach().flatten(1)
    low = max(least, 0.9 * float(values.amin(dim=1).mean()))
    high = 1.1 * float(values.amax(dim=1).mean())
    return (
        momentum * tracked[0] + (1 - momentum) * low,
        momentum * tracked[1] + (1 - momentum) * high,
    )
