"""Rolling shutter: an image whose rows are exposed one after another."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.errors import UserError

__all__ = ["DIRECTIONS", "rolling_shutter"]

DIRECTIONS = ("down", "up")
"""Whether the first row exposed is the top one or the bottom one."""


def rolling_shutter(video: Tensor, direction: str = "down") -> Tensor:
    """The image that a rolling shutter takes of a scene.

    Row y is exposed at the time y / (H - 1) of the video for "down" and (H - 1 - y) / (H - 1) for
    "up". Between two frames their values are interpolated.

    Args:
        video: (N, T, C, H, W) frames at equal distances in time, the first at 0, the last at 1.
        direction: One of ``DIRECTIONS``.

    Returns:
        (N, C, H, W).

    Raises:
        UserError: If the video has another shape or the direction is unknown.

    Example:
        >>> import torch
        >>> from nearfar.data.degradations.rolling_shutter import rolling_shutter
        >>> video = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1, 1).expand(1, 2, 1, 3, 1)
        >>> rolling_shutter(video)[0, 0, :, 0]
        tensor([0.0000, 0.5000, 1.0000])

    Source: The imaging model of SelfDRSC (Shang et al. 2023).
    """
    if direction not in DIRECTIONS:
        raise UserError(f"direction is {direction!r}; valid are 'down', 'up'.")
    if video.ndim != 5 or 0 in video.shape or not video.is_floating_point():
        raise UserError(
            f"Expected floating-point videos (N, T, C, H, W), none of them empty;"
            f" found {tuple(video.shape)}."
        )
    frames, height = video.shape[1], video.shape[3]
    times = torch.linspace(0, 1, height, dtype=torch.float64) * (frames - 1)
    if direction == "up":
        times = times.flip(0)
    early = times.floor().clamp(max=max(frames - 2, 0)).long().to(video.device)
    late = (early + 1).clamp(max=frames - 1)
    share = (times.to(video.device) - early).to(video.dtype).view(1, height, 1, 1)
    by_row = video.permute(0, 3, 1, 2, 4)
    rows = torch.arange(height, device=video.device)
    taken = by_row[:, rows, early] * (1 - share) + by_row[:, rows, late] * share
    return taken.permute(0, 2, 1, 3)
