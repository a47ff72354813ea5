"""SimSiam: predict the other view's projection, without gradient through it; no negatives and no
momentum copy.

BYOL with the copy replaced by the network itself: the prediction from one view is compared with the
other's projection as a constant. That stop-gradient keeps outputs from becoming equal. The
predictor's learning rate does not decay.

    loss = - 1/2 mean cos(p1, stop(z2)) - 1/2 mean cos(p2, stop(z1));  -1 at best
Source: Chen, He 2021, arXiv 2011.10566, equation 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from torch import Tensor, nn

from nearfar.losses.distillation.distillation import simsiam
from nearfar.methods.gradients import grouped_apart
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
from nearfar.networks.heads import each, mlp
from nearfar.ranges import above, whole_number


class SimSiam(Method):
    """Two views, one encoder, projector and predictor, the other view's projection as a constant
    target, cosine.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of SimSiam.

        Attributes:
            projection: width of all layers of the projector, and dimensions in which views are
                compared.
            bottleneck: width of the predictor's hidden layer.
            predictor_rate: the predictor's constant learning rate, relative to the peak of the
                others, above 0.
        """

        projection: Annotated[int, whole_number()] = 2048
        bottleneck: Annotated[int, whole_number()] = 512
        predictor_rate: Annotated[float, above(0)] = 1.0

    paper = Paper(
        title="Exploring Simple Siamese Representation Learning",
        authors="Chen, He",
        year=2021,
        arxiv="2011.10566",
    )
    facets = Facets(
        "non_contrastive.asymmetric_prediction",
        teacher="online-twin",
        guard="stop-gradient+predictor",
    )
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="sgd",
            learning_rate=0.05,
            weight_decay=1e-4,
            batch_size=512,
            epochs=100,
            warmup=0.0,
        ),
        "small": Recipe(
            settings={"projection": 512, "bottleneck": 128, "predictor_rate": 10.0},
            optimizer="sgd",
            learning_rate=0.3,
            weight_decay=5e-4,
            batch_size=64,
            epochs=100,
            warmup=0.1,
        ),
    }
    wanted_views = WantedViews(whole_scale=(0.2, 1.0))
    choices = {
        "views": "two strong views",
        "encoder": "one, shared",
        "head": "projector and predictor with a bottleneck",
        "target": "the other view's projection, without gradient; no negatives",
        "loss": "negative cosine",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        width = self.settings.projection
        widths = (encoder.dimension, width, width, width)
        self.projector = mlp(widths, hidden_bias=False, last_bias=False, last_norm="batch-plain")
        self.predictor = mlp((width, self.settings.bottleneck, width), hidden_bias=False)

    def forward(self, batch: Batch) -> Outputs:
        return self.predictions(*each(nn.Sequential(self.encoder, self.projector), batch.views))

    def predictions(self, z1: Tensor, z2: Tensor) -> Outputs:
        """Predictions from the two views' projections (N, D), and those as constants."""
        p1, p2 = each(self.predictor, (z1, z2))
        return {"p1": p1, "p2": p2, "z1": z1.detach(), "z2": z2.detach()}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        return {"simsiam": simsiam(**outputs)}

    def parameter_groups(self) -> list[dict[str, Any]]:
        return grouped_apart(
            self,
            self.predictor,
            constant_learning_rate=True,
            learning_rate_scale=self.settings.predictor_rate,
        )
