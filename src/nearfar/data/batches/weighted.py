"""Batches of samples drawn by their weights."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.data.batches.samplers import EpochSampler, Sampler
from nearfar.errors import UserError


class WeightedSampler(Sampler):
    """Samples drawn with replacement in proportion to their weights.

    Args:
        weights: (N,) float, at least 0; read when an epoch's first batch is asked for.
        batch_size: Samples of a batch.
        seed: Of the draws.

    Raises:
        UserError: If all weights are 0, or one is negative or not finite.
    """

    def __init__(self, weights: Tensor, batch_size: int, *, seed: int) -> None:
        EpochSampler(len(weights), batch_size, seed=seed)
        self.weights = weights
        self.batch_size = batch_size
        self.seed = seed
        self._drawn: tuple[int, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.weights) // self.batch_size

    def batch(self, epoch: int, position: int) -> Tensor:
        """(batch_size,) int64."""
        if self._drawn is None or self._drawn[0] != epoch:
            weights = self.weights.detach().double().cpu()
            if not bool(weights.isfinite().all() and (weights >= 0).all() and weights.any()):
                raise UserError(
                    "The weights of the samples are negative, not finite or all 0; expected "
                    "numbers of at least 0, one of them above it."
                )
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            count = len(self) * self.batch_size
            # Not multinomial, which takes at most 2^24 of them.
            ends = weights.cumsum(0)
            places = torch.rand(count, generator=generator, dtype=torch.float64) * ends[-1]
            drawn = torch.searchsorted(ends, places, right=True).clamp(max=len(weights) - 1)
            self._drawn = epoch, drawn
        start = position * self.batch_size
        return self._drawn[1][start : start + self.batch_size]
