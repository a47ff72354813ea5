"""Gaussians in space drawn as an image, differentiably: projection, sorting, compositing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.losses.restoration.inputs import expect_pictures

__all__ = ["Projected", "Rendered", "covariances", "project_gaussians", "render"]


def covariances(quaternions: Tensor, scales: Tensor) -> Tensor:
    """R S S' R' of Gaussians: quaternions (w, x, y, z) of any length, scales along their axes.

    Args:
        quaternions: (M, 4).
        scales: (M, 3), above 0.

    Returns:
        (M, 3, 3).

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.splatting import covariances
        >>> one = torch.tensor([[2.0, 0.0, 0.0, 0.0]])
        >>> covariances(one, torch.tensor([[1.0, 2.0, 3.0]]))[0].diagonal()
        tensor([1., 4., 9.])

    Source: Kerbl et al. 2023, equation 6.
    """
    expect_pictures(quaternions=(quaternions, "M 4"), scales=(scales, "M 3"))
    w, x, y, z = (quaternions / quaternions.norm(dim=1, keepdim=True)).unbind(dim=1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], dim=1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], dim=1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], dim=1),
    ]
    turned = torch.stack(rows, dim=1) * scales[:, None]
    return turned @ turned.transpose(1, 2)


@dataclass(frozen=True, kw_only=True)
class Projected:
    """Gaussians as they appear in an image.

    Attributes:
        means: (M, 2) columns and rows.
        conics: (M, 3) inverse covariance: xx, xy, yy.
        depths: (M,) distance along the camera's axis.
        radii: (M, 2) whole pixels that they reach; 0 for those that are not drawn.
    """

    means: Tensor
    conics: Tensor
    depths: Tensor
    radii: Tensor


def project_gaussians(
    means: Tensor,
    covariance: Tensor,
    view: Tensor,
    intrinsics: Tensor,
    height: int,
    width: int,
    *,
    dilation: float = 0.3,
    near: float = 0.01,
) -> Projected:
    """Project Gaussians by the local affine approximation of the camera.

        t = W mean + d,  J = [[fx/z, 0, -fx x/z^2], [0, fy/z, -fy y/z^2]],
        S = J W Cov W' J' + dilation I,  conic = S^-1

    x/z and y/z in J are cut to 1.3 of the field of view beyond the image. Gaussians at or before
    ``near``, or wholly outside the image by their radius ceil(3.33 sqrt(S_ii)), are not drawn.

    Args:
        means: (M, 3).
        covariance: (M, 3, 3).
        view: (4, 4) from the world into the camera, W and d.
        intrinsics: (3, 3) K.
        height: Of the image.
        width: Of the image.
        dilation: Pixels squared added to both variances, at least 0.
        near: Least depth that is drawn.

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.splatting import project_gaussians
        >>> camera = torch.tensor([[4.0, 0.0, 2.0], [0.0, 4.0, 2.0], [0.0, 0.0, 1.0]])
        >>> mean = torch.tensor([[0.0, 0.0, 2.0]])
        >>> project_gaussians(mean, torch.eye(3)[None], torch.eye(4), camera, 4, 4).means
        tensor([[2., 2.]])

    Source: Zwicker et al. 2001 (EWA splatting); Kerbl et al. 2023; bounds as in gsplat.
    """
    expect_pictures(
        means=(means, "M 3"),
        covariance=(covariance, "M 3 3"),
        view=(view, "4 4"),
        intrinsics=(intrinsics, "3 3"),
    )
    seen = means @ view[:3, :3].T + view[:3, 3]
    turned = view[:3, :3] @ covariance @ view[:3, :3].T
    x, y, z = seen.unbind(dim=1)
    front = z > near
    z = torch.where(front, z, torch.ones_like(z))
    fx, fy, cx, cy = (intrinsics[place] for place in ((0, 0), (1, 1), (0, 2), (1, 2)))
    x_over_z = _cut(x / z, width, fx, cx) * z
    y_over_z = _cut(y / z, height, fy, cy) * z
    none = torch.zeros_like(z)
    jacobian = torch.stack(
        [
            torch.stack([fx / z, none, -fx * x_over_z / z.square()], dim=1),
            torch.stack([none, fy / z, -fy * y_over_z / z.square()], dim=1),
        ],
        dim=1,
    )
    flat = jacobian @ turned @ jacobian.transpose(1, 2)
    flat = flat + dilation * torch.eye(2, dtype=flat.dtype, device=flat.device)
    a, b, c = flat[:, 0, 0], flat[:, 0, 1], flat[:, 1, 1]
    determinant = a * c - b * b
    conics = torch.stack([c, -b, a], dim=1) / determinant[:, None]
    places = torch.stack([fx * x / z + cx, fy * y / z + cy], dim=1)
    radii = (3.33 * torch.stack([a, c], dim=1).detach().sqrt()).ceil()
    sides = places.new_tensor([width, height])
    inside = ((places + radii > 0) & (places - radii < sides)).all(dim=1)
    drawn = front & inside & (determinant > 0)
    return Projected(
        means=places,
        conics=conics,
        depths=seen[:, 2],
        radii=torch.where(drawn[:, None], radii, torch.zeros_like(radii)).int(),
    )


def _cut(ratio: Tensor, side: int, focal: Tensor, centre: Tensor) -> Tensor:
    """x/z cut to 1.3 of the field of view on both sides of the principal point."""
    reach = 0.3 * 0.5 * side / focal
    low = -(centre / focal + reach)
    high = (side - centre) / focal + reach
    return torch.minimum(torch.maximum(ratio, low), high)


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A drawn image.

    Attributes:
        image: (height, width, C).
        alpha: (height, width) how much of each pixel is covered.
        depth: (height, width) depths weighted as colours are.
    """

    image: Tensor
    alpha: Tensor
    depth: Tensor


def render(
    projected: Projected,
    opacities: Tensor,
    colours: Tensor,
    height: int,
    width: int,
    background: Tensor | None = None,
) -> Rendered:
    """Composite Gaussians from front to back at each pixel's centre.

        alpha_i = min(0.99, o_i exp(-(a dx^2 + c dy^2) / 2 - b dx dy)), dropped below 1/255
        C = sum_i c_i alpha_i prod_{j<i} (1 - alpha_j) + background prod_j (1 - alpha_j)

    Args:
        projected: From ``project_gaussians``.
        opacities: (M,) from 0 to 1.
        colours: (M, C).
        height: Of the image.
        width: Of the image.
        background: (C,); None for black.

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.splatting import Projected, render
        >>> one = Projected(means=torch.tensor([[0.5, 0.5]]), conics=torch.ones(1, 3),
        ...     depths=torch.ones(1), radii=torch.ones(1, 2).int())
        >>> render(one, torch.tensor([0.5]), torch.ones(1, 3), 1, 1).image.flatten()
        tensor([0.5000, 0.5000, 0.5000])

    Source: Kerbl et al. 2023, equation 3.
    """
    expect_pictures(opacities=(opacities, "M"), colours=(colours, "M C"))
    if height < 1 or width < 1:
        raise UserError(f"An image has at least 1 pixel a side; found {height} x {width}.")
    kept = (projected.radii > 0).all(dim=1).nonzero().flatten()
    order = kept[projected.depths[kept].detach().argsort(stable=True)]
    rows = torch.arange(height, dtype=colours.dtype, device=colours.device) + 0.5
    columns = torch.arange(width, dtype=colours.dtype, device=colours.device) + 0.5
    dx = columns.view(1, 1, -1) - projected.means[order, 0].view(-1, 1, 1)
    dy = rows.view(1, -1, 1) - projected.means[order, 1].view(-1, 1, 1)
    a, b, c = (projected.conics[order, place].view(-1, 1, 1) for place in range(3))
    exponent = (a * dx.square() + c * dy.square()) / 2 + b * dx * dy
    alpha = (opacities[order].view(-1, 1, 1) * (-exponent).exp()).clamp(max=0.99)
    alpha = torch.where((alpha >= 1 / 255) & (exponent >= 0), alpha, torch.zeros_like(alpha))
    left = torch.cat([torch.ones_like(alpha[:1]), 1 - alpha]) if len(alpha) else None
    if left is None:
        through = colours.new_ones(1, height, width)
    else:
        through = left.cumprod(dim=0)
    weights = alpha * through[:-1]
    image = torch.einsum("mhw,mc->hwc", weights, colours[order])
    if background is not None:
        image = image + through[-1][:, :, None] * background
    depth = torch.einsum("mhw,m->hw", weights, projected.depths[order])
    return Rendered(image=image, alpha=1 - through[-1], depth=depth)
