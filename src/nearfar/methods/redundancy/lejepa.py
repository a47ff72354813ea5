"""LeJEPA: views predict the centre of their sample while embeddings look like normal draws.

All views, whole and small, are drawn to the mean of the whole views' embeddings. Alone that would
collapse. Nothing but a test of normality holds against it: along random directions, new at each
step, the embeddings of a batch must look like draws from a standard normal distribution, which the
paper shows to be the best one for unknown tasks. There is no teacher and no stopped gradient.

    loss = (1 - lambda) mean_v |mean_w z_w - z_v|^2 / D + lambda mean_{v, a} T(a.z_v)
Source: Balestriero, LeCun 2025, arXiv 2511.08544, algorithms 1 and 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from nearfar.losses.redundancy.gaussianity import centre_prediction, draw_directions, sigreg
from nearfar.methods.method import (
    Batch,
    Encoder,
    Facets,
    Method,
    Outputs,
    Paper,
    Recipe,
    Spec,
    WantedViews,
)
from nearfar.networks.heads import mlp, together
from nearfar.ranges import above, unit_interval, whole_number
from nearfar.targets.step_generator import StepGenerator


@dataclass(frozen=True)
class MultiCropSettings:
    """What methods of large and small crops set.

    Attributes:
        whole: Number of whole views, whose mean is predicted.
        local: Number of small crops, which predict only; the paper has none for networks that are
            no transformers.
        hidden: Width of the projector's hidden layers.
        projection: Dimensions of the embedding.
    """

    whole: Annotated[int, whole_number(1, 64)] = 2
    local: Annotated[int, whole_number(0, 64)] = 6
    hidden: Annotated[int, whole_number()] = 2048
    projection: Annotated[int, whole_number()] = 64


class LeJEPA(Method):
    """Multi-crop, one encoder, a 3-layer projector, the whole views' mean as target, distance and a
    test of normality.
    """

    @dataclass(frozen=True)
    class Settings(MultiCropSettings):
        """The settings of LeJEPA.

        Attributes:
            trade: lambda, the weight of the test of normality, in [0, 1]; 1 - lambda is the
                prediction's.
            directions: Along which embeddings are tested at each step.
            largest: End of the test's integral, above 0.
            knots: Points of the integral from 0 to its end, at least 2.
        """

        trade: Annotated[float, unit_interval()] = 0.05
        directions: Annotated[int, whole_number()] = 1024
        largest: Annotated[float, above(0)] = 5.0
        knots: Annotated[int, whole_number(2)] = 17

    paper = Paper(
        title="LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics",
        authors="Balestriero, LeCun",
        year=2025,
        arxiv="2511.08544",
        departures=(
            "The prediction's square is a mean over dimensions, as in the paper's listing; its "
            "equation sums.",
            "The integral ends at 5, as the paper recommends; the authors' code ends at 3.",
            "Whole views are BYOL's unequal pair, local ones DINO's; the authors draw all views "
            "alike, of about the same strength.",
            "The optional average of weights, from which transformers gain a little, is left out.",
        ),
    )
    facets = Facets(
        "non_contrastive.redundancy_reduction", teacher="online-twin", guard="decorrelation"
    )
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="adamw",
            learning_rate=5e-4,
            scale=False,
            weight_decay=0.05,
            batch_size=256,
            epochs=100,
            warmup=0.1,
        ),
        "small": Recipe(
            settings={"directions": 256, "local": 0, "hidden": 512},
            batch_size=64,
        ),
    }
    choices = {
        "views": "two whole crops and several small ones",
        "encoder": "one, shared",
        "head": "3-layer projector",
        "target": "the mean of the whole views, with its gradient; no negatives",
        "loss": "distance, and a test of normality along random directions",
    }

    def __init__(
        self, encoder: Encoder, spec: Spec, settings: MultiCropSettings | None = None
    ) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        self.projector = mlp((encoder.dimension, s.hidden, s.hidden, s.projection))
        self.draws = StepGenerator()

    @property
    def wanted_views(self) -> WantedViews:
        return WantedViews(
            self.settings.whole,
            self.settings.local,
            "asymmetric",
            whole_scale=(0.3, 1.0),
            local_scale=(0.05, 0.3),
        )

    def forward(self, batch: Batch) -> Outputs:
        views = together(self.projector, together(self.encoder, batch.views))
        return {"views": torch.stack(views, dim=1)}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        s = self.settings
        views = outputs["views"].transpose(0, 1)
        directions = draw_directions(s.projection, s.directions, generator=self.draws())
        test = sigreg(views, directions, largest=s.largest, knots=s.knots)
        prediction = centre_prediction(views, whole=s.whole)
        return {"prediction": (1 - s.trade) * prediction, "normality": s.trade * test}

    def after_step(self, outputs: Outputs) -> None:
        self.draws.advance()
