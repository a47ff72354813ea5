"""A multi-layer perceptron on the raw values: what tiny images need, and fast enough for
experiments of seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d, adaptive_avg_pool2d

from nearfar.data.spec import Spec
from nearfar.networks.encoder import Encoder


class Perceptron(Encoder):
    """Samples (N, C, ...) to (N, last width): linear layers, each with batch norm and ReLU.

    Views of another size than the data's are first averaged, or repeated, to that size.
    """

    def __init__(self, spec: Spec, *, widths: Sequence[int] = (256, 128)) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise((math.prod(spec.shape), *widths)):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.sides = tuple(spec.shape[1:])
        self.dimension = widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[2:]) != self.sides:
            x = (
                adaptive_avg_pool2d(x, self.sides)
                if len(self.sides) == 2
                else adaptive_avg_pool1d(x, self.sides[0])
            )
        found: Tensor = self.layers(x)
        return found
