"""A plain classifier: the class of a sample from its features, by cross-entropy.

What methods that change a finished classifier start from, and what others are compared with.

    loss = - mean over samples of log softmax(W f(x) + b)_y
Source: Bridle 1990; the smoothing of labels Szegedy et al. 2016, arXiv 1512.00567, section 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softmax

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
from nearfar.ranges import unit_interval
from nearfar.results.classes import Classes


class Classifier(Method):
    """One lightly cropped view, an encoder, a linear classifier, labels, cross-entropy."""

    @dataclass(frozen=True)
    class Settings:
        """The settings of Classifier.

        Attributes:
            smoothing: share of each label that is spread evenly over all classes, in [0, 1).
        """

        smoothing: Annotated[float, unit_interval(one=False)] = 0.0

    paper = Paper(
        title="Probabilistic Interpretation of Feedforward Classification Network Outputs, with "
        "Relationships to Statistical Pattern Recognition",
        authors="Bridle",
        year=1990,
    )
    facets = Facets("predictive.labels", target="pair-label", guard="none", labels="some")
    recipes = {
        "paper": Recipe(
            optimizer="sgd",
            learning_rate=0.2,
            weight_decay=1e-4,
            batch_size=128,
            epochs=100,
            warmup=0.05,
        ),
        "small": Recipe(batch_size=128),
    }
    needs_labels = True
    label_kind = "class"
    predicts = Classes
    choices = {
        "views": "one lightly cropped view",
        "encoder": "one",
        "head": "linear classifier",
        "target": "labels",
        "loss": "cross-entropy",
    }
    wanted_views = WantedViews(whole=1, style="crop", whole_scale=(0.8, 1.0))

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        self.classifier = nn.Linear(encoder.dimension, len(spec.classes))

    def forward(self, batch: Batch) -> Outputs:
        return {"logits": self.classifier(self.encoder(batch.views[0])), "label": batch.label}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        smoothing = self.settings.smoothing
        found = cross_entropy(outputs["logits"], outputs["label"], label_smoothing=smoothing)
        return {"cross_entropy": found}

    @torch.no_grad()
    def predict(self, x: Any) -> Classes:
        return self.classes_of(self.encode(x))

    def classes_of(self, features: Tensor) -> Classes:
        """What the head says of features (N, D)."""
        return Classes(softmax(self.classifier(features), dim=1), self.spec.classes)
