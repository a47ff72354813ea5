"""CACR: positives compete to attract, negatives compete to repel, and the two expected costs are
added.

InfoNCE lets positives and negatives share one softmax. Here several views of a sample are weighed
among themselves, the farthest most, and the other samples among themselves, the nearest most; so
the loss attends to hard positives too, and to what is near in this data rather than to what is
frequent. This is the form for small images; see cacr-queue, cacr-moco-v3.

    loss = mean_i sum_p w+(p) c(i, p)  -  mean_i sum_n w-(n) c(i, n),
      c squared distance of unit vectors
    w+ = softmax over the sample's other views of t+ c,
      w- = softmax over the other samples of - t- c
Source: Zheng et al. 2023, arXiv 2105.03746, equations 3 to 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from nearfar.losses.instance.cacr import attraction, repulsion
from nearfar.losses.kernels.similarity import unit
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
from nearfar.ranges import above, at_least, unit_interval, whole_number


class CACR(Method):
    """Several views, one encoder, a projector, the other views attract and the other samples repel,
    weighted distances.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of CACR.

        Attributes:
            views: V of each sample, at least 2; V - 1 positives compete.
            positive_temperature: t+, at least 0.
            negative_temperature: t-, at least 0; the paper has 0.9 for CIFAR-10 and 2 for all other
                sets.
            attraction: alpha, weight of the positives' cost.
            repulsion: beta, weight of the negatives' cost.
            uniform_attraction: weigh all positives alike (the paper's ablation).
            uniform_repulsion: weigh all negatives alike (the paper's ablation).
            debias: prior probability that a negative is of the anchor's class, in [0, 1); the paper
                tries 0.1.
            kernel_width: t of the repulsion by kernels exp(-t c); None for squared distances.
            hidden: width of the projector's hidden layer.
            projection: dimensions in which views are compared.
        """

        views: Annotated[int, whole_number(2, 64)] = 5
        positive_temperature: Annotated[float, at_least(0)] = 1.0
        negative_temperature: Annotated[float, at_least(0)] = 2.0
        attraction: Annotated[float, at_least(0)] = 1.0
        repulsion: Annotated[float, at_least(0)] = 1.0
        uniform_attraction: bool = False
        uniform_repulsion: bool = False
        debias: Annotated[float, unit_interval(one=False)] = 0.0
        kernel_width: Annotated[float, above(0)] | None = None
        hidden: Annotated[int, whole_number()] = 4096
        projection: Annotated[int, whole_number()] = 128

    paper = Paper(
        title="Contrastive Attraction and Contrastive Repulsion for Representation Learning",
        authors="Zheng, Chen, Yao, Yang, Li, Zhang et al.",
        year=2023,
        arxiv="2105.03746",
        departures=(
            "Any encoder with a projector of one hidden layer takes the place of the authors' "
            "small AlexNet.",
            "The learning rate falls along a cosine; the authors' falls tenfold after epochs 155, "
            "170 and 185.",
        ),
    )
    facets = Facets("contrastive.in_batch")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="sgd",
            learning_rate=0.12,
            weight_decay=1e-4,
            batch_size=128,
            epochs=200,
            warmup=0.0,
        ),
        "small": Recipe(settings={"views": 4, "hidden": 512}),
    }
    choices = {
        "views": "several strong views of each sample",
        "encoder": "one, shared",
        "head": "2-layer projector",
        "target": "the sample's other views, the farther the heavier; other samples, the nearer "
        "the heavier",
        "loss": "contrastive attraction plus contrastive repulsion",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        self.projector = mlp((encoder.dimension, s.hidden, s.projection))

    @property
    def wanted_views(self) -> WantedViews:
        return WantedViews(self.settings.views, whole_scale=(0.2, 1.0))

    def forward(self, batch: Batch) -> Outputs:
        return {
            "views": torch.stack(
                together(self.projector, together(self.encoder, batch.views)), dim=1
            )
        }

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        s = self.settings
        z = unit(outputs["views"]).transpose(0, 1)
        return {
            "attraction": attraction(
                z,
                temperature=s.positive_temperature,
                weight=s.attraction,
                uniform=s.uniform_attraction,
            ),
            "repulsion": repulsion(
                z,
                temperature=s.negative_temperature,
                weight=s.repulsion,
                uniform=s.uniform_repulsion,
                debias=s.debias,
                kernel_width=s.kernel_width,
            ),
        }
