"""SupReMix: contrast for regression, with hard pairs mixed from the batch's own embeddings.

Views with the same label attract. Mixtures of the anchor with a sample of another label are hard
negatives; mixtures of a sample with a lower and one with a higher label, in just the proportion
that gives the anchor's label, are hard positives. Negatives count more the farther their label is.
SupCon is what is left without mixtures and weights.

    L_i = - mean over real and mixed positives p of ( s_ip - log sum_t (|y_i - y_t|
            + 1) exp(s_it) ),  t: all real and mixed rows
Source: Wu et al. 2023, arXiv 2309.16633, sections 3.2 and 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from nearfar.errors import UserError
from nearfar.losses.supervised.regression_pairs import supremix
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
from nearfar.ranges import above, at_least, whole_number
from nearfar.targets.step_generator import StepGenerator
from nearfar.views.draws import beta


class SupReMix(Method):
    """Two strong views, one encoder, an MLP projector, views and mixtures of the same label as
    targets, distance-weighted SupCon.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of SupReMix.

        Attributes:
            views: of each sample: 2, or 1, where other samples share the label (the paper's
                sentence pairs).
            temperature: of the softmax over similarities, above 0.
            window: label distance of the parents of a mixed positive lies below this; 0: no mixed
                positives.
            mix_negatives: whether mixed negatives take part.
            mixing: parameters of the Beta distribution of the anchor's share in a mixed negative.
            distance_weight: of a negative, by label distance d: "l1-inverse" (d + 1), "l2-inverse"
                (d^2 + 1), "l1", "l2" or "none".
            pool: parts of the batch whose losses are averaged, each contrasted by itself, which
                bounds memory; 1: the whole batch.
            official: as the authors' code, which shifts the logits of real and mixed pairs by
                different maxima.
            hidden: width of the projector's hidden layer.
            projection: dimensions in which views are compared.
        """

        views: Annotated[int, whole_number(1, 64)] = 2
        temperature: Annotated[float, above(0)] = 0.5
        window: Annotated[float, at_least(0)] = 5.0
        mix_negatives: bool = True
        mixing: tuple[Annotated[float, above(0)], Annotated[float, above(0)]] = (2.0, 8.0)
        distance_weight: Literal["l1-inverse", "l2-inverse", "l1", "l2", "none"] = "l1-inverse"
        pool: Annotated[int, whole_number()] = 1
        official: bool = False
        hidden: Annotated[int, whole_number()] = 2048
        projection: Annotated[int, whole_number()] = 128

    paper = Paper(
        title="Mixup Your Own Pairs",
        authors="Wu, Dong, Ma, Chen, Wang, Yang, Zhou",
        year=2023,
        arxiv="2309.16633",
        departures=(
            "Real and mixed pairs share one softmax; the authors' code shifts their logits apart "
            "(see official) and sorts weights apart.",
            "The learning rate falls along a cosine, the paper's by 10 after 80 of 100 epochs.",
        ),
    )
    facets = Facets("contrastive.supervised", target="pair-label", labels="some")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="adamw",
            learning_rate=2e-3,
            weight_decay=0.0,
            batch_size=128,
            epochs=100,
            warmup=0.0,
        ),
        "small": Recipe(settings={"hidden": 512}, batch_size=64),
    }
    needs_labels = True
    label_kind = "value"
    choices = {
        "views": "two strong views of each sample, or one",
        "encoder": "one, shared",
        "head": "2-layer projector",
        "target": "views and mixtures of the same label; all others by distance",
        "loss": "supervised contrastive with mixtures",
    }

    waits = "Mixtures are made by the different labels that the batch holds."

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        if spec.values > 1:
            raise UserError(
                f"supremix orders samples by one number; the labels of {spec.name} are "
                f"{spec.values} numbers: choose one."
            )
        self.projector = nn.Sequential(
            *mlp((encoder.dimension, s.hidden, s.projection)), nn.BatchNorm1d(s.projection)
        )
        self.generator = StepGenerator()

    @property
    def wanted_views(self) -> WantedViews:
        return WantedViews(self.settings.views, whole_scale=(0.2, 1.0))

    def forward(self, batch: Batch) -> Outputs:
        return {
            "views": torch.stack(
                together(self.projector, together(self.encoder, batch.views)), dim=1
            ),
            "label": batch.label,
        }

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        pool = min(self.settings.pool, len(outputs["label"]))
        parts = zip(
            outputs["views"].tensor_split(pool), outputs["label"].tensor_split(pool), strict=True
        )
        generator = self.generator()
        return {
            "supremix": torch.stack(
                [self._contrast(views, label, generator) for views, label in parts]
            ).mean()
        }

    def _contrast(self, views: Tensor, label: Tensor, generator: torch.Generator) -> Tensor:
        s = self.settings
        z = views.transpose(0, 1).flatten(0, 1)
        shares = beta((len(z), len(z)), s.mixing, generator).to(z) if s.mix_negatives else None
        how = {
            "window": s.window or None,
            "temperature": s.temperature,
            "distance_weight": s.distance_weight,
            "official": s.official,
        }
        return supremix(z, label.repeat(views.shape[1]), shares, **how)

    def after_step(self, outputs: Outputs) -> None:
        self.generator.advance()
