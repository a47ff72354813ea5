"""A plain U-Net of residual blocks, which may be told the step of a diffusion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, silu

from nearfar.errors import UserError
from nearfar.ranges import checked, whole_number

__all__ = ["UNet", "step_embedding"]


def step_embedding(step: Tensor, width: int) -> Tensor:
    """Sines, then cosines, of step times 10000^(-i / (width / 2)).

    Args:
        step: (N,) numbers.
        width: Even.

    Returns:
        (N, width).

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.unet import step_embedding
        >>> step_embedding(torch.tensor([0.0]), 4)
        tensor([[0., 0., 1., 1.]])

    Source: Vaswani et al. 2017; Ho et al. 2020.
    """
    if width < 2 or width % 2:
        raise UserError(f"width is {width}; expected an even number of at least 2.")
    half = width // 2
    places = torch.arange(half, dtype=torch.float32, device=step.device)
    rates = (-math.log(10000.0) * places / half).exp()
    angles = step.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class _Block(nn.Module):
    """silu, conv, (+ step), silu, conv, and a skip."""

    def __init__(self, given: int, width: int, steps: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(given, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.skip: nn.Module = nn.Identity() if given == width else nn.Conv2d(given, width, 1)
        self.step = nn.Linear(steps, width) if steps else None

    def forward(self, x: Tensor, embedded: Tensor | None) -> Tensor:
        inner = self.first(silu(x))
        if self.step is not None and embedded is not None:
            inner = inner + self.step(embedded)[:, :, None, None]
        last: Tensor = self.skip(x) + self.second(silu(inner))
        return last


def _perceptron(units: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(units, units), nn.SiLU(), nn.Linear(units, units))


class _Blocks(nn.Module):
    """Blocks of one size, one after another."""

    def __init__(self, given: int, width: int, count: int, steps: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            _Block(given if place == 0 else width, width, steps) for place in range(count)
        )

    def forward(self, x: Tensor, embedded: Tensor | None) -> Tensor:
        for block in self.blocks:
            x = block(x, embedded)
        return x


class UNet(nn.Module):
    """Residual blocks at several sizes, down by convolutions of stride 2 and up by enlargement.

    Args:
        given: Channels of the input, such as 9 for a noisy image, a sharp one and a condition.
        made: Channels of the output.
        width: Channels at full size.
        multipliers: Channels at each size as multiples of ``width``, fine to coarse.
        blocks: Residual blocks of each size.
        skip: How the maps of the way down join those of the way up: "cat" or "add".
        steps: Units of the embedding of a diffusion's step; 0 for a network that takes none.
        residual: Add the input's first ``made`` channels to the output.

    Shapes:
        forward: (N, given, H, W), and steps (N,) if any, to (N, made, H, W), of any size.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.unet import UNet
        >>> network = UNet(9, 3, width=4, multipliers=(1, 2), blocks=1, steps=8)
        >>> network(torch.zeros(2, 9, 10, 7), torch.tensor([1, 5])).shape
        torch.Size([2, 3, 10, 7])

    Source: Ronneberger et al. 2015; blocks without norm as in ID-Blau (Wu et al. 2024), whose noise
    network has width 64, multipliers (1, 2, 3), 2 blocks and 256 units for the step.
    """

    def __init__(
        self,
        given: int = 3,
        made: int = 3,
        *,
        width: int = 64,
        multipliers: Sequence[int] = (1, 2, 3),
        blocks: int = 2,
        skip: str = "cat",
        steps: int = 0,
        residual: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("given", given), ("made", made), ("width", width), ("blocks", blocks)):
            checked(Annotated[int, whole_number()], name, value)
        if skip not in ("cat", "add"):
            raise UserError(f"skip is {skip!r}; valid are 'cat', 'add'.")
        if not multipliers or min(multipliers) < 1 or (residual and made > given):
            raise UserError(
                f"multipliers are {tuple(multipliers)}; expected numbers of at least 1, and no more"
                " channels made than given where the input is added."
            )
        widths = [width * times for times in multipliers]
        self.skip = skip
        self.made = made
        self.residual = residual
        self.steps = steps
        self.embed = _perceptron(steps) if steps else None
        self.first = nn.Conv2d(given, widths[0], 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        self.up, self.narrow = nn.ModuleList(), nn.ModuleList()
        for level, wide in enumerate(widths):
            self.down.append(_Blocks(wide, wide, blocks, steps))
            if level + 1 < len(widths):
                self.shrink.append(nn.Conv2d(wide, widths[level + 1], 3, stride=2, padding=1))
        for level in reversed(range(len(widths) - 1)):
            wide = widths[level]
            self.narrow.append(nn.Conv2d(widths[level + 1], wide, 3, padding=1))
            entry = 2 * wide if skip == "cat" else wide
            self.up.append(_Blocks(entry, wide, blocks, steps))
        self.last = nn.Conv2d(widths[0], made, 3, padding=1)

    def body(self, x: Tensor, step: Tensor | None = None) -> Tensor:
        """The last map, (N, width, H', W'), of the input padded to fit the smallest size."""
        if (step is None) != (self.embed is None):
            raise UserError("A U-Net of a diffusion needs steps, and others take none.")
        embedded = None
        if step is not None and self.embed is not None:
            embedded = self.embed(step_embedding(step, self.steps).to(x.dtype))
        unit = 2 ** len(self.shrink)
        x = self.first(pad(x, (0, -x.shape[3] % unit, 0, -x.shape[2] % unit), mode="replicate"))
        kept = []
        for level, blocks in enumerate(self.down):
            x = blocks(x, embedded)
            if level < len(self.shrink):
                kept.append(x)
                x = self.shrink[level](x)
        for narrow, blocks in zip(self.narrow, self.up, strict=True):
            x = narrow(interpolate(x, scale_factor=2, mode="nearest"))
            skipped = kept.pop()
            x = torch.cat([x, skipped], dim=1) if self.skip == "cat" else x + skipped
            x = blocks(x, embedded)
        return x

    def forward(self, x: Tensor, step: Tensor | None = None) -> Tensor:
        """The output, of the input's size."""
        made: Tensor = self.last(self.body(x, step))[:, :, : x.shape[2], : x.shape[3]]
        return x[:, : self.made] + made if self.residual else made
