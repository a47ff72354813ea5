"""Voxels of scenes: hashes, orders along curves, attention along them, features by level."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from nearfar.errors import UserError

__all__ = [
    "RootMeanSquareNorm",
    "hilbert_codes",
    "level_features",
    "morton_codes",
    "voxel_hash",
    "window_attention",
]

_PRIME = 1099511628211
_START = 14695981039346656037


def voxel_hash(voxels: Tensor) -> Tensor:
    """FNV64 of each row: for each column multiply by the prime, then xor the column.

    Args:
        voxels: (M, D) int64.

    Returns:
        (M,) uint64.

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.scenes import voxel_hash
        >>> voxel_hash(torch.tensor([[0, 0]])).item() == voxel_hash(torch.tensor([[0, 1]])).item()
        False

    Source: Fowler, Noll and Vo 1991; as in Pointcept's grid sampling.
    """
    _expect_voxels(voxels)
    columns = voxels.cpu().numpy().astype(np.uint64)
    found = np.full(len(columns), _START, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for column in columns.T:
            found = (found * np.uint64(_PRIME)) ^ column
    return torch.from_numpy(found)


def morton_codes(voxels: Tensor, scenes: Tensor | None = None, depth: int = 16) -> Tensor:
    """Places along the z-order curve; x is the highest bit of each triple.

    Args:
        voxels: (M, 3) int64 from 0 to 2^depth - 1; swap the columns for another order.
        scenes: (M,) int64 scene numbers, in the bits above 3 depth; None for one scene.
        depth: Bits of each axis, at most 16.

    Returns:
        (M,) int64.

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.scenes import morton_codes
        >>> morton_codes(torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 3]]))
        tensor([4, 2, 9])

    Source: Morton 1966.
    """
    _expect_voxels(voxels, depth)
    code = torch.zeros(len(voxels), dtype=torch.int64, device=voxels.device)
    for bit in range(depth):
        for axis in range(3):
            code |= ((voxels[:, axis] >> bit) & 1) << (3 * bit + 2 - axis)
    return code if scenes is None else code | (scenes << (3 * depth))


def hilbert_codes(voxels: Tensor, scenes: Tensor | None = None, depth: int = 16) -> Tensor:
    """Places along Hilbert's curve, on which neighbours always touch.

    Args:
        voxels: (M, 3) int64 from 0 to 2^depth - 1.
        scenes: (M,) int64 scene numbers, in the bits above 3 depth; None for one scene.
        depth: Bits of each axis, at most 16.

    Returns:
        (M,) int64.

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.scenes import hilbert_codes
        >>> cells = torch.cartesian_prod(*[torch.arange(2)] * 3)
        >>> sorted(hilbert_codes(cells, depth=1).tolist())
        [0, 1, 2, 3, 4, 5, 6, 7]

    Source: Skilling 2004, "Programming the Hilbert curve".
    """
    _expect_voxels(voxels, depth)
    axes = [voxels[:, axis].clone() for axis in range(3)]
    for bit in range(depth - 1, 0, -1):
        below = (1 << bit) - 1
        for axis in range(3):
            is_set = (axes[axis] >> bit) & 1
            exchanged = (axes[0] ^ axes[axis]) & below
            axes[0] = torch.where(is_set.bool(), axes[0] ^ below, axes[0] ^ exchanged)
            if axis:
                axes[axis] = torch.where(is_set.bool(), axes[axis], axes[axis] ^ exchanged)
    axes[1] = axes[1] ^ axes[0]
    axes[2] = axes[2] ^ axes[1]
    turn = torch.zeros_like(axes[0])
    for bit in range(depth - 1, 0, -1):
        turn = torch.where(((axes[2] >> bit) & 1).bool(), turn ^ ((1 << bit) - 1), turn)
    axes = [axis ^ turn for axis in axes]
    return morton_codes(torch.stack(axes, dim=1), scenes, depth)


def _expect_voxels(voxels: Tensor, depth: int | None = None) -> None:
    if voxels.ndim != 2 or voxels.dtype != torch.int64:
        raise UserError(f"Expected voxels (M, D) of int64; found {tuple(voxels.shape)}.")
    if depth is None or not len(voxels):
        return
    if voxels.shape[1] != 3 or not 1 <= depth <= 16:
        raise UserError(f"Curves have 3 axes of 1 to 16 bits; found {voxels.shape[1]} of {depth}.")
    if int(voxels.min()) < 0 or int(voxels.max()) >= 1 << depth:
        raise UserError(f"Voxels must lie from 0 to {(1 << depth) - 1}; some do not.")


class RootMeanSquareNorm(nn.Module):
    """x / (rms + eps) scale, eps outside the root.

    Args:
        width: Channels.
        eps: Added to the root mean square.

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.scenes import RootMeanSquareNorm
        >>> RootMeanSquareNorm(2, eps=0.0)(torch.tensor([[3.0, 3.0]]))
        tensor([[1., 1.]], grad_fn=<MulBackward0>)

    Source: Zhang and Sennrich 2019; as in Masked Scene Modeling.
    """

    def __init__(self, width: int, eps: float = 1e-4) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to the same shape."""
        size = x.square().mean(dim=-1, keepdim=True).sqrt()
        return x / (size + self.eps) * self.scale


def window_attention(qkv: Tensor, offsets: Sequence[int], window: int) -> Tensor:
    """Attention of each token to those near it along the order, in its own scene.

    Token i sees token j if |i - j| <= window // 2 and both are of one scene.

    Args:
        qkv: (M, 3, heads, D) queries, keys and values of the tokens of all scenes, in order.
        offsets: Where scenes begin, and M: (0, ..., M).
        window: At least 1.

    Returns:
        (M, heads, D).

    Raises:
        UserError: If offsets do not ascend from 0 to M.

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.scenes import window_attention
        >>> window_attention(torch.ones(4, 3, 1, 2), (0, 2, 4), 2).shape
        torch.Size([4, 1, 2])

    Source: Hermosilla et al. 2025 (Masked Scene Modeling).
    """
    ends = [int(offset) for offset in offsets]
    if qkv.ndim != 4 or qkv.shape[1] != 3 or window < 1:
        raise UserError(f"Expected tokens (M, 3, heads, D); found {tuple(qkv.shape)}.")
    if len(ends) < 2 or ends[0] != 0 or ends[-1] != len(qkv) or ends != sorted(ends):
        raise UserError(f"offsets are {ends}; expected to ascend from 0 to {len(qkv)}.")
    found = []
    for start, stop in pairwise(ends):
        query, key, value = qkv[start:stop].permute(1, 2, 0, 3)
        places = torch.arange(stop - start, device=qkv.device)
        near = (places[:, None] - places[None, :]).abs() <= window // 2
        scores = query @ key.transpose(1, 2) / query.shape[2] ** 0.5
        shares = scores.masked_fill(~near, float("-inf")).softmax(dim=2)
        found.append((shares @ value).transpose(0, 1))
    return torch.cat(found)


def level_features(
    points: Tensor,
    offsets: Sequence[int],
    indices: Sequence[Tensor],
    features: Sequence[Tensor],
    *,
    levels: Sequence[int] | None = None,
    mode: str = "trilinear",
    exact: bool = False,
) -> Tensor:
    """Features of each point at every level of a sparse U-Net, side by side.

    At level l the cells of a scene are put into a dense grid of its extent (largest index + 1) with
    zeros where a cell is empty. "trilinear" samples the grid at ((g + 0.5) / 2^l) / extent 2 - 1
    with aligned corners, as the authors do, or with ``exact`` at the cell (g + 0.5) / 2^l - 0.5.
    "nearest" takes the cell floor(g / 2^l).

    Args:
        points: (M, 3) int64 voxels of the points of all scenes.
        offsets: Where the points of each scene end, (scenes,).
        indices: For each level, (K_l, 4) int64: scene and voxel of each cell at that level.
        features: For each level, (K_l, C_l).
        levels: Numbers of these levels, 0 the finest; None for all from 0 on.
        mode: "trilinear" or "nearest".
        exact: Whether a cell's centre gives the cell's own feature.

    Returns:
        (M, sum of C_l).

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.scenes import level_features
        >>> cells = torch.tensor([[0, 0, 0, 0]])
        >>> level_features(torch.zeros(1, 3).long(), [1], [cells], [torch.ones(1, 2)])
        tensor([[1., 1.]])

    Source: Hermosilla et al. 2025 (Masked Scene Modeling), the evaluation.
    """
    if mode not in ("trilinear", "nearest"):
        raise UserError(f"mode is {mode!r}; valid are 'trilinear', 'nearest'.")
    if len(indices) != len(features) or not features:
        raise UserError(f"Found {len(indices)} levels of cells and {len(features)} of features.")
    ends = [0, *(int(end) for end in offsets)]
    if ends[-1] != len(points):
        raise UserError(f"offsets end at {ends[-1]}; expected {len(points)} points.")
    numbers = list(range(len(features))) if levels is None else list(levels)
    if len(numbers) != len(features) or min(numbers) < 0:
        raise UserError(
            f"{len(features)} levels need as many numbers of at least 0; found {numbers}."
        )
    by_level = []
    for level, index, feature in zip(numbers, indices, features, strict=True):
        by_scene = []
        for scene, (start, stop) in enumerate(pairwise(ends)):
            own = index[:, 0] == scene
            by_scene.append(
                _sampled(points[start:stop], index[own, 1:], feature[own], level, mode, exact)
            )
        by_level.append(torch.cat(by_scene))
    return torch.cat(by_level, dim=1)


def _sampled(
    points: Tensor, cells: Tensor, feature: Tensor, level: int, mode: str, exact: bool
) -> Tensor:
    """(M, C) features of one scene's points at one level."""
    extent = cells.amax(dim=0) + 1
    grid = feature.new_zeros(*extent.tolist(), feature.shape[1])
    grid[cells[:, 0], cells[:, 1], cells[:, 2]] = feature
    if mode == "nearest":
        near = (points >> level).minimum(extent - 1)
        return grid[near[:, 0], near[:, 1], near[:, 2]]
    sides = extent.to(feature)
    place = (points.to(feature) + 0.5) / 2**level
    if exact:
        query = (place - 0.5) / (sides - 1).clamp(min=1) * 2 - 1
    else:
        query = place / sides * 2 - 1
    query = query.flip(1).view(1, 1, 1, -1, 3)
    volume = grid.permute(3, 0, 1, 2)[None]
    found = grid_sample(volume, query, mode="bilinear", padding_mode="zeros", align_corners=True)
    return found[0, :, 0, 0].T
