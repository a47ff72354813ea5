"""The running mean of teacher outputs that keeps one dimension from winning everywhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Centre(nn.Module):
    """Moving average of the mean row: value <- momentum value + (1 - momentum) total / count.

    Attributes:
        value: (dimension,), starts at 0.

    Source: Caron et al. 2021 (DINO), equation 4.
    """

    value: Tensor

    def __init__(self, dimension: int, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("value", torch.zeros(dimension))

    @torch.no_grad()
    def update(self, total: Tensor, count: Tensor | int) -> None:
        """Take in ``count`` rows whose sum is ``total`` (dimension,)."""
        self.value.lerp_((total / count).to(self.value), 1.0 - self.momentum)


def warmed(first: float, last: float, share: float, progress: float) -> float:
    """A temperature at ``progress`` of the run: from ``first`` to ``last`` in a straight line over
    the first ``share`` of it.
    """
    return first + (last - first) * (min(1.0, progress / share) if share else 1.0)
