"""Jigsaw puzzles: nine tiles of an image, each at the full size, in one of 35 fixed orders."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

_ORDERS = """
246058713 012345678 103264587 320176845 431587026 567801234 658713402 784620351 875432160
012473658 103528467 234705186
325167804 450836721 576084312 648210573 781642035 867351240 012635874 103824567 230157648
321048756 456271083 547386120
678403215 865710432 784562301 012657438 103762584 230146857 321408675 457081263 564813702
678325041 786534120
"""
ORDERS = tuple(tuple(map(int, order)) for order in _ORDERS.split())
"""Place p of order k shows tile ``ORDERS[k][p]``. Source: the table beside the authors' code of
Kinakh et al. 2021 (ScatSimCLR).
"""
TILES = 9


def tile_edges(side: int) -> list[tuple[int, int]]:
    """First pixel and the one after the last of the three tiles along an axis; a pixel may belong
    to none.

    Half a tile on either side of its centre, rounded inwards, in the authors' arithmetic, which
    loses the last pixel of some sides.
    """
    half = side / 3 / 2
    centres = [2 * half * place + half for place in range(3)]
    return [(math.ceil(centre - half), int(centre + half)) for centre in centres]


def jigsaw(images: Tensor, order: Tensor) -> Tensor:
    """Images (N, C, H, W), sides of at least 3 pixels, to their tiles in the orders (N,) int64: (N
    * 9, C, H, W), sample-major.
    """
    height = images.shape[2]
    width = images.shape[3]
    tiles = torch.stack(
        [
            interpolate(images[:, :, top:bottom, left:right], (height, width), mode="bilinear")
            for top, bottom in tile_edges(height)
            for left, right in tile_edges(width)
        ],
        dim=1,
    )
    wanted = torch.tensor(ORDERS, device=images.device)[order]
    rows = torch.arange(len(images), device=images.device)[:, None]
    return tiles[rows, wanted].flatten(0, 1)
