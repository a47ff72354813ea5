"""SiT's corruption: groups of connected pixels hidden, by blocks of many sizes."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.ranges import checked, unit_interval, whole_number

__all__ = ["FILLS", "block_mask", "corrupted"]

FILLS = ("zeros", "noise", "other")
"""What may stand where pixels are hidden; "other" takes those of another image."""


def block_mask(
    height: int,
    width: int,
    generator: torch.Generator,
    *,
    most: float = 0.5,
    align: int = 1,
) -> Tensor:
    """Hide blocks until a drawn share of the image is hidden.

    The share r is drawn from U(min(0.5, most), most). A block begins at a multiple of ``align``;
    its sides are drawn from ``align`` to below 0.3 of the image's, cut at its border and rounded to
    multiples of ``align``, half to even.

    Args:
        height: H, at least ``align`` + 1.
        width: W, at least ``align`` + 1.
        generator: What is drawn from.
        most: Largest share, above 0 and at most 1.
        align: Side of the grid that blocks keep to, such as a patch.

    Returns:
        (H, W) bool, True where a pixel is hidden; at least the drawn share of them.

    Raises:
        UserError: If the image is too small for the alignment.

    Example:
        >>> import torch
        >>> from nearfar.data.degradations.block_corruption import block_mask
        >>> mask = block_mask(64, 64, torch.Generator().manual_seed(0), align=16)
        >>> mask.float().mean()
        tensor(0.5000)

    Source: Atito et al. 2021 (SiT), group masked model learning, the authors' code.
    """
    checked(Annotated[int, whole_number()], "align", align)
    checked(Annotated[float, unit_interval(zero=False)], "most", most)
    if min(height, width) <= align:
        raise UserError(f"{height} x {width} pixels are too few for blocks aligned to {align}.")

    def whole(low: int, high: int) -> int:
        return int(torch.randint(low, max(high, low + 1), (), generator=generator))

    low = min(0.5, most)
    share = low + (most - low) * float(torch.rand((), generator=generator))
    mask = torch.zeros(height, width, dtype=torch.bool)
    while float(mask.sum()) < share * height * width:
        top = whole(0, height - align) // align * align
        left = whole(0, width - align) // align * align
        high = min(whole(align, int(0.3 * height)), height - top)
        wide = min(whole(align, int(0.3 * width)), width - left)
        high, wide = (round(side / align) * align for side in (high, wide))
        mask[top : top + high, left : left + wide] = True
    return mask


def corrupted(
    images: Tensor, masks: Tensor, generator: torch.Generator, *, fill: str = "zeros"
) -> Tensor:
    """Fill hidden pixels with nothing, noise N(0, 1), or those of a random image of the batch.

    Args:
        images: (N, C, H, W).
        masks: (N, H, W) bool, True where a pixel is hidden.
        generator: What noise and images are drawn from; an image may be the same one.
        fill: One of ``FILLS``.

    Returns:
        (N, C, H, W).

    Example:
        >>> import torch
        >>> from nearfar.data.degradations.block_corruption import corrupted
        >>> hidden = torch.tensor([[[True, False]]])
        >>> corrupted(torch.ones(1, 1, 1, 2), hidden, torch.Generator()).flatten()
        tensor([0., 1.])

    Source: Atito et al. 2021 (SiT).
    """
    if fill not in FILLS:
        raise UserError(f"fill is {fill!r}; valid are 'zeros', 'noise', 'other'.")
    if images.ndim != 4 or masks.shape != (len(images), *images.shape[2:]):
        raise UserError(
            f"Expected images (N, C, H, W) and masks (N, H, W); found {tuple(images.shape)} and"
            f" {tuple(masks.shape)}."
        )
    if fill == "zeros":
        filling = torch.zeros_like(images)
    elif fill == "noise":
        filling = torch.randn(images.shape, generator=generator, dtype=images.dtype)
    else:
        filling = images[torch.randint(0, len(images), (len(images),), generator=generator)]
    return torch.where(masks[:, None], filling, images)
