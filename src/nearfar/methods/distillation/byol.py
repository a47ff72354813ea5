"""BYOL: predict what a slowly moving copy of the network says of the other view; no negatives.

The online network (encoder, projector, predictor) predicts its momentum copy's projection of the
other view. The predictor and the slow copy, which gets no gradient, keep outputs from becoming
equal. The momentum rises to 1.

    loss = mean over n of  |p1 - z2'|^2 + |p2 - z1'|^2,  all rows of unit length, z' from the copy
Source: Grill et al. 2020, arXiv 2006.07733, equations 2 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from torch import Tensor, nn

from nearfar.losses.distillation.distillation import byol
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
from nearfar.ranges import above, unit_interval, whole_number
from nearfar.targets.momentum import MomentumEncoder, cosine_momentum


class BYOL(Method):
    """Two unequal views, encoder and momentum copy, projector and predictor, the copy's projection
    as target.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of BYOL.

        Attributes:
            momentum: share of the copy that stays at the first step, in [0, 1]; rises to 1 along a
                cosine.
            hidden: width of the hidden layers of projector and predictor.
            projection: dimensions in which views are compared.
            last_norm: standardise projections by their batch, without learned scale, as SimSiam
                does.
            predictor_rate: the predictor's learning rate, relative to that of the others, above 0.
            predictor_decays: whether the predictor's learning rate falls as that of the others.
        """

        momentum: Annotated[float, unit_interval()] = 0.996
        hidden: Annotated[int, whole_number()] = 4096
        projection: Annotated[int, whole_number()] = 256
        last_norm: bool = False
        predictor_rate: Annotated[float, above(0)] = 1.0
        predictor_decays: bool = True

    paper = Paper(
        title="Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning",
        authors="Grill, Strub, Altché et al.",
        year=2020,
        arxiv="2006.07733",
        departures=(
            "The copy starts equal to the online network; the authors' code gives it random "
            "weights.",
        ),
    )
    facets = Facets(
        "non_contrastive.asymmetric_prediction", teacher="ema", guard="stop-gradient+predictor"
    )
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="lars",
            learning_rate=0.2,
            weight_decay=1.5e-6,
            batch_size=4096,
            epochs=1000,
            warmup=0.01,
        ),
        "small": Recipe(
            settings={
                "momentum": 0.9,
                "hidden": 512,
                "projection": 128,
                "last_norm": True,
                "predictor_rate": 10.0,
                "predictor_decays": False,
            },
            batch_size=64,
            epochs=65,
            warmup=0.1,
        ),
    }
    wanted_views = WantedViews(style="asymmetric")
    choices = {
        "views": "two strong, unequal",
        "encoder": "one, and a momentum copy",
        "head": "projector and predictor",
        "target": "the copy's projection of the other view; no negatives",
        "loss": "squared distance of unit vectors",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        last_norm = "batch-plain" if s.last_norm else "none"
        self.projector = mlp(
            (encoder.dimension, s.hidden, s.projection), last_bias=False, last_norm=last_norm
        )
        self.predictor = mlp((s.projection, s.hidden, s.projection), last_bias=False)
        self.target = MomentumEncoder(nn.Sequential(encoder, self.projector))

    def forward(self, batch: Batch) -> Outputs:
        p1, p2 = each(nn.Sequential(self.encoder, self.projector, self.predictor), batch.views)
        target1, target2 = each(self.target, batch.views)
        return {"p1": p1, "p2": p2, "target1": target1, "target2": target2}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        return {"byol": byol(**outputs)}

    def parameter_groups(self) -> list[dict[str, Any]]:
        s = self.settings
        return grouped_apart(
            self,
            self.predictor,
            learning_rate_scale=s.predictor_rate,
            constant_learning_rate=not s.predictor_decays,
        )

    def after_step(self, outputs: Outputs) -> None:
        self.target.update(
            nn.Sequential(self.encoder, self.projector),
            cosine_momentum(self.settings.momentum, self.progress),
        )
