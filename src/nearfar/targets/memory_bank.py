"""One stored embedding for each training sample, found by the sample's number."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class MemoryBank(nn.Module):
    """A unit vector for each of ``samples`` training samples.

    Attributes:
        rows: (samples, dimension); starts as random unit vectors.

    Source: Wu et al. 2018, "Unsupervised Feature Learning via Non-Parametric Instance
        Discrimination", section 3.
    """

    rows: Tensor

    def __init__(self, samples: int, dimension: int) -> None:
        super().__init__()
        self.register_buffer("rows", functional.normalize(torch.randn(samples, dimension), dim=1))

    def forward(self, index: Tensor) -> Tensor:
        """The stored rows (N, dimension) of samples ``index`` (N,) int64."""
        return self.rows[index]

    @torch.no_grad()
    def update(self, index: Tensor, rows: Tensor, momentum: float = 0.5) -> None:
        """Move the stored rows of samples ``index`` towards ``rows`` and back to unit length.

        Args:
            index: (N,) int64, no sample twice.
            rows: (N, dimension) new embeddings.
            momentum: share of the old row that stays, in [0, 1].
        """
        moved = torch.lerp(rows.to(self.rows), self.rows[index], momentum)
        self.rows.index_copy_(0, index, functional.normalize(moved, dim=1))
