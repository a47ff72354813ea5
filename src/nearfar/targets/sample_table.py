"""Numbers kept for each training sample, found by the sample's number."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class SampleTable(nn.Module):
    """Named columns of one number (or truth value) a sample; buffers, so that checkpoints carry
    them.

    ``SampleTable(1000, temperature=0.1, seen=False)`` has two columns of 1000 rows, float32 and
    bool, at these values.
    """

    def __init__(self, samples: int, **columns: float | bool) -> None:
        super().__init__()
        for name, value in columns.items():
            dtype = torch.bool if isinstance(value, bool) else torch.float32
            self.register_buffer(name, torch.full((samples,), value, dtype=dtype))

    def forward(self, index: Tensor) -> dict[str, Tensor]:
        """The rows of samples ``index`` (N,) int64: (N,) for each column."""
        return {name: column[index] for name, column in self.named_buffers()}

    @torch.no_grad()
    def update(self, index: Tensor, rows: Mapping[str, Tensor]) -> None:
        """Overwrite columns of samples ``index`` (N,), no sample twice, by ``rows``: (N,) for each
        column named.
        """
        for name, values in rows.items():
            column = self.get_buffer(name)
            column.index_copy_(0, index, values.to(column))
