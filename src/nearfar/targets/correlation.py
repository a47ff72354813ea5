"""The running correlation of what a predictor gets to see."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RunningCorrelation(nn.Module):
    """Moving averages of f f^T and of f over batches; the first batch starts them.

    Attributes:
        matrix: (dimension, dimension), not centred; 0 before the first update.
        mean: (dimension,).
        updates: int64 scalar, number of batches taken in.

    Source: Tian et al. 2021 (DirectPred), equation 16.
    """

    matrix: Tensor
    mean: Tensor
    updates: Tensor

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.zeros(dimension, dimension))
        self.register_buffer("mean", torch.zeros(dimension))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, rows: Tensor, rho: float) -> None:
        """Take in ``rows`` (N, dimension), of which the past keeps a share of ``rho`` in [0, 1]."""
        rows = rows.to(self.matrix)
        past = torch.where(self.updates > 0, rho, 0.0).to(self.matrix)
        self.matrix.copy_(torch.lerp(rows.T @ rows / len(rows), self.matrix, past))
        self.mean.copy_(torch.lerp(rows.mean(dim=0), self.mean, past))
        self.updates.add_(1)

    def centred(self) -> Tensor:
        """The covariance: ``matrix`` less the outer product of ``mean``."""
        return self.matrix - torch.outer(self.mean, self.mean)
