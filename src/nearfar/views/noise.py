"""Uniform noise beside views, to draw masks from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from nearfar.rows import tensors_of
from nearfar.views.draws import rand
from nearfar.views.made import Made, Views, about, by_row, draws_globally


@dataclass(frozen=True)
class WithNoise:
    """The same views with "noise" beside them.

    Attributes:
        views: What makes the views.
        values: Number of values in [0, 1) for each sample.
    """

    views: Views
    values: int

    @property
    def by_row(self) -> bool:
        """As the views are."""
        return by_row(self.views)

    @property
    def draws_globally(self) -> bool:
        """As the views do."""
        return draws_globally(self.views)

    def __call__(self, samples: Any, generator: torch.Generator) -> Made:
        made = self.views(samples, generator)
        noise = rand((len(made[0]), self.values), generator).to(tensors_of(made[0])[0].device)
        return Made(made, {**about(made), "noise": noise})
