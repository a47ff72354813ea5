"""AdaInf: SimCLR on real images and generated ones, with the real ones repeated and the
augmentation weakened.

Generated images make a training set larger but are less like the data, and a strong augmentation on
top blurs what is left of the classes. So the real images are repeated until they weigh as much
again (``--with inflate:generated/,copies=10``, see ``nearfar.data.prepare.inflation``) and both
views are weak. Every row, copy or not, is an instance of its own.

    loss = mean over the 2N rows of  - s(i, partner) / tau + log sum_{j != i} exp(s(i, j) / tau)
Source: Wang et al. 2024, "Do Generated Data Always Help Contrastive Learning?", arXiv 2403.12448,
    sections 3 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor

from nearfar.losses.instance.contrastive import nt_xent
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


class AdaInf(Method):
    """Two weak views, one encoder, a projector without norm, the other view as target, NT-Xent;
    inflated data.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of AdaInf.

        Attributes:
            style: of the views: "weak", or "contrastive" for the strength that the paper argues
                against.
            temperature: of the softmax over similarities, above 0.
            hidden: width of the projector's hidden layer.
            projection: dimensions in which views are compared.
        """

        style: Literal["weak", "contrastive"] = "weak"
        temperature: Annotated[float, above(0)] = 0.2
        hidden: Annotated[int, whole_number()] = 2048
        projection: Annotated[int, whole_number()] = 256

    paper = Paper(
        title="Do Generated Data Always Help Contrastive Learning?",
        authors="Wang, Zhang, Wang",
        year=2024,
        arxiv="2403.12448",
        departures=(
            "Images of up to 64 pixels are not blurred, as in all presets here; the authors blur "
            "half of them.",
            "The authors' loss takes rows with one tag as positives; each row here has its own "
            "tag, which makes it NT-Xent.",
        ),
    )
    facets = Facets("contrastive.in_batch")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="lars",
            learning_rate=0.2,
            weight_decay=1e-4,
            batch_size=512,
            epochs=35,
            warmup=0.01,
        ),
        "small": Recipe(settings={"hidden": 512, "projection": 128}),
    }
    choices = {
        "views": "two weak views of real (repeated) and generated samples",
        "encoder": "one, shared",
        "head": "2-layer projector",
        "target": "the other view; the rest of the batch as negatives",
        "loss": "NT-Xent",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        self.projector = mlp(
            (encoder.dimension, self.settings.hidden, self.settings.projection), hidden_norm=False
        )

    @property
    def wanted_views(self) -> WantedViews:
        return WantedViews(style=self.settings.style)

    def forward(self, batch: Batch) -> Outputs:
        z1, z2 = together(lambda x: self.projector(self.encoder(x)), batch.views)
        return {"z1": z1, "z2": z2}

    def loss(self, outputs: Outputs, rows: slice | None = None) -> dict[str, Tensor]:
        return {
            "nt_xent": nt_xent(
                outputs["z1"], outputs["z2"], temperature=self.settings.temperature, rows=rows
            )
        }
