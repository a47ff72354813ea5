"""The first-in first-out store of past embeddings: MoCo's negatives, NNCLR's neighbours, company
for SwAV's codes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Queue(nn.Module):
    """The last ``length`` rows that were pushed.

    Attributes:
        rows: (length, dimension); starts as random unit vectors, as in MoCo.
        pointer: int64 scalar, where the next row goes; the row there is the oldest.
        full: bool scalar, whether every starting row has been overwritten.
    """

    rows: Tensor
    pointer: Tensor
    full: Tensor

    def __init__(self, length: int, dimension: int) -> None:
        super().__init__()
        self.register_buffer("rows", functional.normalize(torch.randn(length, dimension), dim=1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))
        self.register_buffer("full", torch.zeros((), dtype=torch.bool))

    def __len__(self) -> int:
        return len(self.rows)

    @torch.no_grad()
    def push(self, rows: Tensor) -> None:
        """Overwrite the oldest rows by ``rows`` (M, dimension); of more than ``length`` rows only
        the last stay.
        """
        length = len(self.rows)
        pushed = len(rows)
        steps = torch.arange(max(0, pushed - length), pushed, device=self.rows.device)
        places = (self.pointer + steps) % length
        self.rows.index_copy_(0, places, rows[-length:].to(self.rows))
        self.full |= self.pointer + pushed >= length
        self.pointer.add_(pushed).remainder_(length)

    @torch.no_grad()
    def nearest(self, query: Tensor, *, rows: slice | None = None, block: int = 1024) -> Tensor:
        """For each row of ``query`` (N, dimension) the stored row with the largest dot product: (N,
        dimension).

        Looks up ``block`` queries at a time, so that memory is block x length and not N x length.

        Args:
            rows: the queries that are looked up; None for all. Of the others the result holds the
                queries themselves.
        """
        found = query.to(self.rows, copy=True)
        wanted = query if rows is None else query[rows]
        places = [
            (part @ self.rows.to(part).T).argmax(dim=1) for part in torch.split(wanted, block)
        ]
        found[slice(None) if rows is None else rows] = self.rows[torch.cat(places)]
        return found


def fitting_length(wanted: int, samples: int, batch: int = 1) -> int:
    """How long a queue may sensibly be: the largest multiple of ``batch`` that is at most
    ``wanted`` and ``samples``.

    The papers' queues (65,536 keys) are a small part of ImageNet. On small data such a queue would
    hold the sample itself again and again, among its own negatives; no longer than one pass over
    the data, it holds each sample about once. ``Queue`` takes pushes of any size, so the multiple
    matters only to whoever wants whole batches in it.

    Args:
        wanted: length by the paper or the user, at least 1.
        samples: number of training samples, at least 1.
        batch: rows pushed at once, at least 1; when even one batch does not fit, the result is not
            rounded.
    """
    longest = min(wanted, samples)
    return longest - longest % batch or longest
