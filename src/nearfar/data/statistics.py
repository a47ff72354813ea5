"""Mean and standard deviation of each channel."""

from __future__ import annotations

import torch
from torch import Tensor

_MOST_VALUES = 1 << 28
"""Of a larger set, evenly spaced samples with about as many values are looked at."""
_BLOCK_VALUES = 1 << 24


def channel_statistics(
    content: Tensor, rows: Tensor
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over some samples.

    Args:
        content: uint8 or uint16 (M, C, ...), scaled to [0, 1] here, or float (M, C, T).
        rows: (N,) int64, at least one.

    Returns:
        C means and C deviations; a deviation of 0 (a channel that never changes) is given as 1.
    """
    values = content[0].numel()
    rows = rows[:: max(1, -(-len(rows) * values // _MOST_VALUES))]
    if content.dtype in (torch.uint8, torch.uint16):
        return _of_levels(content, rows, max(1, _BLOCK_VALUES // values))
    count = 0
    total = torch.zeros(content.shape[1], dtype=torch.float64)
    square = torch.zeros(content.shape[1], dtype=torch.float64)
    shift: Tensor | None = None
    for block in torch.split(rows, max(1, _BLOCK_VALUES // values)):
        x = content.index_select(0, block)
        x = x.reshape(len(x), x.shape[1], -1).transpose(0, 1).flatten(1)  # (C, values)
        x = x.float()
        if shift is None:
            shift = x.mean(dim=1, keepdim=True)  # squares of values far from zero would cancel
        x = x - shift
        count += x.shape[1]
        total += x.sum(dim=1, dtype=torch.float64)
        square += x.square().sum(dim=1, dtype=torch.float64)
    assert shift is not None
    mean = total / count
    std = (square / count - mean.square()).clamp(min=0).sqrt()
    std[std < 1e-6 * (shift[:, 0].abs() + mean.abs()).clamp(min=1e-6)] = 1.0
    return tuple((mean + shift[:, 0]).tolist()), tuple(std.tolist())


def _of_levels(
    content: Tensor, rows: Tensor, block: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """From how often each of the 256 or 65,536 levels occurs in each channel, which is exact and
    quickly counted.
    """
    levels = torch.iinfo(content.dtype).max + 1
    counts = torch.zeros(content.shape[1], levels, dtype=torch.int64, device=content.device)
    for part in torch.split(rows, block):
        x = content.index_select(0, part)
        counts += torch.stack(
            [
                torch.bincount(_countable(x[:, channel].flatten()), minlength=levels)
                for channel in range(x.shape[1])
            ]
        )
    share = counts.double() / counts[0].sum()
    level = torch.arange(levels, dtype=torch.float64, device=content.device) / (levels - 1)
    mean = share @ level
    std = (share * (level - mean[:, None]).square()).sum(dim=1).sqrt()
    std[std == 0] = 1.0
    return tuple(mean.tolist()), tuple(std.tolist())


def _countable(levels: Tensor) -> Tensor:
    """Levels in a type that can be counted."""
    return levels if levels.dtype == torch.uint8 else levels.to(torch.int32)
