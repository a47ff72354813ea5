"""Several encoders of one architecture whose features are used together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nearfar.networks.depths import Depths, side_by_side
from nearfar.networks.encoder import Encoder


class SideBySide(Encoder):
    """Features of all parts, concatenated: (N, parts * dimension of one).
    ``networks.build("3*NAME", spec)`` makes one again.

    Attributes:
        parts: the encoders, each with weights of its own.
    """

    def __init__(self, parts: list[Encoder]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.dimension = sum(part.dimension for part in parts)

    def opened_blocks(self) -> list[nn.Module]:
        parts = [part for part in self.parts if isinstance(part, Encoder)]
        return [block for part in parts for block in part.opened_blocks()]

    def by_depth(self) -> Depths:
        return side_by_side([part.by_depth() for part in self.parts if isinstance(part, Encoder)])

    def forward(self, x: Any) -> Tensor:
        return torch.cat([part(x) for part in self.parts], dim=1)
