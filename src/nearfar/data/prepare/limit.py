"""``--with limit``: fewer training samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch

from nearfar.data.samples import Source
from nearfar.ranges import whole_number


@dataclass(frozen=True, kw_only=True)
class Limit:
    """At most so many training samples, drawn at random; test samples stay.

    Attributes:
        samples: How many.
    """

    samples: Annotated[int, whole_number(2, 1 << 40)]

    def __call__(self, source: Source, *, seed: int) -> Source:
        count = len(source.train)
        if count <= self.samples:
            return source
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randperm(count, generator=generator)[: self.samples].sort().values
        note = f"{self.samples:,} of {count:,} training samples were drawn."
        return replace(source, train=source.train.subset(rows), notes=[*source.notes, note])


PREPARATION = Limit
