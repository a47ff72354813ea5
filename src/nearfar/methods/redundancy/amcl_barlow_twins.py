"""AMCL on Barlow Twins: several heads, and a learned temperature for every entry of each head's
cross-correlation matrix.

Barlow Twins asks the same of all pairs of dimensions. Here each entry C_lm has its own temperature;
Omega is that of amcl.

    sum over heads of  sum_l [ (1 - C_ll / tau_ll)^2 + beta Omega(tau_ll) ] +
            sum_{l != m} [ lambda C_lm^2 / tau_lm - beta Omega(tau_lm) ]
Source: Wang et al. 2024, arXiv 2310.05615, section 3.2, table 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from nearfar.losses.instance.multi_head import amcl_barlow_twins
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
from nearfar.networks.multi_head import HeadSettings, MultiHead
from nearfar.ranges import at_least, whole_number


class AMCLBarlowTwins(Method):
    """Two unequal views, one encoder, several wide projectors, the other view's dimensions,
    redundancy reduction.
    """

    @dataclass(frozen=True)
    class Settings(HeadSettings):
        """The settings of AMCLBarlowTwins.

        Attributes:
            off_diagonal: lambda, the weight of the off-diagonal terms, at least 0.
            projection: width of all layers of the projectors, and dimensions of each head's
                embedding.
        """

        off_diagonal: Annotated[float, at_least(0)] = 0.0051
        projection: Annotated[int, whole_number()] = 2048

    paper = replace(
        AMCL.paper,
        departures=(
            *AMCL.paper.departures,
            "Each matrix entry's temperature is a parameter of its own.",
        ),
    )
    facets = Facets(
        "non_contrastive.redundancy_reduction", teacher="online-twin", guard="decorrelation"
    )
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="sgd",
            learning_rate=0.055,
            weight_decay=5e-4,
            batch_size=512,
            epochs=800,
            warmup=0.0125,
        ),
        "small": Recipe(settings={"off_diagonal": 0.0078, "projection": 128}),
    }
    wanted_views = WantedViews(style="asymmetric")
    choices = {
        "views": "two strong, unequal",
        "encoder": "one, shared",
        "head": "several 3-layer projectors",
        "target": "the other view, by dimension",
        "loss": "cross-correlation towards the identity, at learned temperatures",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        sizes = (encoder.dimension, *3 * [self.settings.projection])
        width = self.settings.projection
        heads = self.settings.heads
        self.projectors = MultiHead(heads, lambda: mlp(sizes, hidden_bias=False, last_bias=False))
        self.logits = nn.Parameter(torch.zeros(heads, width, width))

    def forward(self, batch: Batch) -> Outputs:
        z1, z2 = each(nn.Sequential(self.encoder, self.projectors), batch.views)
        return {"z1": z1, "z2": z2}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        s = self.settings
        z1 = outputs["z1"].transpose(0, 1)
        z2 = outputs["z2"].transpose(0, 1)
        temperature = s.lowest + (s.highest - s.lowest) * torch.sigmoid(self.logits.to(z1))
        return {
            "amcl": amcl_barlow_twins(
                z1, z2, temperature=temperature, off_diagonal=s.off_diagonal, beta=s.beta
            )
        }

    def parameter_groups(self) -> list[dict[str, Any]]:
        networks = [*self.encoder.parameters(), *self.projectors.parameters()]
        return [
            {"params": [p for p in networks if p.requires_grad]},
            {"params": [self.logits], "decay": False},
        ]
