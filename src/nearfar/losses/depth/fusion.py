"""ProDepth: where the scene moves, the cost volume is mixed with the depth of a single frame."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.inputs import expect_number, expect_pictures
from nearfar.ranges import above, unit_interval

__all__ = ["fused_cost", "gaussian_depth", "static_weight"]


@full_precision
def static_weight(
    single: Tensor, volume: Tensor, *, near: float = 0.1, far: float = 100.0, rate: float = 2 / 3
) -> Tensor:
    """How likely a pixel stands still: near 1 where two depths agree, near 0 where they do not.

        w = exp(-rate |D_v - D_s|) exp(-rate |u_v - u_s|),  u = 1/far + (1/near - 1/far) o,  D = 1/u

    Args:
        single: (N, 1, H, W) network output of the single frame in (0, 1); receives no gradient.
        volume: (N, 1, H, W) output read out of the cost volume; receives no gradient.
        near: Least depth, above 0.
        far: Largest depth, above ``near``.
        rate: How fast the weight falls, above 0.

    Returns:
        (N, 1, H, W) in (0, 1].

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.fusion import static_weight
        >>> output = torch.full((1, 1, 1, 1), 0.5)
        >>> static_weight(output, output).item()
        1.0

    Source: Woo et al. 2024 (ProDepth), the authors' code.
    """
    expect_pictures(single=(single, "N 1 H W"), volume=(volume, "N 1 H W"))
    expect_number(Annotated[float, above(0)], near=near, rate=rate)
    expect_number(Annotated[float, above(near)], far=far)
    slope = 1 / near - 1 / far
    first = 1 / far + slope * single.detach()
    second = 1 / far + slope * volume.detach()
    apart = (1 / second - 1 / first).abs() + (second - first).abs()
    return (-rate * apart).exp()


@full_precision
def gaussian_depth(bins: Tensor, depth: Tensor, sigma: Tensor) -> Tensor:
    """The density of a normal depth at each bin.

    Args:
        bins: (D,) depths.
        depth: (N, 1, H, W) mean.
        sigma: (N, 1, H, W) standard deviation, above 0.

    Returns:
        (N, D, H, W).

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.fusion import gaussian_depth
        >>> one = torch.ones(1, 1, 1, 1)
        >>> gaussian_depth(torch.tensor([1.0]), one, one)
        tensor([[[[0.3989]]]])

    Source: Woo et al. 2024 (ProDepth).
    """
    expect_pictures(depth=(depth, "N 1 H W"), sigma=(sigma, "N 1 H W"))
    standard = (bins.to(depth).view(1, -1, 1, 1) - depth) / sigma
    height: Tensor = sigma * (2 * torch.pi) ** 0.5
    return (-standard.square() / 2).exp() / height


@full_precision
def fused_cost(cost: Tensor, single: Tensor, weight: Tensor, *, threshold: float = 0.4) -> Tensor:
    """A cost volume in which moving pixels follow the single frame's depth.

    With nrm(x) = (x - min) / (max - min + 1e-7) over the bins of a pixel, b = [w > threshold]:

        p_m = nrm(softmax(-nrm(cost))),  p_s = nrm(single),
        p = b p_m + (1 - b) p_m^w p_s^(1 - w),
        fused = (max p - p) / (max p - min p + 1e-7) (max cost - min cost) + min cost

    Args:
        cost: (N, D, H, W) of the plane sweep, missing cells filled.
        single: (N, D, H, W) density of the single frame's depth at each bin, ``gaussian_depth``.
        weight: (N, 1, H, W) ``static_weight`` at the same size.
        threshold: Weight above which a pixel stands still, from 0 to 1.

    Returns:
        (N, D, H, W).

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.fusion import fused_cost
        >>> cost = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)
        >>> fused_cost(cost, cost, torch.zeros(1, 1, 1, 1)).flatten().round(decimals=4)
        tensor([1., 0.])

    Source: Woo et al. 2024, "ProDepth", equations 5 to 8 and the authors' code.
    """
    expect_pictures(cost=(cost, "N D H W"), single=(single, "N D H W"), weight=(weight, "N 1 H W"))
    expect_number(Annotated[float, unit_interval()], threshold=threshold)
    multi = _normalised((-_normalised(cost)).softmax(dim=1))
    alone = _normalised(single)
    mixed = multi.pow(weight) * alone.pow(1 - weight)
    shares = torch.where(weight > threshold, multi, mixed)
    low, high = cost.amin(dim=1, keepdim=True), cost.amax(dim=1, keepdim=True)
    most, least = shares.amax(dim=1, keepdim=True), shares.amin(dim=1, keepdim=True)
    return (most - shares) / (most - least + 1e-7) * (high - low) + low


def _normalised(values: Tensor) -> Tensor:
    low, high = values.amin(dim=1, keepdim=True), values.amax(dim=1, keepdim=True)
    return (values - low) / (high - low + 1e-7)
