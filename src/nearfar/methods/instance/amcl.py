"""AMCL: several projection heads compare the views, and every pair has its own learned temperature.

Strongly changed views differ in many ways, which one head and one temperature cannot serve. A
temperature is the variance of a Gaussian around the pair, whose likelihood brings the regulariser
Omega; one small network gives it from both projections. With beta < 1 the loss has no least value,
so temperatures are kept in a range. This form is SimCLR's; see the other amcl-methods.

    loss = mean over anchors of  sum over heads of  -s+ / tau+ + s- / tau- + beta Omega(tau+)
            - beta Omega(tau-)
    s- of the hardest negative,  Omega(tau) = (d / 2) log tau + 1 / tau,
      tau = low + (high - low) sigmoid(<phi(z), phi(z')>)
Source: Wang et al. 2024, arXiv 2310.05615, sections 3.2 and 3.3, table 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor

from nearfar.losses.instance.multi_head import amcl
from nearfar.methods.method import Batch, Encoder, Facets, Method, Outputs, Paper, Recipe, Spec
from nearfar.networks.heads import mlp, together
from nearfar.networks.multi_head import HeadSettings, MultiHead, PairTemperature
from nearfar.ranges import whole_number


class AMCL(Method):
    """Two views, one encoder, several projectors, the other view and the hardest negative, a
    Gaussian likelihood.
    """

    @dataclass(frozen=True)
    class Settings(HeadSettings):
        """The settings of AMCL.

        Attributes:
            hardest: number of nearest negatives over which the negative terms are averaged.
            last_norm: none as in the paper, or a batch norm that keeps the projections of small
                data out of a cone.
            joint: give each head a network that sees both projections at once, as the released
                sketch does.
            hidden: width of the projectors' hidden layer.
            projection: dimensions in which each head compares views.
        """

        hardest: Annotated[int, whole_number()] = 1
        last_norm: Literal["none", "batch-plain"] = "none"
        joint: bool = False
        hidden: Annotated[int, whole_number()] = 512
        projection: Annotated[int, whole_number()] = 128

    paper = Paper(
        title="Adaptive Multi-head Contrastive Learning",
        authors="Wang, Koniusz, Gedeon, Zheng",
        year=2024,
        arxiv="2310.05615",
        departures=(
            "Formulas are those of the paper's tables: the released code cannot run, and lacks "
            "negatives.",
            "Temperatures stay above 0.05, not 1e-5; several hardest negatives are averaged, which "
            "is our reading.",
        ),
    )
    facets = Facets("contrastive.in_batch")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="sgd",
            learning_rate=0.03,
            weight_decay=5e-4,
            batch_size=512,
            epochs=800,
            warmup=0.0125,
        ),
        "small": Recipe(
            settings={"lowest": 0.1, "highest": 0.5, "hardest": 10, "last_norm": "batch-plain"}
        ),
    }
    choices = {
        "views": "two strong views of each sample",
        "encoder": "one, shared",
        "head": "several 2-layer projectors",
        "target": "the other view; the hardest negative of the batch",
        "loss": "Gaussian likelihood with learned variances",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        sizes = (encoder.dimension, self.settings.hidden, self.settings.projection)
        self.projectors = MultiHead(
            s.heads, lambda: mlp(sizes, hidden_norm=False, last_norm=s.last_norm)
        )
        self.temperature = PairTemperature(
            s.projection, s.lowest, s.highest, heads=s.heads if s.joint else 0
        )

    def forward(self, batch: Batch) -> Outputs:
        z1, z2 = together(self.projectors, together(self.encoder, batch.views))
        return {"z1": z1, "z2": z2}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        """Rows of both views are anchors; their negatives are the rows of the other view."""
        z1 = outputs["z1"].transpose(0, 1)
        z2 = outputs["z2"].transpose(0, 1)
        options = {
            "temperature": self.temperature,
            "beta": self.settings.beta,
            "hardest": self.settings.hardest,
        }
        return {"amcl": (amcl(z1, z2, **options) + amcl(z2, z1, **options)) / 2}
