"""VISReg: LeJEPA's prediction, and embeddings whose centre, width and shape are held one by one.

As in LeJEPA, all views are drawn to the mean of the whole views' embeddings. There is no teacher,
and no target is stopped. Against collapse stand three terms in place of one test of normality. The
batch's mean is drawn to 0 and the deviation of each dimension to 1. Along random directions, new at
each step, the sorted standardised embeddings are drawn to the quantiles of a normal distribution.

    loss = (1 - lambda) mean_v |mean_w z_w - z_v|^2 / D
           + lambda (centre mean^2 + scale (1 - deviation)^2 + shape sliced Wasserstein)
Source: Wu, Balestriero, Levine 2026, arXiv 2606.02572, equations 1 to 8 and algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from nearfar.losses.redundancy.gaussianity import centre_prediction, draw_directions
from nearfar.losses.redundancy.sketching import visreg_terms
from nearfar.methods.method import Facets, Outputs, Paper, Recipe
from nearfar.methods.redundancy.lejepa import LeJEPA, MultiCropSettings
from nearfar.ranges import at_least, unit_interval, whole_number


class VISReg(LeJEPA):
    """Multi-crop, one encoder, a 3-layer projector, the whole views' mean as target, distance and
    three terms against collapse.
    """

    @dataclass(frozen=True)
    class Settings(MultiCropSettings):
        """The settings of VISReg.

        Attributes:
            trade: lambda, the weight of the terms against collapse, in [0, 1]; 1 - lambda is the
                prediction's. The paper takes 0.9 for large sets and 0.6 for small ones.
            directions: Along which embeddings are compared at each step.
            centre: Weight of the batch's mean.
            scale: Weight of the dimensions' deviations.
            shape: Weight of the comparison with a normal distribution; more than 1 for data with
                long tails.
        """

        trade: Annotated[float, unit_interval()] = 0.9
        directions: Annotated[int, whole_number()] = 4096
        centre: Annotated[float, at_least(0)] = 1.0
        scale: Annotated[float, at_least(0)] = 1.0
        shape: Annotated[float, at_least(0)] = 1.0

    paper = Paper(
        title="VISReg: Variance-Invariance-Sketching Regularization for JEPA training",
        authors="Wu, Balestriero, Levine",
        year=2026,
        arxiv="2606.02572",
        departures=(
            "All processes compare along the same directions; the authors' each draw their own.",
            "Views, projector and recipe are those of LeJEPA here, which the paper starts from.",
        ),
    )
    facets = Facets(
        "non_contrastive.redundancy_reduction", teacher="online-twin", guard="decorrelation"
    )
    recipes = {
        "paper": LeJEPA.recipes["paper"],
        "small": Recipe(
            settings={"trade": 0.6, "directions": 256, "local": 0, "hidden": 512},
            batch_size=64,
        ),
    }
    choices = {
        "views": "two whole crops and several small ones",
        "encoder": "one, shared",
        "head": "3-layer projector",
        "target": "the mean of the whole views, with its gradient; no negatives",
        "loss": "distance, and centre, width and shape of the batch",
    }
    settings: Settings

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        s = self.settings
        views = outputs["views"].transpose(0, 1)
        directions = draw_directions(s.projection, s.directions, generator=self.draws())
        terms = visreg_terms(views, directions)
        prediction = centre_prediction(views, whole=s.whole)
        return {
            "prediction": (1 - s.trade) * prediction,
            "centre": s.trade * s.centre * terms["centre"],
            "scale": s.trade * s.scale * terms["scale"],
            "shape": s.trade * s.shape * terms["shape"],
        }
