"""A method is told how far the run is: before each step, and again before what follows it."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.batch import Batch
from nearfar.methods.method import Outputs, Recipe
from nearfar.training.loop import fit
from nearfar.training.plan import Plan

from .toys import Toy, ToyEncoder, ToySource, views


class Told(Toy):
    """Notes the progress that it is told."""

    def __init__(self) -> None:
        super().__init__(ToyEncoder())
        self.before: list[float] = []
        self.after: list[float] = []

    def forward(self, batch: Batch) -> Outputs:
        self.before.append(self.progress)
        return super().forward(batch)

    def after_step(self, outputs: dict[str, Tensor]) -> None:
        self.after.append(self.progress)
        super().after_step(outputs)


def test_progress_grows_from_nothing_to_all() -> None:
    torch.manual_seed(0)
    method = Told()
    fit(method, ToySource(), views, Plan(Recipe(batch_size=8), steps=5))
    assert method.before == [0.0, 0.2, 0.4, 0.6, 0.8]
    assert method.after == [0.2, 0.4, 0.6, 0.8, 1.0]
