"""The order of clips, read from pairs of their features."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from nearfar.errors import UserError

__all__ = ["ClipOrder"]


class ClipOrder(nn.Module):
    """Every two clips are compared, and all comparisons together give the order.

        h_ij = ReLU(W [f_i | f_j] + b) for i < j;  logits = V drop([h_12 | h_13 | ...]) + c

    Args:
        dimension: Width of a clip's features.
        clips: m, 2 to 6; the orders are m!.
        hidden: Width of a comparison.
        dropout: Before the last layer.

    Source: Xu et al. 2019, "Self-Supervised Spatiotemporal Learning via Video Clip Order
    Prediction".
    """

    def __init__(
        self, dimension: int, clips: int = 3, *, hidden: int = 512, dropout: float = 0.5
    ) -> None:
        super().__init__()
        if not 2 <= clips <= 6:
            raise UserError(f"The order of {clips} clips was asked for; expected 2 to 6.")
        self.clips = clips
        self.pairs = list(itertools.combinations(range(clips), 2))
        self.compare = nn.Linear(2 * dimension, hidden)
        self.dropout = nn.Dropout(dropout)
        self.answer = nn.Linear(hidden * len(self.pairs), math.factorial(clips))

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, m!) of the orders, by rank, from features (N, m, dimension)."""
        if features.ndim != 3 or features.shape[1] != self.clips:
            found = tuple(features.shape)
            raise UserError(f"Features must be (N, {self.clips}, D); found {found}.")
        both = [torch.cat([features[:, i], features[:, j]], dim=1) for i, j in self.pairs]
        compared = self.compare(torch.stack(both, dim=1)).relu().flatten(1)
        logits: Tensor = self.answer(self.dropout(compared))
        return logits
