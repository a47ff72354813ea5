"""CLIP: an image and its text find each other among the images and texts of the batch.

Two encoders, one for each modality, are projected linearly into one space. Each image must pick its
own text among all texts of the batch by cosine similarity, and each text its image; the temperature
is learned. Comparing an image with texts that name classes then classifies without training.

    L = e^s norm(a) norm(b)^T;  loss = (CE(L, diagonal) + CE(L^T, diagonal)) / 2;  e^s at most 100
Source: Radford et al. 2021, arXiv 2103.00020, figure 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from nearfar.batch import Batch
from nearfar.losses.instance.contrastive import clip
from nearfar.methods.method import Facets, Method, Outputs, Paper, Recipe, Spec, WantedViews
from nearfar.networks.projections import OLDER_NAMES, Projections
from nearfar.networks.towers import Towers
from nearfar.ranges import above, at_least, whole_number


class CLIP(Method):
    """One view of a pair, an encoder for each part, linear projections, the partner as target,
    InfoNCE both ways.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of CLIP.

        Attributes:
            projection: dimensions of the shared space.
            temperature: at the start; learned from there, above 0.
            largest_scale: bound of the learned factor 1 / temperature, at least 1.
        """

        projection: Annotated[int, whole_number()] = 512
        temperature: Annotated[float, above(0)] = 0.07
        largest_scale: Annotated[float, at_least(1)] = 100.0

    paper = Paper(
        title="Learning Transferable Visual Models From Natural Language Supervision",
        authors="Radford, Kim, Hallacy, Ramesh et al.",
        year=2021,
        arxiv="2103.00020",
    )
    facets = Facets("contrastive.multimodal", target="pair-label", labels="pairs")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="adamw",
            learning_rate=3.9e-6,
            weight_decay=0.2,
            batch_size=32768,
            epochs=32,
            warmup=0.005,
        ),
        "small": Recipe(
            settings={"projection": 128}, learning_rate=2e-3, weight_decay=0.1, batch_size=128
        ),
    }
    modalities = ("image+text", "*+*")
    encoder_kind = "towers"
    older_names = OLDER_NAMES
    encoder: Towers
    wanted_views = WantedViews(whole=1, style="crop", whole_scale=(0.8, 1.0))
    choices = {
        "views": "one view of each pair",
        "encoder": "one for each modality",
        "head": "a linear projection for each",
        "target": "the sample's other half; all others of the batch as negatives",
        "loss": "InfoNCE both ways",
    }

    def __init__(self, encoder: Towers, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        self.first, self.second = spec.parts
        self.projections = Projections(encoder, s.projection)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(s.temperature)))

    def forward(self, batch: Batch) -> Outputs:
        (pair,) = batch.views
        return {
            "first": self.project_part(self.first, pair[self.first]),
            "second": self.project_part(self.second, pair[self.second]),
        }

    def loss(self, outputs: Outputs, rows: slice | None = None) -> dict[str, Tensor]:
        scale = self.log_scale.exp()
        first, second = (normalize(outputs[part], dim=1) for part in ("first", "second"))
        return {"clip": clip(first, second, logit_scale=scale, rows=rows), "scale": scale.detach()}

    @torch.no_grad()
    def after_step(self, outputs: Outputs) -> None:
        self.log_scale.clamp_(0.0, math.log(self.settings.largest_scale))

    def project_part(self, name: str, x: Any) -> Tensor:
        projected: Tensor = self.projections(name, self.encoder.part(name)(x))
        return projected
