"""Two encoders side by side, for samples that are pairs."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from nearfar.batch import Pair, Tokens
from nearfar.networks.encoder import Encoder


class TwoTowers(Encoder):
    """An encoder for each part of a ``Pair``.

    Called with a pair, it gives the features of the *first* part (the image): that is what users of
    a trained image-text model want by default, and what probes are fitted on. Called with
    ``Tokens`` it gives the second tower's features, called with anything else the first's. Methods
    that compare the two parts call ``first`` and ``second`` themselves.

    Attributes:
        first: encoder of the first part.
        second: encoder of the second part; its dimension may differ.
    """

    def __init__(self, first: Encoder, second: Encoder) -> None:
        super().__init__()
        self.first = first
        self.second = second
        self.dimension = first.dimension

    def forward(self, x: Any) -> Tensor:
        if isinstance(x, Tokens):
            second: Tensor = self.second(x)
            return second
        first: Tensor = self.first(x.first if isinstance(x, Pair) else x)
        return first
