"""SLA: one classifier predicts class and transformation jointly, instead of both apart or the class
whatever the transformation.

Each image enters under M transformations (quarter turns, orders of the colours), and (class,
transformation) is one label of C * M. Where turning changes the meaning (6 and 9), demanding
invariance contradicts itself; joint labels do not. The M predictions of a sample are averaged in
the end, or taught to a plain head on the way.

    loss = mean over images and transformations of CE(joint logits, (y, m))   [+ CE(u, y)
            + T^2 KL(aggregated || u), plain head u]
Source: Lee, Hwang, Shin 2020, arXiv 1910.05872, equations 2 to 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softmax

from nearfar.losses.supervised.label_augmentation import (
    aggregated,
    label_augmentation,
    self_distillation,
    single,
)
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
from nearfar.ranges import above
from nearfar.results.classes import Classes
from nearfar.views.image.expansions import Expansion, expand, transformations


class SLA(Method):
    """One lightly cropped view under M transformations, one encoder, a joint linear classifier,
    joint labels, cross-entropy.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of SLA.

        Attributes:
            expansion: the transformations: "rotation" (4), "rotation-2", "colour" (6), "colour-3",
                "rotation-colour-6", "-12" or "-24", or "none", which is plain classification.
            objective: "joint", or what it is compared with: "augmentation" (the class alone) or
                "multi-task" (both, apart).
            distillation: whether a plain head learns from labels and the aggregated prediction
                (joint objective only).
            temperature: T of the distillation, above 0.
            total: sum over a sample's transformations instead of their mean, as on large data.
        """

        expansion: Expansion = "rotation"
        objective: Literal["joint", "augmentation", "multi-task"] = "joint"
        distillation: bool = False
        temperature: Annotated[float, above(0)] = 1.0
        total: bool = False

    paper = Paper(
        title="Self-supervised Label Augmentation via Input Transformations",
        authors="Lee, Hwang, Shin",
        year=2020,
        arxiv="1910.05872",
        departures=(
            "Crops are resized crops of 80 to 100 % of the area, the paper's are shifted by up to "
            "4 pixels.",
            "The learning rate falls along a cosine, the paper's by 10 at half and three quarters "
            "of the run.",
        ),
    )
    facets = Facets(
        "predictive.geometric_transform", target="transform-label", guard="none", labels="some"
    )
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="sgd",
            learning_rate=0.2,
            weight_decay=1e-4,
            batch_size=128,
            epochs=205,
            warmup=0.0,
        ),
        "small": Recipe(settings={}, batch_size=128),
    }
    modalities = ("image",)
    needs_labels = True
    predicts = Classes
    label_kind = "class"
    choices = {
        "views": "one lightly cropped view, under each transformation",
        "encoder": "one, shared",
        "head": "joint linear classifier",
        "target": "the pair of class and transformation",
        "loss": "cross-entropy",
    }
    wanted_views = WantedViews(whole=1, style="crop", whole_scale=(0.8, 1.0))

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        classes = len(spec.classes)
        count = self.transformations = transformations(s.expansion, spec.shape)
        width = {"joint": classes * count, "augmentation": classes, "multi-task": classes + count}
        self.classifier = nn.Linear(encoder.dimension, width[s.objective])
        self.plain = (
            nn.Linear(encoder.dimension, classes)
            if s.distillation and s.objective == "joint"
            else None
        )

    def forward(self, batch: Batch) -> Outputs:
        return {**self._logits(batch.views[0]), "label": batch.label}

    def _logits(self, x: Tensor) -> Outputs:
        """Logits of all transformations (N, M, width) and, if there is a plain head, its logits (N,
        C) of the images themselves.
        """
        features = self.encoder(expand(x, self.settings.expansion)).view(
            len(x), self.transformations, -1
        )
        plain = {} if self.plain is None else {"plain": self.plain(features[:, 0])}
        return {"logits": self.classifier(features), **plain}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        s = self.settings
        count = self.transformations
        label = outputs["label"]
        logits = outputs["logits"].flatten(0, 1)
        classes = len(self.spec.classes)
        if s.objective == "joint":
            terms = {"joint": label_augmentation(logits, label, count, total=s.total)}
            if self.plain is not None:
                terms["distillation"] = self_distillation(
                    outputs["plain"], logits, label, count, temperature=s.temperature
                )
            return terms
        terms = {"classes": cross_entropy(logits[:, :classes], label.repeat_interleave(count))}
        if s.objective == "multi-task":
            which = torch.arange(count, device=label.device).repeat(len(label))
            terms["transformations"] = cross_entropy(logits[:, classes:], which)
        return terms

    @torch.no_grad()
    def predict(self, x: Any) -> Classes:
        return Classes(self.probabilities(x), self.spec.classes)

    def probabilities(self, x: Any, *, aggregate: bool = True) -> Tensor:
        """Class probabilities (N, C): of the plain head if there is one, else of the average over
        transformations (``aggregate``) or of the images themselves.
        """
        outputs = self._logits(x)
        if self.plain is not None:
            return softmax(outputs["plain"], dim=1)
        if self.settings.objective != "joint":
            return softmax(outputs["logits"][:, 0, : len(self.spec.classes)], dim=1)
        joint = outputs["logits"].flatten(0, 1)
        return softmax((aggregated if aggregate else single)(joint, self.transformations), dim=1)
