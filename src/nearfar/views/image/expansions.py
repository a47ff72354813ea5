"""Every image under each of a fixed set of transformations: quarter turns, orders of the colours,
or both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from nearfar.errors import UserError, unknown_name

_RGB = ((0, 1, 2),)
_CYCLES = ((0, 1, 2), (1, 2, 0), (2, 0, 1))
_ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))

Expansion = Literal[
    "none",
    "rotation",
    "rotation-2",
    "colour",
    "colour-3",
    "rotation-colour-6",
    "rotation-colour-12",
    "rotation-colour-24",
]
"""Names of the expansions."""

EXPANSIONS: dict[Expansion, tuple[Sequence[int], Sequence[Sequence[int]]]] = {
    "none": ((0,), _RGB),
    "rotation": (range(4), _RGB),
    "rotation-2": ((0, 2), _RGB),
    "colour": ((0,), _ORDERS),
    "colour-3": ((0,), _CYCLES),
    "rotation-colour-6": ((0, 2), _CYCLES),
    "rotation-colour-12": (range(4), _CYCLES),
    "rotation-colour-24": (range(4), _ORDERS),
}
"""Counter-clockwise quarter turns and orders of the channels; a combination takes every order at
the first turn, then at the next.

Source: Lee et al. 2020 (SLA), section 3 and the authors' code.
"""


def transformations(expansion: Expansion, shape: Sequence[int]) -> int:
    """Number M of transformations of an expansion, the first of which changes nothing.

    Args:
        expansion: a name in ``EXPANSIONS``.
        shape: of the images, (C, H, W).

    Raises:
        UserError: for an unknown name, quarter turns of images that are not square, or colours of
            images without three channels.
    """
    if expansion not in EXPANSIONS:
        raise unknown_name("expansion", expansion, EXPANSIONS)
    turns, orders = EXPANSIONS[expansion]
    if 1 in turns and shape[1] != shape[2]:
        raise UserError(
            f"The expansion {expansion} turns images by 90 degrees but they are {shape[1]} x "
            f"{shape[2]}: take rotation-2."
        )
    if len(orders) > 1 and shape[0] != 3:
        raise UserError(
            f"The expansion {expansion} exchanges colours but images have {shape[0]} channel(s), "
            "not 3: take rotation."
        )
    return len(turns) * len(orders)


def expand(images: Tensor, expansion: Expansion) -> Tensor:
    """Images (N, C, H, W) to (N * M, C, H, W), sample-major: row n * M + m is image n under
    transformation m.
    """
    turns, orders = EXPANSIONS[expansion]
    views = []
    for turn in turns:
        turned = torch.rot90(images, turn, dims=(2, 3))
        views += [turned if len(orders) == 1 else turned[:, list(order)] for order in orders]
    return torch.stack(views, dim=1).flatten(0, 1)
