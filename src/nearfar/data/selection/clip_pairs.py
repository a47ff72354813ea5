"""Which two clips of a video to pair: near ones more often than far ones."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.errors import UserError

__all__ = ["clip_frames", "clip_gap", "clip_starts"]


def clip_gap(draws: Tensor, span: int, *, power: float = 1.0) -> Tensor:
    """Gaps between two clips from a density that falls to 0 at ``span``.

        the largest whole k < M with F(k) <= u
        F(k) = k (a + 1) / (a M) - k^(a + 1) / (a M^(a + 1))

    With a = 1 the density falls linearly, and k = floor(M (1 - sqrt(1 - u))).

    Args:
        draws: (...,) u, from 0 to below 1.
        span: M, at least 1.
        power: a, above 0.

    Returns:
        (...,) int64 from 0 to M - 1.

    Example:
        >>> clip_gap(torch.tensor([0.0, 0.5, 0.99]), 10)
        tensor([0, 2, 9])

    Source: Qian et al. 2021, "Spatiotemporal Contrastive Video Representation Learning", section
    3.2, authors' code.
    """
    if span < 1 or not power > 0:
        raise UserError(f"A span of {span} and power {power}; expected at least 1, and above 0.")
    k = torch.arange(span, dtype=torch.float64)
    share = k / span
    rising = ((power + 1) * share - share ** (power + 1)) / power
    return (torch.searchsorted(rising, draws.double().cpu(), right=True) - 1).clamp(min=0)


def clip_starts(
    frames: int, length: int, stride: int, draws: Tensor, *, power: float = 1.0
) -> Tensor:
    """Starts of two clips in a video, (..., 2) int64, for draws (..., 3) from [0, 1).

    The first draw is of the gap, the second of the earlier start, and the third of the order. In a
    video that is too short for a clip both starts are uniform, by the first two draws.

    Args:
        frames: T of the video, at least 1.
        length: Frames of a clip.
        stride: Frames from one frame of a clip to the next.
        draws: u.
        power: As in ``clip_gap``.

    Example:
        >>> clip_starts(100, 16, 2, torch.tensor([0.0, 0.0, 0.9]))
        tensor([0, 0])

    Source: Qian et al. 2021, authors' code.
    """
    if min(frames, length, stride) < 1 or draws.shape[-1] != 3:
        raise UserError(
            f"{frames} frames, clips of {length} with stride {stride} and {draws.shape[-1]} draws;"
            " expected at least 1 of each, and 3 draws."
        )
    covered = (length - 1) * stride
    if frames <= covered:
        return (draws[..., :2].double() * frames).long()
    span = frames - covered
    gap = clip_gap(draws[..., 0], span, power=power)
    first = (draws[..., 1].double() * (span - gap)).long()
    pair = torch.stack([first, first + gap], dim=-1)
    return torch.where(draws[..., 2:] < 0.5, pair.flip(-1), pair)


def clip_frames(start: Tensor, length: int, stride: int, frames: int) -> Tensor:
    """Numbers (..., length) of a clip's frames; a video that ends begins again.

    >>> clip_frames(torch.tensor(3), 3, 2, 6).tolist()
    [3, 5, 1]
    """
    return (start[..., None] + stride * torch.arange(length)) % frames
