"""Critics: convolutions that say of images, or of patches of them, whether they are real."""

from __future__ import annotations

import math
from typing import Annotated

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, leaky_relu

from nearfar.errors import UserError
from nearfar.losses.restoration.inputs import expect_choice
from nearfar.networks.padded import PaddedConvolution
from nearfar.ranges import checked, whole_number

__all__ = ["FORMS", "PatchCritic"]

FORMS = ("patches", "dense", "pooled")
"""The heads that a critic may have."""
_WIDTHS = (1, 1, 2, 2, 4, 4, 8, 8)
_POOLED_WIDTHS = (*_WIDTHS, 8, 8)


class PatchCritic(nn.Module):
    """3x3 convolutions of stride 1 and 2 by turns, each with a norm and LeakyReLU 0.2, and a head.

    | form | blocks | norm | head |
    |---|---|---|---|
    | patches | 8 (PCL-SR) | batch, in every block | mean over a 4x4 grid, 1x1 to one logit a cell |
    | dense | 8 (SRGAN) | batch, but in the first block | dense 1024, LeakyReLU, dense 1 |
    | pooled | 10 (RRFormer) | group, but in the first block | mean over places, then as dense |

    Args:
        channels: Channels of the images.
        width: Channels of the first block; the last has 8 times as many.
        form: One of ``FORMS``.
        side: Side of the images; needed by "dense", whose first layer depends on it.
        hidden: Units of the head's hidden layer, for "dense" and "pooled".

    Shapes:
        forward: (N, channels, H, W) to (N, 1, 4, 4) for "patches", else to (N, 1).

    Raises:
        UserError: If ``form`` is unknown, or "dense" has no side.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.critic import PatchCritic
        >>> PatchCritic(3, 4)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 1, 4, 4])

    Source: Ledig et al. 2017 (SRGAN), figure 4; Wu et al. 2021 (PCL-SR).
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,
        *,
        form: str = "patches",
        side: int | None = None,
        hidden: int = 1024,
    ) -> None:
        super().__init__()
        expect_choice("form", form, FORMS)
        for name, value in (("channels", channels), ("width", width), ("hidden", hidden)):
            checked(Annotated[int, whole_number()], name, value)
        widths = [width * times for times in (_POOLED_WIDTHS if form == "pooled" else _WIDTHS)]
        self.form = form
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        for place, (given, made) in enumerate(zip([channels, *widths], widths, strict=False)):
            normed = form == "patches" or place > 0
            bias = form != "patches"
            self.convolutions.append(
                PaddedConvolution(given, made, 3, stride=1 + place % 2, padding=1, bias=bias)
            )
            self.norms.append(_norm(form, made) if normed else nn.Identity())
        self.head = _head(form, widths[-1], hidden, side)

    def features(self, x: Tensor, *, activated: bool = False) -> list[Tensor]:
        """The map of each block, before or after its activation, as an embedding of the image."""
        found = []
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            before = norm(convolution(x))
            x = leaky_relu(before, 0.2)
            found.append(x if activated else before)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """The logits: high for what the critic takes for real."""
        last = leaky_relu(self.features(x)[-1], 0.2)
        if self.form == "patches":
            last = adaptive_avg_pool2d(last, 4)
        elif self.form == "pooled":
            last = last.mean(dim=(2, 3))
        logits: Tensor = self.head(last)
        return logits


def _norm(form: str, width: int) -> nn.Module:
    if form != "pooled":
        return nn.BatchNorm2d(width)
    groups = math.gcd(32, width)
    if groups == width:
        groups = max(1, groups // 2)
    return nn.GroupNorm(groups, width)


def _head(form: str, width: int, hidden: int, side: int | None) -> nn.Module:
    if form == "patches":
        return nn.Conv2d(width, 1, 1)
    units = width
    layers: list[nn.Module] = []
    if form == "dense":
        if side is None:
            raise UserError(
                "A critic of the form 'dense' needs the side of its images; found None."
            )
        checked(Annotated[int, whole_number()], "side", side)
        layers.append(nn.Flatten())
        for _ in range(4):
            side = (side + 1) // 2
        units = width * side * side
    layers += [nn.Linear(units, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1)]
    return nn.Sequential(*layers)
