"""Learned directions that embeddings are scored against."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Prototypes(nn.Module):
    """``count`` unit vectors that learn; their owner calls ``normalise`` after each optimiser step.

    Attributes:
        weight: (count, dimension), unit rows at the start.
    """

    def __init__(self, dimension: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(functional.normalize(torch.randn(count, dimension), dim=1))

    def forward(self, z: Tensor) -> Tensor:
        """Scores (..., count) of embeddings (..., dimension): cosines when both are unit
        vectors.
        """
        return functional.linear(z, self.weight)

    @torch.no_grad()
    def normalise(self) -> None:
        """Bring every prototype back to unit length."""
        self.weight.copy_(functional.normalize(self.weight, dim=1))
