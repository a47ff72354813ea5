"""Core-tuning: fine-tune a pretrained encoder with cross-entropy and contrast on mined and mixed
features.

Of each sample's features the least similar row of its class and the most similar row of another are
mixed into a hard positive, and itself with any row into a hard negative. Classifier and projector
see the originals and both mixtures with soft labels. Contrast keeps the classes tight, which
cross-entropy alone does not. Start it from a run: ``--start-from RUN``.

    loss = - mean over 3N rows of sum_c Y_c log softmax(W h)_c  -  eta mean_i 1/|P_i|
            sum_{p in P_i} (1 - p_ip) log p_ip
Source: Zhang et al. 2021, arXiv 2102.06605, equations 3 to 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softmax

from nearfar.losses.supervised.core_tuning import focal_contrast, mixed_pairs, soft_cross_entropy
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
from nearfar.networks.heads import mlp
from nearfar.ranges import above, at_least, unit_interval, whole_number
from nearfar.results.classes import Classes
from nearfar.targets.step_generator import StepGenerator
from nearfar.views.draws import beta


class CoreTuning(Method):
    """One lightly cropped view, a pretrained encoder, classifier and projector, soft labels,
    cross-entropy and focal contrast.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of CoreTuning.

        Attributes:
            contrast: eta, weight of the contrast, at least 0; the paper chooses among 0.1, 1 and
                10.
            temperature: of the contrast's softmax, above 0.
            mixing: both parameters of the Beta distribution of shares, above 0.
            least: smallest share of the partner in a hard negative, in [0, 1].
            detach: whether originals enter without gradient, so that the encoder learns through
                mixtures alone.
            official: as the authors' code, whose hardest positive is mostly the sample itself and
                whose contrast is divided by 3N instead of the number of positives.
            hidden: width of the projector's hidden layer.
            projection: dimensions in which rows are contrasted.
        """

        contrast: Annotated[float, at_least(0)] = 0.1
        temperature: Annotated[float, above(0)] = 0.07
        mixing: Annotated[float, above(0)] = 1.0
        least: Annotated[float, unit_interval()] = 0.8
        detach: bool = True
        official: bool = False
        hidden: Annotated[int, whole_number()] = 2048
        projection: Annotated[int, whole_number()] = 256

    paper = Paper(
        title="Unleashing the Power of Contrastive Self-Supervised Visual Models via "
        "Contrast-Regularized Fine-Tuning",
        authors="Zhang, Hooi, Hu, Liang, Feng",
        year=2021,
        arxiv="2102.06605",
        departures=(
            "The hardest positive is the true minimum and the contrast is averaged over positives, "
            "as in the paper (see official).",
            "Soft labels are compared as vectors; the authors' code compares a sum of their "
            "digits.",
        ),
    )
    facets = Facets("contrastive.supervised", target="pair-label", labels="some")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="sgd",
            learning_rate=0.01,
            weight_decay=1e-4,
            epochs=100,
            warmup=0.0,
        ),
        "small": Recipe(
            settings={"contrast": 1.0, "detach": False, "hidden": 512},
            optimizer="sgd",
            learning_rate=0.1,
            batch_size=128,
        ),
    }
    needs_labels = True
    predicts = Classes
    label_kind = "class"
    wanted_views = WantedViews(whole=1, style="crop", whole_scale=(0.8, 1.0))
    choices = {
        "views": "one lightly cropped view",
        "encoder": "a pretrained one",
        "head": "linear classifier, 2-layer projector",
        "target": "soft labels of mined and mixed features",
        "loss": "cross-entropy and focal contrast",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        self.classifier = nn.Linear(encoder.dimension, len(spec.classes), bias=False)
        self.projector = mlp((encoder.dimension, s.hidden, s.projection), hidden_norm=False)
        self.generator = StepGenerator()

    def forward(self, batch: Batch) -> Outputs:
        return {"features": self.encoder(batch.views[0]), "label": batch.label}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        s = self.settings
        features = outputs["features"]
        label = outputs["label"]
        draws = self._draws(len(label), features)
        rows, soft = mixed_pairs(
            features, label, len(self.spec.classes), draws, least=s.least, official=s.official
        )
        if not s.detach:
            rows = torch.cat([features, rows[len(features) :]])
        contrast = focal_contrast(
            self.projector(rows), soft, temperature=s.temperature, official=s.official
        )
        return {
            "cross_entropy": soft_cross_entropy(self.classifier(rows), soft),
            "contrast": s.contrast * contrast,
        }

    def _draws(self, count: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        generator = self.generator()
        mixing = (self.settings.mixing, self.settings.mixing)
        permutation = torch.randperm(count, generator=generator).to(like.device)
        return (
            permutation,
            beta((count,), mixing, generator).to(like),
            beta((count,), mixing, generator).to(like),
        )

    def after_step(self, outputs: Outputs) -> None:
        self.generator.advance()

    @torch.no_grad()
    def predict(self, x: Any) -> Classes:
        return Classes(softmax(self.classifier(self.encode(x)), dim=1), self.spec.classes)
