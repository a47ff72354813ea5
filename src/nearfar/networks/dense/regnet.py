"""RegNet's stages from four numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from nearfar.ranges import above, at_least, checked, whole_number

__all__ = ["RegNetStages", "regnet_stages"]


@dataclass(frozen=True, kw_only=True)
class RegNetStages:
    """Stages of a RegNet.

    Attributes:
        widths: Channels of each stage.
        depths: Blocks of each stage.
        groups: Channels of a group of the grouped convolution, for each stage.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    groups: tuple[int, ...]


def regnet_stages(depth: int, first: int, slope: float, ratio: float, group: int) -> RegNetStages:
    """Widths and depths of the stages of a quantised linear design.

        u_j = first + slope j,  s_j = round( ln(u_j / first) / ln ratio ),
        w_j = 8 round( first ratio^s_j / 8 )

    Blocks of one width are a stage; widths are rounded to multiples of min(group, width).

    Args:
        depth: Blocks.
        first: Width of the first block, w_0.
        slope: w_a, at least 0.
        ratio: w_m, above 1.
        group: Channels of a group.

    Example:
        >>> from nearfar.networks.dense.regnet import regnet_stages
        >>> regnet_stages(16, 48, 27.89, 2.09, 8).widths
        (48, 104, 208, 440)

    Source: Radosavovic et al. 2020, "Designing Network Design Spaces", equations 2 to 4.
    """
    for name, value in (("depth", depth), ("first", first), ("group", group)):
        checked(Annotated[int, whole_number()], name, value)
    checked(Annotated[float, at_least(0)], "slope", slope)
    checked(Annotated[float, above(1)], "ratio", ratio)
    widths: list[int] = []
    depths: list[int] = []
    for block in range(depth):
        step = round(math.log((first + slope * block) / first) / math.log(ratio))
        width = 8 * round(first * ratio**step / 8)
        if widths and widths[-1] == width:
            depths[-1] += 1
        else:
            widths.append(width)
            depths.append(1)
    groups = [min(group, width) for width in widths]
    rounded = [round(width / size) * size for width, size in zip(widths, groups, strict=True)]
    return RegNetStages(widths=tuple(rounded), depths=tuple(depths), groups=tuple(groups))
