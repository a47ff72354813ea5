"""A multi-layer perceptron on the raw values: what tiny images need, and fast enough for experiments of seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from nearfar.data.spec import Spec
from nearfar.networks.encoder import Encoder


class Perceptron(Encoder):
    """Samples of one size (N, ...) to (N, last width): linear layers, each with batch norm and ReLU."""

    def __init__(self, spec: Spec, *, widths: Sequence[int] = (256, 128)) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise((math.prod(spec.shape), *widths)):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.dimension = widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found
