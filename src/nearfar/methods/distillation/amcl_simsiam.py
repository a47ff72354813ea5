"""AMCL on SimSiam: several projectors and predictors, each prediction compared at a learned
temperature; no negatives.

SimSiam's networks once for each head, with the cosine divided by the pair's learned temperature.

    loss = mean over n of  sum over heads and both directions of  - cos(p, stop(z')) / (2 tau)
            + beta Omega(tau),  Omega as in amcl
Source: Wang et al. 2024, arXiv 2310.05615, section 3.2, table 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from nearfar.losses.instance.multi_head import amcl_simsiam
from nearfar.methods.instance.amcl import AMCL
from nearfar.methods.method import (
    Batch,
    Encoder,
    Facets,
    Method,
    Outputs,
    Recipe,
    Spec,
    WantedViews,
)
from nearfar.networks.heads import each, mlp
from nearfar.networks.multi_head import HeadSettings, MultiHead, PairTemperature
from nearfar.ranges import whole_number


class AMCLSimSiam(Method):
    """Two views, one encoder, several projectors and predictors, the other view's projections, a
    Gaussian likelihood.
    """

    @dataclass(frozen=True)
    class Settings(HeadSettings):
        """The settings of AMCLSimSiam.

        Attributes:
            joint: give each head a network that sees both vectors at once, as the released sketch
                does.
            projection: width of all layers of the projectors, and dimensions in which each head
                compares views.
            bottleneck: width of the predictors' hidden layer.
        """

        joint: bool = False
        projection: Annotated[int, whole_number()] = 2048
        bottleneck: Annotated[int, whole_number()] = 512

    paper = AMCL.paper
    facets = Facets(
        "non_contrastive.asymmetric_prediction",
        teacher="online-twin",
        guard="stop-gradient+predictor",
    )
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="sgd",
            learning_rate=0.025,
            weight_decay=5e-4,
            batch_size=512,
            epochs=800,
            warmup=0.0,
        ),
        "small": Recipe(settings={"projection": 256, "bottleneck": 64}),
    }
    wanted_views = WantedViews(whole_scale=(0.2, 1.0))
    choices = {
        "views": "two strong views",
        "encoder": "one, shared",
        "head": "several projectors and predictors",
        "target": "the other view's projections, constant; no negatives",
        "loss": "Gaussian likelihood with learned variances",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        sizes = (encoder.dimension, *3 * [self.settings.projection])
        width = self.settings.projection
        self.projectors = MultiHead(
            s.heads, lambda: mlp(sizes, hidden_bias=False, last_bias=False, last_norm="batch-plain")
        )
        self.predictors = MultiHead(
            s.heads, lambda: mlp((width, s.bottleneck, width), hidden_bias=False)
        )
        self.temperature = PairTemperature(
            width, s.lowest, s.highest, heads=s.heads if s.joint else 0
        )

    def forward(self, batch: Batch) -> Outputs:
        z1, z2 = each(nn.Sequential(self.encoder, self.projectors), batch.views)
        p1, p2 = each(self.predictors, (z1, z2))
        return {"p1": p1, "p2": p2, "z1": z1.detach(), "z2": z2.detach()}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        by_head = {name: value.transpose(0, 1) for name, value in outputs.items()}
        return {
            "amcl": amcl_simsiam(**by_head, temperature=self.temperature, beta=self.settings.beta)
        }
