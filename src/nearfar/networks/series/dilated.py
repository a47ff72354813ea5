"""Dilated residual convolutions along time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from nearfar.errors import UserError

__all__ = ["DilatedEncoder", "span_mask"]


class _Block(nn.Module):
    """GELU, convolution, GELU, convolution, and the input, through a linear layer where it must."""

    def __init__(self, inputs: int, width: int, dilation: int, *, last: bool) -> None:
        super().__init__()
        how = {"padding": dilation, "dilation": dilation}
        self.first = nn.Conv1d(inputs, width, 3, **how)  # type: ignore[arg-type]
        self.second = nn.Conv1d(width, width, 3, **how)  # type: ignore[arg-type]
        self.skip = nn.Conv1d(inputs, width, 1) if last or inputs != width else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.second(gelu(self.first(gelu(x)))) + self.skip(x)
        return made


class DilatedEncoder(nn.Module):
    """A linear layer for each time step, then blocks of convolutions whose dilation doubles.

    Args:
        channels: C.
        width: Of the result.
        hidden: Width between.
        depth: Blocks of the hidden width; one more has the result's.
        dropout: Of the result.

    Source: Yue et al. 2022, "TS2Vec", section 3.2; Wang et al. 2023 (COMET).
    """

    def __init__(
        self,
        channels: int,
        width: int = 320,
        *,
        hidden: int = 64,
        depth: int = 10,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.dimension = width
        self.lift = nn.Linear(channels, hidden)
        widths = [hidden] * depth + [width]
        self.blocks = nn.Sequential(
            *(
                _Block(hidden, size, 2**place, last=place == depth)
                for place, size in enumerate(widths)
            )
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Embeddings of every time step.

        Args:
            x: (N, T, C).
            mask: (N, T) bool, steps that the blocks see; the others are 0 behind the linear layer.
        """
        if x.ndim != 3:
            raise UserError(f"Series must be (N, T, C); found {tuple(x.shape)}.")
        h = self.lift(x)
        if mask is not None:
            h = h * mask[..., None]
        made: Tensor = self.dropout(self.blocks(h.transpose(1, 2)).transpose(1, 2))
        return made

    def pooled(self, x: Tensor) -> Tensor:
        """One embedding a series, (N, width): the maximum over time."""
        steps: Tensor = self(x)
        return steps.amax(dim=1)


def span_mask(
    samples: int, length: int, generator: torch.Generator, *, spans: int = 5, share: float = 0.1
) -> Tensor:
    """Which time steps remain when spans of them are hidden in each series, (samples, length) bool.

    Args:
        samples: N.
        length: T.
        generator: Source of the starts.
        spans: Of each series, at most half of its length.
        share: Of the length that a span takes, at least one step.

    Example:
        >>> span_mask(1, 20, torch.Generator().manual_seed(0), spans=1).sum()
        tensor(18)

    Source: Wang et al. 2023 (COMET), "continuous" masks.
    """
    if not 0 < share <= 1 or spans < 0 or length < 1:
        raise UserError(f"{spans} spans of {share} of {length} steps; expected a share in (0, 1].")
    count, size = min(spans, length // 2), max(1, int(share * length))
    start = torch.randint(0, length - size + 1, (samples, count, 1), generator=generator)
    place = torch.arange(length)
    hidden = ((place >= start) & (place < start + size)).any(dim=1)
    return ~hidden
