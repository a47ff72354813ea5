"""RRFormer: takes reflections out of images by attention in shifted windows."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, pad

from nearfar.networks.restorers.swin import ShiftedWindowBlock
from nearfar.ranges import checked, whole_number

__all__ = ["RRFormer"]


class _Group(nn.Module):
    """Blocks by turns unshifted and shifted, a 3x3 convolution and a skip."""

    def __init__(self, width: int, heads: int, window: int, drops: list[float]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ShiftedWindowBlock(width, heads, window, (place % 2) * (window // 2), drop=drop)
            for place, drop in enumerate(drops)
        )
        self.last = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        grid = (x.shape[2], x.shape[3])
        tokens = x.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens, grid)
        mixed: Tensor = self.last(tokens.transpose(1, 2).reshape(x.shape))
        return x + mixed


class RRFormer(nn.Module):
    """A reflection remover: an embedding at half size, window attention, a pyramid of means.

    Args:
        channels: Channels of the images.
        hints: Channels of further maps beside the image, such as a fixed network's features.
        width: Channels of attention, a multiple of ``heads``.
        hidden: Channels of the convolutions around it.
        groups: Groups of blocks.
        blocks: Blocks of each group.
        heads: Attention heads.
        window: Side of a window.
        drop: Stochastic depth of the last block, rising from 0.
        positive: Cut the output at 0, as the authors do; it may silence channels.

    Shapes:
        restore: (N, channels, H, W), and hints (N, hints, H, W) if any, to (N, channels, H, W).

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.rrformer import RRFormer
        >>> network = RRFormer(3, width=12, hidden=8, groups=1, blocks=2, heads=3, window=4)
        >>> network.restore(torch.zeros(1, 3, 33, 34)).shape
        torch.Size([1, 3, 33, 34])

    Source: Zhang et al. 2023, "Benchmarking Ultra-High-Definition Image Reflection Removal"; the
    attention's output is used, which the released code throws away.
    """

    def __init__(
        self,
        channels: int = 3,
        *,
        hints: int = 0,
        width: int = 240,
        hidden: int = 256,
        groups: int = 5,
        blocks: int = 6,
        heads: int = 6,
        window: int = 8,
        drop: float = 0.1,
        positive: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("width", width), ("hidden", hidden), ("groups", groups)):
            checked(Annotated[int, whole_number()], name, value)
        self.dimension = width
        self.window = window
        self.positive = positive
        self.embed = nn.Sequential(
            nn.Conv2d(channels + hints, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, width, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        total = groups * blocks
        drops = [drop * place / max(1, total - 1) for place in range(total)]
        self.before = nn.LayerNorm(width)
        self.groups = nn.Sequential(
            *(
                _Group(width, heads, window, drops[g * blocks : (g + 1) * blocks])
                for g in range(groups)
            )
        )
        self.after = nn.LayerNorm(width)
        self.mix = nn.Conv2d(width, width, 3, padding=1)
        self.enlarge = nn.Sequential(
            nn.ConvTranspose2d(width, hidden, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.ReLU(),
        )
        quarter = max(1, hidden // 4)
        self.means = nn.ModuleList(nn.Conv2d(hidden, quarter, 1, bias=False) for _ in range(4))
        self.join = nn.Conv2d(hidden + 4 * quarter, hidden, 1)
        self.last = nn.Conv2d(hidden, channels, 1)

    def body(self, x: Tensor, hints: Tensor | None = None) -> Tensor:
        """The map after attention at half size, (N, width, H / 2, W / 2), sides rounded up."""
        x = self.embed(x if hints is None else torch.cat([x, hints], dim=1))
        height, width = x.shape[2:]
        bottom, right = -height % self.window, -width % self.window
        mode = "reflect" if bottom < height and right < width else "replicate"
        padded = pad(x, (0, right, 0, bottom), mode=mode)
        mixed = self.groups(_over_channels(self.before, padded))
        mixed = self.mix(_over_channels(self.after, mixed))
        last: Tensor = x + mixed[:, :, :height, :width]
        return last

    def restore(self, x: Tensor, hints: Tensor | None = None) -> Tensor:
        """The images without reflections."""
        height, width = x.shape[2:]
        large = self.enlarge(self.body(x, hints))
        pooled = [large]
        for size, convolution in zip((4, 8, 16, 32), self.means, strict=True):
            size = min(size, *large.shape[2:])
            mean = nn.functional.leaky_relu(convolution(avg_pool2d(large, size)), 0.2)
            pooled.append(interpolate(mean, size=large.shape[2:], mode="nearest"))
        joined = nn.functional.leaky_relu(self.join(torch.cat(pooled, dim=1)), 0.2)
        made: Tensor = self.last(joined)[:, :, :height, :width]
        return made.relu() if self.positive else made

    def forward(self, x: Tensor) -> Tensor:
        """One vector an image, (N, width)."""
        return self.body(x).mean(dim=(2, 3))


def _over_channels(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    last: Tensor = norm(x.movedim(1, 3)).movedim(3, 1)
    return last
