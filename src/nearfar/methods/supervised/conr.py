"""ConR: imbalanced regression with a contrastive term that keeps rare labels from collapsing into
their frequent neighbours.

A regressor learns as usual from one view. Of two further views, features with near labels attract;
those whose labels are far but whose predictions are near, so that the regressor confuses them,
repel, harder the farther their labels are and the rarer the anchor. Unlike SupReMix it trains
encoder and regressor together and needs no second stage.

    loss = mean_i omega_i |f(x_i) - y_i|  +  beta mean_i omega_i L_i,
      negatives: |y_i - y_j| > w and |p_i - p_j| <= w
    L_i = - 1/|P_i| sum_{p in P_i} ( l_ip - log( sum_P exp(l) + sum_N omega_i exp(e |y_i - y_n|)
    exp(l_in) ) )
Source: Keramati, Meng, Evans 2024, arXiv 2309.06651, equations 1 to 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from nearfar.losses.supervised.regression_pairs import conr
from nearfar.methods.method import (
    Batch,
    Encoder,
    Facets,
    Method,
    Outputs,
    Paper,
    Recipe,
    Spec,
    TrainingSet,
    WantedViews,
)
from nearfar.networks.heads import together
from nearfar.ranges import above, at_least
from nearfar.results.values import Values
from nearfar.targets.density import density_weights


class ConR(Method):
    """Two strong views and a weak one, one encoder, a linear regressor, near labels as targets, L1
    and a contrastive regulariser.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of ConR.

        Attributes:
            contrast: beta, weight of the contrastive term, at least 0.
            window: w, label distance (Euclidean if labels are several numbers) up to which samples
                are alike, in units of the label.
            temperature: of the softmax over similarities, above 0.
            push: e, growth of a negative's weight with its label distance.
            density: weights omega by the rarity of labels: "none", "inverse" or "inverse-root".
            bandwidth: of the density's smoothing, in units of the label.
            official: whether other columns add 1 to the denominator, as in the authors' code.
        """

        contrast: Annotated[float, at_least(0)] = 4.0
        window: Annotated[float, at_least(0)] = 1.0
        temperature: Annotated[float, above(0)] = 0.07
        push: Annotated[float, at_least(0)] = 0.01
        density: Literal["none", "inverse", "inverse-root"] = "none"
        bandwidth: Annotated[float, above(0)] = 2.0
        official: bool = False

    paper = Paper(
        title="ConR: Contrastive Regularizer for Deep Imbalanced Regression",
        authors="Keramati, Meng, Evans",
        year=2024,
        arxiv="2309.06651",
        departures=(
            "The denominator holds positives and negatives alone; in the authors' code every other "
            "column adds 1 (see official).",
            "An anchor without positives counts 0, in the authors' code it is not a number.",
            "The regressor's bias starts at the median label, which the paper's long training "
            "finds by itself.",
            "The learning rate falls along a cosine, the paper's by 10 after 60 and 80 of 120 "
            "epochs.",
        ),
    )
    facets = Facets("contrastive.supervised", target="pair-label", labels="some")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="adamw",
            learning_rate=1e-3,
            weight_decay=0.0,
            batch_size=64,
            epochs=120,
            warmup=0.0,
        ),
        "small": Recipe(settings={}, learning_rate=4e-3, batch_size=64),
    }
    needs_labels = True
    predicts = Values
    label_kind = "value"
    wanted_views = WantedViews(whole_scale=(0.2, 1.0), further=("crop",))
    choices = {
        "views": "two strong views, and a cropped one to regress from",
        "encoder": "one, shared",
        "head": "linear regressor",
        "target": "the label; near labels as positives, confusions as negatives",
        "loss": "L1 and weighted supervised contrastive",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        self.regressor = nn.Linear(encoder.dimension, spec.values)
        self.weight: Tensor
        self.register_buffer("weight", torch.ones(spec.length))

    def before_epoch(self, epoch: int, training_set: TrainingSet) -> None:
        s = self.settings
        label = training_set.label
        if epoch == 0 and label is not None:
            self.weight.copy_(density_weights(label, kind=s.density, bandwidth=s.bandwidth))
            self.regressor.bias.data.copy_(label.view(len(label), -1).median(dim=0).values)

    def forward(self, batch: Batch) -> Outputs:
        features = torch.stack(together(self.encoder, batch.views), dim=1)
        prediction = self.regressor(features)
        return {
            "features": features[:, :2],
            "prediction": prediction,
            "label": batch.label,
            "weight": self.weight[batch.index],
        }

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        s = self.settings
        weight = outputs["weight"]
        label = outputs["label"].view(len(weight), -1)
        first, second, usual = outputs["prediction"].unbind(1)
        contrast = conr(
            torch.cat(outputs["features"].unbind(1)),
            label.repeat(2, 1),
            torch.cat([first, second]),
            density_weight=weight.repeat(2),
            window=s.window,
            temperature=s.temperature,
            push=s.push,
            official=s.official,
        )
        return {
            "regression": (weight[:, None] * (usual - label).abs()).mean(),
            "contrast": s.contrast * contrast,
        }

    @torch.no_grad()
    def predict(self, x: Any) -> Values:
        found: Tensor = self.regressor(self.encode(x))
        return Values(found.squeeze(1))
