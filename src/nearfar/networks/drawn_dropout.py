"""Dropout by numbers that were drawn before, so that several processes drop what one does."""

from __future__ import annotations

from torch import Tensor, nn


class DrawnDropout(nn.Module):
    """Single values become 0 with probability ``rate``, the others grow by 1 / (1 - rate).

    Args:
        rate: In [0, 1).

    Example:
        >>> import torch
        >>> DrawnDropout(0.5)(torch.ones(3), torch.tensor([0.4, 0.5, 0.9]))
        tensor([0., 2., 2.])
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor, draws: Tensor | None = None) -> Tensor:
        """x without what the draws say; as it is in evaluation mode.

        Args:
            x: Of any shape.
            draws: Of the same shape, uniform in [0, 1); None draws here.
        """
        if not self.training or self.rate == 0:
            return x
        if draws is None:
            return nn.functional.dropout(x, self.rate)
        return x * (draws >= self.rate) / (1 - self.rate)

    def extra_repr(self) -> str:
        return f"p={self.rate:g}"
