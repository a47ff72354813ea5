"""Barlow Twins: make the cross-correlation of two views' embeddings the identity matrix; no
negatives.

Each dimension is standardised over the batch; dimension i of one view should agree with dimension i
of the other (diagonal 1) and with no other dimension (0), which leaves no room for collapse. Very
wide embeddings help.

    C = zhat1^T zhat2 / N;  loss = sum_i (C_ii - 1)^2 + lambda sum_{i != j} C_ij^2
Source: Zbontar et al. 2021, arXiv 2103.03230, equations 1 and 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from torch import Tensor, nn

from nearfar.losses.redundancy.redundancy import barlow_twins
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
from nearfar.ranges import above, at_least, whole_number


class BarlowTwins(Method):
    """Two unequal views, one encoder, a wide projector, the other view's dimensions as target,
    redundancy reduction.
    """

    @dataclass(frozen=True)
    class Settings:
        """Barlow Twins' settings.

        Attributes:
            off_diagonal: lambda, the weight of the off-diagonal terms, at least 0.
            projection: width of all layers of the projector, and dimensions of the embedding.
            vector_learning_rate: learning rate of biases and norms relative to that of the weights.
        """

        off_diagonal: Annotated[float, at_least(0)] = 0.0051
        projection: Annotated[int, whole_number()] = 8192
        vector_learning_rate: Annotated[float, above(0)] = 0.024

    paper = Paper(
        title="Barlow Twins: Self-Supervised Learning via Redundancy Reduction",
        authors="Zbontar, Jing, Misra, LeCun, Deny",
        year=2021,
        arxiv="2103.03230",
        departures=(
            "The gradient reaches the rows of all processes; in the authors' code each process's "
            "own.",
        ),
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
        "small": Recipe(
            settings={"off_diagonal": 0.0078, "projection": 512, "vector_learning_rate": 1.0},
            learning_rate=8e-3,
            batch_size=64,
            epochs=50,
            warmup=0.1,
        ),
    }
    wanted_views = WantedViews(style="asymmetric")
    choices = {
        "views": "two strong, unequal",
        "encoder": "one, shared",
        "head": "3-layer projector, very wide",
        "target": "the other view, by dimension; no negatives",
        "loss": "cross-correlation towards the identity",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        width = self.settings.projection
        self.projector = mlp(
            (encoder.dimension, width, width, width), hidden_bias=False, last_bias=False
        )

    def forward(self, batch: Batch) -> Outputs:
        z1, z2 = each(nn.Sequential(self.encoder, self.projector), batch.views)
        return {"z1": z1, "z2": z2}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        return {"barlow_twins": barlow_twins(**outputs, off_diagonal=self.settings.off_diagonal)}

    def parameter_groups(self) -> list[dict[str, Any]]:
        learning = [p for p in self.parameters() if p.requires_grad]
        weights = [p for p in learning if p.ndim >= 2]
        vectors = [p for p in learning if p.ndim < 2]
        return [
            {"params": weights},
            {"params": vectors, "learning_rate_scale": self.settings.vector_learning_rate},
        ]
