"""AMCL: several projection heads compare the views, and every pair has its own learned temperature.

Strong augmentation leaves views that differ in many ways, which one head and one temperature cannot serve. A temperature is
read as the variance of a Gaussian around the pair, so the likelihood brings its own regulariser Omega, and one small network
gives it from the two projections. This is the SimCLR form; see amcl-moco, amcl-simsiam and amcl-barlow-twins.

    loss = mean over anchors of  sum over heads of  -s+ / tau+ + s- / tau- + beta Omega(tau+) - beta Omega(tau-)
    s- of the hardest negative,  Omega(tau) = (d / 2) log tau + 1 / tau,  tau = low + (high - low) sigmoid(<phi(z), phi(z')>)

With beta < 1 the loss has no least value as temperatures leave a finite range: ``lowest`` and ``highest`` keep them inside.
Source: Wang et al. 2024, arXiv 2310.05615, sections 3.2 and 3.3, table 2.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from nearfar.losses.multi_head import amcl
from nearfar.methods.method import Batch, Encoder, Method, Outputs, Paper, Recipe, Spec
from nearfar.networks.heads import mlp, together
from nearfar.networks.multi_head import MultiHead, PairTemperature


class AMCL(Method):
    """Two views, one encoder, several projectors, the other view and the hardest negative, a Gaussian likelihood."""

    @dataclass(frozen=True)
    class Settings:
        """Attributes:
            heads: C, number of projectors.
            lowest: smallest temperature, above 0; the released sketch has 1e-5, with which the loss can fall to -1e5.
            highest: largest temperature, above ``lowest``.
            beta: weight of the temperatures' regulariser, at least 0.
            hardest: number of nearest negatives over which the negative terms are averaged.
            joint: give each head a network that sees both projections at once, as the released sketch does.
            hidden: width of the projectors' hidden layer.
            projection: dimensions in which each head compares views.
        """

        heads: int = 3
        lowest: float = 0.05
        highest: float = 2.0
        beta: float = 0.1
        hardest: int = 1
        joint: bool = False
        hidden: int = 512
        projection: int = 128

    paper = Paper(
        "Adaptive Multi-head Contrastive Learning", "Wang, Koniusz, Gedeon, Zheng", 2024, "2310.05615",
        ("Formulas are those of the paper's tables: the released code cannot run, and lacks negatives.",
         "Temperatures stay above 0.05; the released sketch's 1e-5 lets the loss fall without use.",
         "Averaging the terms of several hardest negatives is our reading."),
    )
    recipes = {
        "paper": Recipe({}, "sgd", learning_rate=0.03, weight_decay=5e-4, batch_size=512, epochs=800, warmup=0.0125),
        "small": Recipe(),
    }
    choices = {
        "views": "two strong views of each sample", "encoder": "one, shared", "head": "several 2-layer projectors",
        "target": "the other view; the hardest negative of the batch", "loss": "Gaussian likelihood with learned variances",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s, sizes = self.settings, (encoder.dimension, self.settings.hidden, self.settings.projection)
        self.projectors = MultiHead(s.heads, lambda: mlp(sizes, hidden_norm=False))
        self.temperature = PairTemperature(
            s.projection, lowest=s.lowest, highest=s.highest, heads=s.heads if s.joint else 0
        )

    def forward(self, batch: Batch) -> Outputs:
        z1, z2 = together(self.projectors, together(self.encoder, batch.views))
        return {"z1": z1, "z2": z2}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        """Rows of both views are anchors; their negatives are the rows of the other view."""
        s, z1, z2 = self.settings, outputs["z1"].transpose(0, 1), outputs["z2"].transpose(0, 1)
        forth, back = (
            amcl(a, b, temperature=self.temperature, beta=s.beta, hardest=s.hardest) for a, b in ((z1, z2), (z2, z1))
        )
        return {"amcl": (forth + back) / 2}
