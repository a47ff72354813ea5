"""SupCon: all views of all samples of one class attract each other, everything else repels.

SimCLR with labels: positives of a view are its sample's other view and every view of every sample
with the same label. The softmax is taken for each positive and the logarithms are averaged outside
it.

    loss = mean over views i of  - (tau / tau_base) (1 / |P(i)|) sum_{p in P(i)}
            log softmax_{a != i}(z_i.z_a / tau)_p
Source: Khosla et al. 2020, arXiv 2004.11362, equation 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.losses.supervised.supervised import supcon
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


class SupCon(Method):
    """Two views, one encoder, an MLP projector, all views of the same class as targets, the L_out
    loss.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of SupCon.

        Attributes:
            temperature: of the softmax over similarities, above 0.
            base_temperature: the loss is scaled by temperature / base_temperature.
            hidden: width of the projector's hidden layer.
            projection: dimensions in which views are compared.
        """

        temperature: Annotated[float, above(0)] = 0.07
        base_temperature: Annotated[float, above(0)] = 0.07
        hidden: Annotated[int, whole_number()] = 2048
        projection: Annotated[int, whole_number()] = 128

    paper = Paper(
        title="Supervised Contrastive Learning",
        authors="Khosla, Teterwak, Wang, Sarna, Tian et al.",
        year=2020,
        arxiv="2004.11362",
    )
    facets = Facets("contrastive.supervised", target="pair-label", labels="some")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="sgd",
            learning_rate=0.05,
            weight_decay=1e-4,
            epochs=1000,
            warmup=0.0,
        ),
        "small": Recipe(
            settings={"temperature": 0.1, "base_temperature": 0.1, "hidden": 512},
            batch_size=64,
            warmup=0.1,
        ),
    }
    needs_labels = True
    label_kind = "class"
    wanted_views = WantedViews(whole_scale=(0.2, 1.0))
    choices = {
        "views": "two strong views of each sample",
        "encoder": "one, shared",
        "head": "2-layer projector, no norm",
        "target": "every view of the same class; the rest of the batch as negatives",
        "loss": "supervised contrastive",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        self.projector = mlp(
            (encoder.dimension, self.settings.hidden, self.settings.projection), hidden_norm=False
        )

    def forward(self, batch: Batch) -> Outputs:
        views = together(self.projector, together(self.encoder, batch.views))
        return {"views": torch.stack(views, dim=1), "label": batch.label}

    def loss(self, outputs: Outputs, rows: slice | None = None) -> dict[str, Tensor]:
        features = normalize(outputs["views"], dim=-1)
        label = outputs["label"]
        tau = self.settings.temperature
        base = self.settings.base_temperature
        return {
            "supcon": supcon(features, label, temperature=tau, base_temperature=base, rows=rows)
        }
