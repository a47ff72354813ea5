"""SelfDRSC: two rolling-shutter images of one exposure are rebuilt from predicted still frames.

The rows of one image are exposed from top to bottom ("down"), those of the other from bottom to top
("up"). A row's time index s is y for "down" and H - 1 - y for "up".
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.fidelity import charbonnier
from nearfar.losses.restoration.flow import flow_warp, reversed_flows
from nearfar.losses.restoration.inputs import expect_choice, expect_number
from nearfar.ranges import at_least

__all__ = ["SCANS", "cycle_charbonnier", "rebuilt", "row_encoding", "time_maps", "two_part_rebuilt"]

SCANS = ("down", "up")
"""The directions in which rows may be exposed."""


def _row_times(height: int, scan: str) -> Tensor:
    expect_choice("scan", scan, SCANS)
    expect_number(Annotated[int, at_least(2)], height=height)
    rows = torch.arange(height, dtype=torch.float64)
    return rows if scan == "down" else rows.flip(0)


def row_encoding(height: int, reference: float, scan: str = "down") -> Tensor:
    """How far each row's time is from that of a reference row: (s - reference) / (H - 1).

    Args:
        height: H, at least 2.
        reference: Row of the still frame's time, from 0 to H - 1.
        scan: One of ``SCANS``.

    Returns:
        (H,) float64.

    Example:
        >>> from nearfar.losses.restoration.rolling_shutter import row_encoding
        >>> row_encoding(3, 1.0, "up")
        tensor([ 0.5000,  0.0000, -0.5000], dtype=torch.float64)

    Source: Shang et al. 2023 (SelfDRSC), section 3.2.
    """
    times = _row_times(height, scan)
    _expect_row(height, reference)
    return (times - reference) / (height - 1)


def time_maps(
    height: int, reference: float, scan: str = "down"
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Times of each row: in the whole exposure, before and after a reference row, and which it is.

        whole s / (H - 1),  before min(s / r, 1),  after max((s - r) / (H - 1 - r), 0),  [s <= r]

    Args:
        height: H, at least 2.
        reference: r, from above 0 to H - 1. In the last row the map "after" is 0.
        scan: One of ``SCANS``.

    Returns:
        The four maps, (H,) float64 each.

    Example:
        >>> from nearfar.losses.restoration.rolling_shutter import time_maps
        >>> [map_.tolist() for map_ in time_maps(3, 1.0)]
        [[0.0, 0.5, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]

    Source: Shang et al. 2023 (SelfDRSC), the authors' code.
    """
    times = _row_times(height, scan)
    _expect_row(height, reference)
    if reference == 0:
        raise UserError("The reference row is the first one: no time lies before it.")
    after = torch.zeros_like(times)
    if reference < height - 1:
        after = ((times - reference) / (height - 1 - reference)).clamp(min=0)
    before = (times / reference).clamp(max=1)
    return times / (height - 1), before, after, (times <= reference).double()


def _expect_row(height: int, reference: float) -> None:
    if not 0 <= reference <= height - 1:
        raise UserError(f"The reference row is {reference}; expected from 0 to {height - 1}.")


@full_precision
def rebuilt(
    first: Tensor, second: Tensor, forward: Tensor, backward: Tensor, times: Tensor
) -> Tensor:
    """A rolling-shutter image made of two still frames: (1 - t) warp(E0, F_t0) + t warp(E1, F_t1).

    Args:
        first: (N, C, H, W) still frame at time 0 of the map.
        second: (N, C, H, W) still frame at time 1.
        forward: (N, 2, H, W) flow from the first frame to the second.
        backward: (N, 2, H, W) flow from the second frame to the first.
        times: (H,) time of each row, from 0 to 1.

    Returns:
        (N, C, H, W).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.rolling_shutter import rebuilt
        >>> still, none = torch.rand(1, 3, 4, 4), torch.zeros(1, 2, 4, 4)
        >>> made = rebuilt(still, still, none, none, torch.linspace(0, 1, 4))
        >>> bool(torch.allclose(made, still))
        True

    Source: Shang et al. 2023 (SelfDRSC), equations 6 to 8.
    """
    samples, _, height, width = first.shape
    if times.shape != (height,):
        raise UserError(f"Expected one time for each of {height} rows; found {tuple(times.shape)}.")
    time = times.to(first).view(1, 1, height, 1).expand(samples, 1, height, width)
    to_first, to_second = reversed_flows(forward, backward, time)
    return (1 - time) * flow_warp(first, to_first) + time * flow_warp(second, to_second)


@full_precision
def two_part_rebuilt(
    frames: tuple[Tensor, Tensor, Tensor],
    before: tuple[Tensor, Tensor],
    after: tuple[Tensor, Tensor],
    reference: float,
    scan: str,
) -> Tensor:
    """A rolling-shutter image made of three still frames, in two parts.

    Args:
        frames: Still frames (N, C, H, W) at the first row, at the reference row and at the last.
        before: Flows (N, 2, H, W) between the first two, forward and backward.
        after: Flows between the last two.
        reference: Row of the middle frame's time, above 0 and below H - 1.
        scan: One of ``SCANS``.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.rolling_shutter import two_part_rebuilt
        >>> still, none = torch.rand(1, 3, 5, 4), torch.zeros(1, 2, 5, 4)
        >>> made = two_part_rebuilt((still,) * 3, (none,) * 2, (none,) * 2, 2.0, "up")
        >>> bool(torch.allclose(made, still))
        True

    Source: Shang et al. 2023 (SelfDRSC), equation 9.
    """
    height = frames[0].shape[2]
    if not 0 < reference < height - 1:
        raise UserError(
            f"The middle frame's row is {reference}; expected between 0 and {height - 1}."
        )
    _, early, late, first_part = time_maps(height, reference, scan)
    mask = first_part.to(frames[0]).view(1, 1, -1, 1)
    one = rebuilt(frames[0], frames[1], before[0], before[1], early)
    other = rebuilt(frames[1], frames[2], after[0], after[1], late)
    return mask * one + (1 - mask) * other


@full_precision
def cycle_charbonnier(
    made: tuple[Tensor, ...], taken: tuple[Tensor, ...], *, reduction: str = "mean"
) -> Tensor:
    """The sum over rebuilt images of their ``charbonnier`` distance from those taken, offset 1e-9.

    Args:
        made: Rebuilt images (N, C, H, W): for each scan the whole one and the one of two parts.
        taken: The image taken that each of them rebuilds.
        reduction: "mean" for a scalar, or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.rolling_shutter import cycle_charbonnier
        >>> image = torch.rand(1, 3, 4, 4)
        >>> cycle_charbonnier((image + 1, image), (image, image))
        tensor(1.0000)

    Source: Shang et al. 2023 (SelfDRSC), equation 10.
    """
    if len(made) != len(taken) or not made:
        raise UserError(f"Expected as many images made as taken; found {len(made)}, {len(taken)}.")
    terms = [
        charbonnier(one, other, offset=1e-9, reduction=reduction)
        for one, other in zip(made, taken, strict=True)
    ]
    return torch.stack(terms).sum(dim=0)
