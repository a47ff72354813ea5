"""Displacement fields in pixels, x first: sampling and spreading along them, reversing them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.inputs import expect_pictures

__all__ = ["flow_warp", "reversed_flows", "splat"]


@full_precision
def flow_warp(image: Tensor, flow: Tensor) -> Tensor:
    """The image sampled at p + flow(p), 0 where that place lies more than 0.001 pixels outside.

    Args:
        image: (N, C, H, W), sides of at least 2.
        flow: (N, 2, H, W) pixels along columns (x), then rows (y).

    Returns:
        (N, C, H, W).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.flow import flow_warp
        >>> image = torch.arange(4.0).view(1, 1, 2, 2)
        >>> flow_warp(image, torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2))
        tensor([[[[1., 0.],
                  [3., 0.]]]])

    Source: Sun et al. 2018 (PWC-Net), sampled with aligned corners, so that no flow is identity.
    """
    expect_pictures(image=(image, "N C H W"), flow=(flow, "N 2 H W"))
    height, width = image.shape[2:]
    columns, rows = _places(flow)
    x = 2 * (columns + flow[:, 0]) / max(width - 1, 1) - 1
    y = 2 * (rows + flow[:, 1]) / max(height - 1, 1) - 1
    grid = torch.stack([x, y], dim=3)
    sampled = grid_sample(image, grid, padding_mode="border", align_corners=True)
    inside = grid_sample(
        torch.ones_like(image[:, :1]), grid, padding_mode="zeros", align_corners=True
    )
    return sampled * (inside.detach() >= 0.999)


@full_precision
def splat(values: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Spread values along a flow onto the four pixels around where they arrive.

    From p values arrive at a = p + flow(p) and go to the pixels q of corners floor(a) and
    floor(a) + 1 with the weight exp(-|a - q|^2). Pixels outside are dropped.

    Args:
        values: (N, C, H, W).
        flow: (N, 2, H, W) pixels along columns (x), then rows (y).

    Returns:
        Sums of weighted values (N, C, H, W), and sums of weights (N, 1, H, W).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.flow import splat
        >>> sums, weights = splat(torch.ones(1, 1, 1, 1), torch.zeros(1, 2, 1, 1))
        >>> sums, weights
        (tensor([[[[1.]]]]), tensor([[[[1.]]]]))

    Source: Niklaus and Liu 2020, with the Gaussian weights of Xu et al. 2019; as in SelfDRSC.
    """
    expect_pictures(values=(values, "N C H W"), flow=(flow, "N 2 H W"))
    samples, channels, height, width = values.shape
    columns, rows = _places(flow)
    x, y = columns + flow[:, 0], rows + flow[:, 1]
    left, top = x.detach().floor(), y.detach().floor()
    both = torch.cat([values, torch.ones_like(values[:, :1])], dim=1).flatten(2)
    sums = torch.zeros_like(both)
    for across in (0, 1):
        for down in (0, 1):
            column, row = left + across, top + down
            weight = (-((x - column).square() + (y - row).square())).exp()
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            weight = torch.where(inside, weight, torch.zeros_like(weight)).flatten(1)
            index = (row * width + column).where(inside, torch.zeros_like(row))
            index = index.long().flatten(1)[:, None].expand(samples, channels + 1, -1)
            sums = sums.scatter_add(2, index, both * weight[:, None])
    spread = sums.view(samples, channels + 1, height, width)
    return spread[:, :channels], spread[:, channels:]


@full_precision
def reversed_flows(forward: Tensor, backward: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
    """Flows from a time between two frames back to both, one time for each pixel.

    With A the forward flow F01, spread along t F01 to sums S_A and weights N_A, B the backward flow
    F10, spread along (1 - t) F10, and n = (1 - t) N_A + t N_B:

        F_t0 = ( -(1 - t) t S_A + t^2 S_B ) / n,  F_t1 = ( (1 - t)^2 S_A - t (1 - t) S_B ) / n

    Where n is 0 nothing is divided.

    Args:
        forward: (N, 2, H, W) flow from frame 0 to frame 1.
        backward: (N, 2, H, W) flow from frame 1 to frame 0.
        time: (N, 1, H, W) from 0 to 1.

    Returns:
        F_t0 and F_t1, (N, 2, H, W) each.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.flow import reversed_flows
        >>> still = torch.zeros(1, 2, 3, 3)
        >>> flows = reversed_flows(still, still, torch.full((1, 1, 3, 3), 0.5))
        >>> [bool(flow.any()) for flow in flows]
        [False, False]

    Source: Sim et al. 2021 (XVFI), complementary flow reversal; as in SelfDRSC.
    """
    expect_pictures(
        forward=(forward, "N 2 H W"), backward=(backward, "N 2 H W"), time=(time, "N 1 H W")
    )
    sum_a, weight_a = splat(forward, time * forward)
    sum_b, weight_b = splat(backward, (1 - time) * backward)
    rest = 1 - time
    total = rest * weight_a + time * weight_b
    divisor = torch.where(total.detach() > 0, total, torch.ones_like(total))
    to_first = (-rest * time * sum_a + time * time * sum_b) / divisor
    to_second = (rest * rest * sum_a - time * rest * sum_b) / divisor
    return to_first, to_second


def _places(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Column and row of each pixel, (1, H, W) each."""
    height, width = flow.shape[2:]
    columns = torch.arange(width, dtype=flow.dtype, device=flow.device)
    rows = torch.arange(height, dtype=flow.dtype, device=flow.device)
    return (
        columns.view(1, 1, -1).expand(1, height, width),
        rows.view(1, -1, 1).expand(1, height, width),
    )
