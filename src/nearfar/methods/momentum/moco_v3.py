"""MoCo v3: MoCo without a queue; a predicted view finds the momentum copy's key of the other view
within the batch.

Both views give a query (encoder, projector, predictor) and a key (momentum copy of encoder and
projector). Each query must pick the other view's key of its sample among the batch's keys. The
momentum rises to 1.

    loss = 2 tau CE(q1 k2^T / tau, diagonal) + 2 tau CE(q2 k1^T / tau, diagonal),
      rows of q and k of unit length
Source: Chen, Xie, He 2021, arXiv 2104.02057, algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from nearfar.losses.instance.contrastive import moco_v3
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
from nearfar.networks.heads import each, moco_v3_heads
from nearfar.ranges import above, unit_interval, whole_number
from nearfar.targets.momentum import MomentumEncoder, cosine_momentum


class MoCoV3(Method):
    """Two unequal views, encoder and momentum copy, projector and predictor, the copy's keys,
    InfoNCE.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of MoCoV3.

        Attributes:
            temperature: of the softmax over similarities, above 0.
            momentum: share of the copy that stays at the first step, in [0, 1]; rises to 1 along a
                cosine.
            transformer: heads as the authors have them for transformers, and fixed random
                projections of patches.
            hidden: width of the hidden layers of projector and predictor.
            projection: dimensions in which views are compared.
        """

        temperature: Annotated[float, above(0)] = 1.0
        momentum: Annotated[float, unit_interval()] = 0.99
        transformer: bool = False
        hidden: Annotated[int, whole_number()] = 4096
        projection: Annotated[int, whole_number()] = 256

    paper = Paper(
        title="An Empirical Study of Training Self-Supervised Vision Transformers",
        authors="Chen, Xie, He",
        year=2021,
        arxiv="2104.02057",
        departures=(
            "Heads are those of the authors' ResNet-50 whatever the encoder, unless transformer is "
            "set.",
        ),
    )
    facets = Facets("contrastive.momentum_in_batch", teacher="ema")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="lars",
            learning_rate=0.3,
            weight_decay=1e-6,
            batch_size=4096,
            epochs=300,
            warmup=0.033,
        ),
        "small": Recipe(
            settings={"temperature": 0.1, "momentum": 0.9, "hidden": 512, "projection": 128},
            batch_size=64,
            epochs=45,
            warmup=0.2,
        ),
    }
    wanted_views = WantedViews(style="asymmetric")
    choices = {
        "views": "two strong, unequal",
        "encoder": "one, and a momentum copy",
        "head": "projector and predictor",
        "target": "the copy's key of the other view; the batch's keys as negatives",
        "loss": "InfoNCE both ways",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        self.projector, self.predictor = moco_v3_heads(
            encoder, s.hidden, s.projection, transformer=s.transformer
        )
        self.target = MomentumEncoder(nn.Sequential(encoder, self.projector))

    def forward(self, batch: Batch) -> Outputs:
        q1, q2 = each(nn.Sequential(self.encoder, self.projector, self.predictor), batch.views)
        k1, k2 = each(self.target, batch.views)
        return {"q1": q1, "q2": q2, "k1": k1, "k2": k2}

    def loss(self, outputs: Outputs, rows: slice | None = None) -> dict[str, Tensor]:
        return {"moco_v3": moco_v3(**outputs, temperature=self.settings.temperature, rows=rows)}

    def after_step(self, outputs: Outputs) -> None:
        self.target.update(
            nn.Sequential(self.encoder, self.projector),
            cosine_momentum(self.settings.momentum, self.progress),
        )
