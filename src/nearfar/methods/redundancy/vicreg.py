"""VICReg: two views' embeddings agree while each dimension keeps its variance and no two dimensions
vary together.

Three terms are summed: the distance of the two embeddings, a hinge that keeps each dimension's
standard deviation over the batch above 1, and the squared off-diagonal covariances. The last two,
taken of each view alone, rule out collapse.

    loss = 25 mean (z1 - z2)^2 + 25 sum_v 1/2 mean_d max(0, 1 - sqrt(Var_d + 1e-4)) + sum_v 1/D
    sum_{i != j} Cov_ij^2
Source: Bardes, Ponce, LeCun 2022, arXiv 2105.04906, equation 6; the half of the variance term is
    the authors' code's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from nearfar.losses.redundancy.redundancy import vicreg_terms
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
from nearfar.ranges import at_least, whole_number


class VICReg(Method):
    """Two unequal views, one encoder, a wide expander, the other view as target, three terms."""

    @dataclass(frozen=True)
    class Settings:
        """The settings of VICReg.

        Attributes:
            invariance: weight of the distance between the views.
            variance: weight of the hinge on standard deviations.
            covariance: weight of the off-diagonal covariances.
            projection: width of all layers of the expander, and dimensions of the embedding.
        """

        invariance: Annotated[float, at_least(0)] = 25.0
        variance: Annotated[float, at_least(0)] = 25.0
        covariance: Annotated[float, at_least(0)] = 1.0
        projection: Annotated[int, whole_number()] = 8192

    paper = Paper(
        title="VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning",
        authors="Bardes, Ponce, LeCun",
        year=2022,
        arxiv="2105.04906",
        departures=("The variance term is halved, as in the authors' code and unlike equation 1.",),
    )
    facets = Facets(
        "non_contrastive.redundancy_reduction", teacher="online-twin", guard="decorrelation"
    )
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="lars",
            learning_rate=0.2,
            weight_decay=1e-6,
            batch_size=2048,
            epochs=1000,
            warmup=0.01,
        ),
        "small": Recipe(settings={"projection": 512}, learning_rate=8e-3, batch_size=64, epochs=40),
    }
    wanted_views = WantedViews(style="asymmetric")
    choices = {
        "views": "two strong, unequal",
        "encoder": "one, shared",
        "head": "3-layer expander, very wide",
        "target": "the other view; no negatives",
        "loss": "distance, variance and covariance",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        width = self.settings.projection
        self.expander = mlp((encoder.dimension, width, width, width), last_bias=False)

    def forward(self, batch: Batch) -> Outputs:
        z1, z2 = each(nn.Sequential(self.encoder, self.expander), batch.views)
        return {"z1": z1, "z2": z2}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        terms = vicreg_terms(outputs["z1"], outputs["z2"])
        return {name: getattr(self.settings, name) * value for name, value in terms.items()}
