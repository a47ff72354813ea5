"""Attention among the tokens of windows that are shifted from block to block."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from nearfar.errors import UserError
from nearfar.ranges import checked, unit_interval

__all__ = ["ShiftedWindowBlock", "WindowAttention", "window_mask"]


def window_mask(height: int, width: int, window: int, shift: int) -> Tensor:
    """Which tokens of a shifted window may see each other: 0, or -100 across the image's seam.

    Args:
        height: Tokens down, a multiple of the window.
        width: Tokens across, a multiple of the window.
        window: Side of a window.
        shift: Tokens by which the image was rolled.

    Returns:
        (windows, window^2, window^2), windows row by row.

    Example:
        >>> from nearfar.networks.restorers.swin import window_mask
        >>> window_mask(2, 2, 2, 1)[0, 0]
        tensor([   0., -100., -100., -100.])

    Source: Liu et al. 2021 (Swin Transformer), section 3.2.
    """
    rows, columns = torch.arange(height), torch.arange(width)

    def part(places: Tensor, side: int) -> Tensor:
        return (places >= side - window).long() + (places >= side - shift).long()

    parts = 3 * part(rows, height)[:, None] + part(columns, width)[None, :]
    by_window = _windows(parts[None, :, :, None].float(), window)[:, :, 0]
    same = by_window[:, :, None] == by_window[:, None, :]
    return torch.where(same, 0.0, -100.0)


def _windows(x: Tensor, window: int) -> Tensor:
    """(N, H, W, C) to (N windows, window^2, C)."""
    samples, height, width, channels = x.shape
    parts = x.view(samples, height // window, window, width // window, window, channels)
    return parts.transpose(2, 3).reshape(-1, window * window, channels)


def _joined(parts: Tensor, window: int, height: int, width: int) -> Tensor:
    """Undo ``_windows``."""
    cells = parts.view(-1, height // window, width // window, window, window, parts.shape[-1])
    return cells.transpose(2, 3).reshape(-1, height, width, parts.shape[-1])


class WindowAttention(nn.Module):
    """Attention among the tokens of a window, with a learned bias for each relative place.

    Args:
        width: Channels, a multiple of ``heads``.
        window: Side of a window.
        heads: Attention heads.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.swin import WindowAttention
        >>> WindowAttention(6, 2, 3)(torch.zeros(5, 4, 6)).shape
        torch.Size([5, 4, 6])

    Source: Liu et al. 2021 (Swin Transformer), equation 4.
    """

    relative_position_index: Tensor

    def __init__(self, width: int, window: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"{heads} heads do not divide {width} channels.")
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        places = torch.arange(window)
        rows, columns = torch.meshgrid(places, places, indexing="ij")
        down = rows.flatten()[:, None] - rows.flatten()[None, :] + window - 1
        across = columns.flatten()[:, None] - columns.flatten()[None, :] + window - 1
        self.register_buffer("relative_position_index", down * (2 * window - 1) + across)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N windows, window^2, width) to the same shape; ``mask`` as ``window_mask`` gives it."""
        parts, tokens, width = x.shape
        qkv = self.qkv(x).view(parts, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        scores = query * (width // self.heads) ** -0.5 @ key.transpose(2, 3)
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        scores = scores + bias.view(tokens, tokens, self.heads).permute(2, 0, 1)
        if mask is not None:
            scores = scores.view(-1, len(mask), self.heads, tokens, tokens)
            scores = (scores + mask.to(scores)[:, None]).flatten(0, 1)
        mixed = scores.softmax(dim=3) @ value
        last: Tensor = self.proj(mixed.transpose(1, 2).reshape(parts, tokens, width))
        return last


class _Perceptron(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        last: Tensor = self.fc2(nn.functional.gelu(self.fc1(x)))
        return last


class ShiftedWindowBlock(nn.Module):
    """x + attention(norm x) in windows that may be shifted, then x + perceptron(norm x).

    Args:
        width: Channels, a multiple of ``heads``.
        heads: Attention heads.
        window: Side of a window.
        shift: Tokens by which windows are shifted, from 0 to below ``window``.
        ratio: Hidden units of the perceptron as a multiple of ``width``.
        drop: Share of samples that skip a branch in training, from 0 to below 1.

    Shapes:
        forward: (N, H W, width) tokens row by row, and the grid (H, W), multiples of the window.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.swin import ShiftedWindowBlock
        >>> ShiftedWindowBlock(6, 3, 4, 2)(torch.zeros(1, 96, 6), (8, 12)).shape
        torch.Size([1, 96, 6])

    Source: Liu et al. 2021 (Swin Transformer), equation 3.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        window: int = 8,
        shift: int = 0,
        *,
        ratio: int = 2,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        checked(Annotated[float, unit_interval(one=False)], "drop", drop)
        if not 0 <= shift < window:
            raise UserError(f"shift is {shift}; expected from 0 to below the window of {window}.")
        self.window = window
        self.shift = shift
        self.drop = drop
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, window, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = _Perceptron(width, ratio * width)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """The tokens after the block."""
        height, width = grid
        if height % self.window or width % self.window or height * width != x.shape[1]:
            raise UserError(
                f"{x.shape[1]} tokens in {height} x {width} do not fill windows of {self.window}."
            )
        image = self.norm1(x).view(len(x), height, width, -1)
        mask = None
        if self.shift:
            image = image.roll((-self.shift, -self.shift), dims=(1, 2))
            mask = window_mask(height, width, self.window, self.shift).to(x.device)
        mixed = _joined(self.attn(_windows(image, self.window), mask), self.window, height, width)
        if self.shift:
            mixed = mixed.roll((self.shift, self.shift), dims=(1, 2))
        x = x + self._kept(mixed.reshape(x.shape))
        return x + self._kept(self.mlp(self.norm2(x)))

    def _kept(self, added: Tensor) -> Tensor:
        if not self.training or self.drop == 0:
            return added
        keep = torch.rand(len(added), 1, 1, device=added.device) >= self.drop
        return added * keep / (1 - self.drop)
