"""CACR on MoCo v3: each momentum key is sought by the predictions of all other crops, the farthest
of them most.

Each prediction of a sample that seeks a key pays MoCo v3's InfoNCE (the kernel cost), or its
distance from the key less the expected distance from other samples' keys (the Euclidean cost). With
two crops alone nothing is weighed: add small ones.

    loss = mean over keys k of  sum_q mean_n p_qn 2 T InfoNCE_n(q, k),
      p = softmax over predictions q of |q - k|^2 / T
Source: Zheng et al. 2023, arXiv 2105.03746, section 4 and the authors' code for ImageNet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from torch import Tensor, nn

from nearfar.losses.instance.cacr import moco_v3_cacr
from nearfar.methods.instance.cacr import CACR
from nearfar.methods.method import (
    Batch,
    Encoder,
    Facets,
    Method,
    Outputs,
    Recipe,
    Spec,
    WantedViews,
)
from nearfar.networks.heads import each, moco_v3_heads
from nearfar.ranges import above, unit_interval, whole_number
from nearfar.targets.momentum import MomentumEncoder, cosine_momentum

_WHOLE = 2
"""Crops that give keys."""


class CACRMoCoV3(Method):
    """Two whole crops and small ones, encoder and momentum copy, projector and predictor, whole
    crops' keys, weighted InfoNCE.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of CACRMoCoV3.

        Attributes:
            temperature: T of both softmaxes, above 0; the authors take 1 for ResNet-50 and 0.2 for
                transformers.
            euclidean: take the Euclidean cost instead of the kernel cost.
            local: number of small crops.
            full: whether small crops give keys, too.
            momentum: share of the copy that stays at the first step, in [0, 1]; rises to 1 along a
                cosine.
            transformer: heads as the authors have them for transformers, and fixed random
                projections of patches.
            hidden: width of the hidden layers of projector and predictor.
            projection: dimensions in which views are compared.
        """

        temperature: Annotated[float, above(0)] = 1.0
        euclidean: bool = False
        local: Annotated[int, whole_number(0, 64)] = 6
        full: bool = False
        momentum: Annotated[float, unit_interval()] = 0.996
        transformer: bool = False
        hidden: Annotated[int, whole_number()] = 4096
        projection: Annotated[int, whole_number()] = 256

    paper = replace(
        CACR.paper,
        departures=(
            "The Euclidean cost is a mean over the batch; the authors' code sums over it.",
            "Small crops are on; the authors' headline figures are without them, where the kernel "
            "cost equals MoCo v3 up to scale.",
            "Heads are those of the authors' ResNet-50 whatever the encoder, unless transformer is "
            "set.",
        ),
    )
    facets = Facets("contrastive.momentum_in_batch", teacher="ema")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="lars",
            learning_rate=0.3,
            weight_decay=1.5e-6,
            batch_size=4096,
            epochs=1000,
            warmup=0.01,
        ),
        "small": Recipe(
            settings={
                "temperature": 0.2,
                "local": 4,
                "momentum": 0.99,
                "hidden": 512,
                "projection": 128,
            }
        ),
    }
    choices = {
        "views": "two whole crops, unequal, and small ones",
        "encoder": "one, and a momentum copy",
        "head": "projector and predictor",
        "target": "the copy's key of a whole crop, sought by all others, the farther the heavier",
        "loss": "weighted InfoNCE or distances",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        self.projector, self.predictor = moco_v3_heads(
            encoder, s.hidden, s.projection, transformer=s.transformer
        )
        self.target = MomentumEncoder(nn.Sequential(encoder, self.projector))

    @property
    def wanted_views(self) -> WantedViews:
        return WantedViews(_WHOLE, self.settings.local, "asymmetric", whole_scale=(0.2, 1.0))

    def forward(self, batch: Batch) -> Outputs:
        predictions = each(nn.Sequential(self.encoder, self.projector, self.predictor), batch.views)
        keys = each(self.target, batch.views if self.settings.full else batch.views[:_WHOLE])
        return {"prediction": torch.stack(predictions, dim=1), "key": torch.stack(keys, dim=1)}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        s = self.settings
        prediction = outputs["prediction"].transpose(0, 1)
        key = outputs["key"].transpose(0, 1)
        return {
            "cacr": moco_v3_cacr(prediction, key, temperature=s.temperature, euclidean=s.euclidean)
        }

    def after_step(self, outputs: Outputs) -> None:
        self.target.update(
            nn.Sequential(self.encoder, self.projector),
            cosine_momentum(self.settings.momentum, self.progress),
        )
