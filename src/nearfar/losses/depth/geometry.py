"""The pinhole camera: disparity to depth, motion to a matrix, pixels to points and back, warping.

Pixels are numbered from 0, u along columns and v along rows. A motion T maps points of the target
camera into the source camera.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from nearfar.errors import UserError
from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.inputs import expect_choice, expect_number, expect_pictures
from nearfar.ranges import above

__all__ = ["backproject", "disparity_to_depth", "pose_matrix", "project", "view", "warp"]


@full_precision
def disparity_to_depth(
    output: Tensor, *, near: float = 0.1, far: float = 100.0
) -> tuple[Tensor, Tensor]:
    """Disparity and depth of a network's output.

        u = 1 / far + (1 / near - 1 / far) output,  depth = 1 / u

    Args:
        output: (N, ...) from 0 (far) to 1 (near).
        near: Least depth, above 0.
        far: Largest depth, above ``near``.

    Returns:
        u and depth, of the output's shape.

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.geometry import disparity_to_depth
        >>> disparity_to_depth(torch.tensor([0.0, 1.0]), near=0.1, far=100.0)[1]
        tensor([100.0000,   0.1000])

    Source: Godard et al. 2019, "Digging Into Self-Supervised Monocular Depth Estimation".
    """
    expect_pictures(output=(output, " ".join(f"A{axis}" for axis in range(output.ndim))))
    expect_number(Annotated[float, above(0)], near=near)
    expect_number(Annotated[float, above(near)], far=far)
    disparity = 1 / far + (1 / near - 1 / far) * output
    return disparity, 1 / disparity


@full_precision
def pose_matrix(axis_angle: Tensor, translation: Tensor, *, invert: bool = False) -> Tensor:
    """The motion of a rotation and a translation as a matrix.

    With theta = |a| and axis a / (theta + 1e-7), R is Rodrigues' rotation. The matrix is
    Trans(t) R, or its inverse R' Trans(-t).

    Args:
        axis_angle: (N, 3) axis times angle in radians.
        translation: (N, 3).
        invert: Whether the motion was seen backwards in time.

    Returns:
        (N, 4, 4).

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.geometry import pose_matrix
        >>> pose_matrix(torch.zeros(1, 3), torch.tensor([[1.0, 2.0, 3.0]]))[0, :3, 3]
        tensor([1., 2., 3.])

    Source: Rodrigues 1840; as in Godard et al. 2019.
    """
    expect_pictures(axis_angle=(axis_angle, "N 3"), translation=(translation, "N 3"))
    angle = axis_angle.norm(dim=1, keepdim=True)
    axis = axis_angle / (angle + 1e-7)
    cosine, sine = angle.cos()[:, :, None], angle.sin()[:, :, None]
    outer = axis[:, :, None] * axis[:, None, :]
    x, y, z = axis.unbind(dim=1)
    none = torch.zeros_like(x)
    cross = torch.stack([none, -z, y, z, none, -x, -y, x, none], dim=1).view(-1, 3, 3)
    identity = torch.eye(3, dtype=axis.dtype, device=axis.device)
    rotation = outer * (1 - cosine) + identity * cosine + cross * sine
    if invert:
        rotation = rotation.transpose(1, 2)
        shift = -(rotation @ translation[:, :, None])
    else:
        shift = translation[:, :, None]
    top = torch.cat([rotation, shift], dim=2)
    last = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(len(top), 1, 4)
    return torch.cat([top, last], dim=1)


@full_precision
def backproject(depth: Tensor, inverse: Tensor, *, corner: Tensor | None = None) -> Tensor:
    """The points that the pixels of a depth map see: X = depth K^-1 (u, v, 1).

    Args:
        depth: (N, 1, H, W).
        inverse: (N, 4, 4) or (N, 3, 3), the inverse of the intrinsics K.
        corner: (N, 2) column and row of the first pixel, where the image was cropped; None for 0.

    Returns:
        (N, 4, H W) homogeneous points, pixels row by row.

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.geometry import backproject
        >>> backproject(torch.full((1, 1, 1, 2), 3.0), torch.eye(4)[None])[0, :, 1]
        tensor([3., 0., 3., 1.])

    Source: Zhou et al. 2017; Godard et al. 2019.
    """
    expect_pictures(depth=(depth, "N 1 H W"), inverse=(inverse, "N R R"))
    height, width = depth.shape[2:]
    rows = torch.arange(height, dtype=depth.dtype, device=depth.device)
    columns = torch.arange(width, dtype=depth.dtype, device=depth.device)
    v, u = torch.meshgrid(rows, columns, indexing="ij")
    pixels = torch.stack([u.flatten(), v.flatten(), torch.ones_like(u).flatten()])
    pixels = pixels.expand(len(depth), -1, -1)
    if corner is not None:
        expect_pictures(depth=(depth, "N 1 H W"), corner=(corner, "N 2"))
        pixels = pixels + pad(corner, (0, 1))[:, :, None]
    points = depth.flatten(2) * (inverse[:, :3, :3] @ pixels)
    return torch.cat([points, torch.ones_like(points[:, :1])], dim=1)


@full_precision
def project(
    points: Tensor,
    intrinsics: Tensor,
    motion: Tensor,
    height: int,
    width: int,
    *,
    corner: Tensor | None = None,
) -> Tensor:
    """Where points appear in a moved camera, as the grid that ``warp`` samples.

        p = (K T)[:3] X,  (u, v) = p[:2] / (p[2] + 1e-7)
        g = 2 (u / (W - 1) - 1/2, v / (H - 1) - 1/2)

    Args:
        points: (N, 4, H W) homogeneous.
        intrinsics: (N, 4, 4) K.
        motion: (N, 4, 4) T, such as ``pose_matrix`` gives.
        height: H, at least 2.
        width: W, at least 2.
        corner: (N, 2) column and row of the image's first pixel, subtracted; None for 0.

    Returns:
        (N, H, W, 2), x first; from -1 to 1 inside the image.

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.geometry import backproject, project
        >>> eye = torch.eye(4)[None]
        >>> project(backproject(torch.ones(1, 1, 2, 2), eye), eye, eye, 2, 2)[0, 1, 1]
        tensor([1.0000, 1.0000])

    Source: Zhou et al. 2017; Godard et al. 2019.
    """
    expect_pictures(
        points=(points, "N 4 P"), intrinsics=(intrinsics, "N 4 4"), motion=(motion, "N 4 4")
    )
    if height < 2 or width < 2 or height * width != points.shape[2]:
        raise UserError(
            f"{points.shape[2]} points do not fill {height} x {width} pixels, at least 2 a side."
        )
    seen = (intrinsics @ motion)[:, :3] @ points
    pixels = seen[:, :2] / (seen[:, 2:3] + 1e-7)
    if corner is not None:
        pixels = pixels - corner[:, :, None]
    sides = pixels.new_tensor([width - 1, height - 1]).view(1, 2, 1)
    grid = 2 * (pixels / sides - 0.5)
    return grid.view(-1, 2, height, width).permute(0, 2, 3, 1)


@full_precision
def warp(source: Tensor, grid: Tensor, *, padding: str = "border") -> Tensor:
    """The image sampled at a grid, bilinearly; -1 and 1 are the centres of the outermost pixels.

    Args:
        source: (N, C, H, W).
        grid: (N, h, w, 2), x first.
        padding: "border" repeats the outermost pixels, "zeros" is black outside.

    Returns:
        (N, C, h, w).

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.geometry import warp
        >>> warp(torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[[0.0, 0.0]]]]))
        tensor([[[[0.5000]]]])

    Source: Jaderberg et al. 2015.
    """
    expect_pictures(source=(source, "N C H W"), grid=(grid, "N h w 2"))
    expect_choice("padding", padding, ("border", "zeros"))
    return grid_sample(source, grid, padding_mode=padding, align_corners=True)


@full_precision
def view(
    source: Tensor, depth: Tensor, intrinsics: Tensor, inverse: Tensor, motion: Tensor
) -> Tensor:
    """The target image made of a source image by depth and motion: backproject, project, warp.

    Args:
        source: (N, C, H, W).
        depth: (N, 1, H, W) of the target.
        intrinsics: (N, 4, 4) K.
        inverse: (N, 4, 4) K^-1.
        motion: (N, 4, 4) from the target camera into the source camera.

    Returns:
        (N, C, H, W).

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.geometry import view
        >>> eye, image = torch.eye(4)[None], torch.rand(1, 3, 4, 5)
        >>> made = view(image, torch.ones(1, 1, 4, 5), eye, eye, eye)
        >>> bool(torch.allclose(made, image, atol=1e-4))
        True

    Source: Zhou et al. 2017; Godard et al. 2019.
    """
    height, width = depth.shape[2:]
    points = backproject(depth, inverse)
    return warp(source, project(points, intrinsics, motion, height, width))
