"""DCL: SimCLR without the positive in the denominator, so that easy pairs and small batches no
longer weaken the gradient.

NT-Xent multiplies every gradient of a row by the negatives' share of its denominator, which is near
0 when the partner is easily found, most of all among few negatives. Leaving the partner out of the
sum removes that factor. DCLW also weighs the
positives: the farther apart a pair, the more it attracts.

    loss = mean over the 2N rows of  - w s(i, partner) / tau + log
            sum_{j != i, partner} exp(s(i, j) / tau)
    w = 1 (DCL),  or 2 - exp(s(i, partner) / sigma) / mean over pairs of the same (DCLW), a constant
Source: Yeh et al. 2022, arXiv 2110.06848, equations 4 and 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from torch import Tensor

from nearfar.losses.instance.decoupled import coupling, dcl, dclw
from nearfar.methods.method import Batch, Encoder, Facets, Method, Outputs, Paper, Recipe, Spec
from nearfar.networks.heads import simclr_projector, together
from nearfar.ranges import above, whole_number


class DCL(Method):
    """Two views, one encoder, an MLP projector, the other view as target, the decoupled contrastive
    loss.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of DCL.

        Attributes:
            temperature: of the softmax over similarities, above 0.
            weighted: weigh the positives (DCLW).
            sigma: temperature of the positives' weights, above 0.
            hidden: width of the projector's hidden layer.
            projection: dimensions in which views are compared.
        """

        temperature: Annotated[float, above(0)] = 0.1
        weighted: bool = False
        sigma: Annotated[float, above(0)] = 0.5
        hidden: Annotated[int, whole_number()] = 2048
        projection: Annotated[int, whole_number()] = 128

    paper = Paper(
        title="Decoupled Contrastive Learning",
        authors="Yeh, Hong, Hsu, Liu, Chen, LeCun",
        year=2022,
        arxiv="2110.06848",
        departures=(
            "The mean of the two directions is taken; the usual unofficial code adds them, twice "
            "that.",
            "Left-out terms are dropped exactly and DCLW's weights are constants, unlike in that "
            "code.",
        ),
    )
    facets = Facets("contrastive.in_batch")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="lars",
            learning_rate=0.3,
            weight_decay=1e-6,
            batch_size=256,
            epochs=200,
            warmup=0.05,
        ),
        "small": Recipe(settings={"temperature": 0.2, "hidden": 512}),
    }
    choices = {
        "views": "two strong views of each sample",
        "encoder": "one, shared",
        "head": "2-layer projector",
        "target": "the other view; the rest of the batch as negatives",
        "loss": "NT-Xent without the positive below",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        self.projector = simclr_projector(
            encoder.dimension, self.settings.hidden, self.settings.projection
        )

    def forward(self, batch: Batch) -> Outputs:
        z1, z2 = together(self.projector, together(self.encoder, batch.views))
        return {"z1": z1, "z2": z2}

    def loss(self, outputs: Outputs, rows: slice | None = None) -> dict[str, Tensor]:
        """The loss, and as a diagnostic "coupling", the mean factor by which NT-Xent would weaken
        its gradients.
        """
        s = self.settings
        z1 = outputs["z1"]
        z2 = outputs["z2"]
        loss = partial(dclw, sigma=s.sigma) if s.weighted else dcl
        value, factor = (f(z1, z2, temperature=s.temperature, rows=rows) for f in (loss, coupling))
        return {"dcl": value, "coupling": factor.mean()}
