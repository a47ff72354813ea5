"""SimCLR: two views of one image attract, all other images of the batch repel.

Both views of N samples pass one encoder and a small projector; each of the 2N projections must find
its partner among the other 2N - 1 by cosine similarity. The projector is dropped afterwards.

    loss = mean over the 2N rows of  - s(i, partner) / tau + log sum_{j != i} exp(s(i, j) / tau)
Source: Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations",
    equation 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from nearfar.losses.instance.contrastive import nt_xent
from nearfar.methods.method import Batch, Encoder, Facets, Method, Outputs, Paper, Recipe, Spec
from nearfar.networks.heads import simclr_projector, together
from nearfar.ranges import above, whole_number


class SimCLR(Method):
    """Two views, one encoder, an MLP projector, the other view as target, NT-Xent."""

    @dataclass(frozen=True)
    class Settings:
        """The settings of SimCLR.

        Attributes:
            temperature: of the softmax over similarities, above 0.
            hidden: width of the projector's hidden layer.
            projection: dimensions in which views are compared.
        """

        temperature: Annotated[float, above(0)] = 0.1
        hidden: Annotated[int, whole_number()] = 2048
        projection: Annotated[int, whole_number()] = 128

    paper = Paper(
        title="A Simple Framework for Contrastive Learning of Visual Representations",
        authors="Chen, Kornblith, Norouzi, Hinton",
        year=2020,
        arxiv="2002.05709",
        departures=(
            "The mean over 2N rows is taken; the authors' code adds two views' means, twice that.",
        ),
    )
    facets = Facets("contrastive.in_batch")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="lars",
            learning_rate=0.3,
            weight_decay=1e-6,
            batch_size=4096,
            epochs=1000,
            warmup=0.01,
        ),
        "small": Recipe(settings={"hidden": 512}, learning_rate=8e-3, batch_size=128, epochs=40),
    }
    choices = {
        "views": "two strong views of each sample",
        "encoder": "one, shared",
        "head": "2-layer projector",
        "target": "the other view; the rest of the batch as negatives",
        "loss": "NT-Xent",
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
        return {
            "nt_xent": nt_xent(
                outputs["z1"], outputs["z2"], temperature=self.settings.temperature, rows=rows
            )
        }
