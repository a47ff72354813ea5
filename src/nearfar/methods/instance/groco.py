"""GroCo: sort a sample's positives and nearest negatives softly, and ask that every positive ranks
above every negative.

Only the anchor gets gradient. Without the projector's last, plain batch norm embeddings would
gather in a cone: the loss only ranks.

    loss = mean over anchors and their P positives and k negatives of
            BCE( mass in the top P ranks, whether a positive )
Source: Shvetsova et al. 2023, arXiv 2301.02009, sections 3.2 and 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from nearfar.losses.instance.groco import groco
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
from nearfar.ranges import above, whole_number


class GroCo(Method):
    """Two or more views and small crops, one encoder, a 3-layer projector, the sample's other
    views, a differentiable sort.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of GroCo.

        Attributes:
            views: number of whole views, at least 2; each is an anchor and a positive.
            local: number of small crops, which are anchors only.
            negatives: k, how many of the nearest other samples (under the anchor's view) compete.
            steepness: of the sorting network's distributions, above 0.
            distribution: that decides how softly two similarities are compared.
            network: which pairs the sorting network compares.
            hidden: width of the projector's hidden layers.
            projection: dimensions in which views are compared.
        """

        views: Annotated[int, whole_number(2, 64)] = 2
        local: Annotated[int, whole_number(0, 64)] = 0
        negatives: Annotated[int, whole_number()] = 10
        steepness: Annotated[float, above(0)] = 1.0
        distribution: Literal[
            "cauchy", "logistic", "logistic_phi", "gaussian", "reciprocal", "optimal"
        ] = "cauchy"
        network: Literal["odd_even", "bitonic"] = "odd_even"
        hidden: Annotated[int, whole_number()] = 2048
        projection: Annotated[int, whole_number()] = 2048

    paper = Paper(
        title="Learning by Sorting: Self-supervised Learning with Group Ordering Constraints",
        authors="Shvetsova, Petersen, Kukleva, Schiele, Kuehne",
        year=2023,
        arxiv="2301.02009",
        departures=(
            "A batch with fewer than k other samples takes them all; the authors' code needs k.",
        ),
    )
    facets = Facets("contrastive.in_batch")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="sgd",
            learning_rate=6.0,
            weight_decay=1e-6,
            batch_size=1024,
            epochs=100,
            warmup=0.01,
        ),
        "small": Recipe(settings={"hidden": 512, "projection": 128}),
    }
    choices = {
        "views": "two or more whole views, unequal, and small crops",
        "encoder": "one, shared",
        "head": "3-layer projector",
        "target": "the order: other views before the nearest other samples",
        "loss": "cross-entropy of a differentiable sort",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        widths = (
            encoder.dimension,
            self.settings.hidden,
            self.settings.hidden,
            self.settings.projection,
        )
        self.projector = mlp(widths, hidden_bias=False, last_bias=False, last_norm="batch-plain")

    @property
    def wanted_views(self) -> WantedViews:
        return WantedViews(
            self.settings.views,
            self.settings.local,
            "asymmetric",
            (0.14, 1.0),
            local_scale=(0.05, 0.14),
        )

    def forward(self, batch: Batch) -> Outputs:
        return {
            "views": torch.stack(
                together(self.projector, together(self.encoder, batch.views)), dim=1
            )
        }

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        s = self.settings
        views = outputs["views"].transpose(0, 1)
        how = {"steepness": s.steepness, "network": s.network, "distribution": s.distribution}
        return {"groco": groco(views, whole=s.views, negatives=s.negatives, **how)}
