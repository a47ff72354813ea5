"""SwAV: predict from one crop the cluster assignment of another; assignments are balanced over the
prototypes.

Unit embeddings of several crops are scored against learned prototypes. The scores of each whole
crop, with those of a queue of past embeddings, are turned into balanced soft codes by Sinkhorn's
iteration, and all other crops (small ones too) predict these codes. No pairs of samples are
compared.

    loss = mean over whole crops a, other crops v, samples n of  - sum_k Q_ank
            log softmax(z_vn C^T / tau)_k
Source: Caron et al. 2020, arXiv 2006.09882, equations 2 to 5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.losses.distillation.clustering import swav
from nearfar.losses.kernels.sinkhorn import sinkhorn
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
from nearfar.ranges import above, unit_interval, whole_number
from nearfar.targets.prototypes import Prototypes
from nearfar.targets.queue import Queue, fitting_length

_WHOLE = 2  # crops that are assigned codes


class SwAV(Method):
    """Multi-crop, one encoder, projector and prototypes, balanced codes of other crops,
    cross-entropy.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of SwAV.

        Attributes:
            temperature: of the softmax over prototypes, above 0.
            epsilon: softness of the codes, above 0.
            iterations: Sinkhorn's passes.
            prototypes: number K of clusters; at least a few times the expected number of classes.
            frozen: share of the run during which the prototypes do not learn.
            queue: past embeddings per whole crop that join in Sinkhorn, for batches smaller than
                ``prototypes``; 0: none.
            queue_start: share of the run after which the queue is filled; it is used once full.
            local: number of small crops.
            hidden: width of the projector's hidden layer.
            projection: dimensions in which crops are compared with prototypes.
        """

        temperature: Annotated[float, above(0)] = 0.1
        epsilon: Annotated[float, above(0)] = 0.05
        iterations: Annotated[int, whole_number(1, 1000)] = 3
        prototypes: Annotated[int, whole_number()] = 3000
        frozen: Annotated[float, unit_interval()] = 0.00125
        queue: Annotated[int, whole_number(0)] = 0
        queue_start: Annotated[float, unit_interval()] = 0.0375
        local: Annotated[int, whole_number(0, 64)] = 6
        hidden: Annotated[int, whole_number()] = 2048
        projection: Annotated[int, whole_number()] = 128

    paper = Paper(
        title="Unsupervised Learning of Visual Features by Contrasting Cluster Assignments",
        authors="Caron, Misra, Mairal, Goyal, Bojanowski, Joulin",
        year=2020,
        arxiv="2006.09882",
        departures=(
            "The queue starts with random vectors instead of zeros; both are left aside until it "
            "is full.",
        ),
    )
    facets = Facets(
        "non_contrastive.clustering",
        target="cluster",
        teacher="online-twin",
        guard="balanced-assignment",
    )
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="larc",
            learning_rate=0.3,
            weight_decay=1e-6,
            batch_size=4096,
            epochs=800,
            warmup=0.0125,
        ),
        "small": Recipe(
            settings={"epsilon": 0.03, "prototypes": 60, "frozen": 0.1, "local": 0, "hidden": 512},
            learning_rate=4e-3,
            batch_size=64,
            epochs=50,
            warmup=0.1,
        ),
    }
    choices = {
        "views": "two whole crops and several small ones",
        "encoder": "one, shared",
        "head": "2-layer projector and unit-length prototypes",
        "target": "the balanced cluster codes of another crop",
        "loss": "cross-entropy over prototypes",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        self.projector = mlp((encoder.dimension, s.hidden, s.projection))
        self.prototypes = Prototypes(s.projection, s.prototypes)
        self.queue = (
            Queue(fitting_length(s.queue, spec.length), _WHOLE * s.projection) if s.queue else None
        )

    @property
    def wanted_views(self) -> WantedViews:
        return WantedViews(
            _WHOLE,
            self.settings.local,
            whole_scale=(0.14, 1.0) if self.settings.local else None,
            local_scale=(0.05, 0.14),
        )

    def forward(self, batch: Batch) -> Outputs:
        crops = together(self.projector, together(self.encoder, batch.views))
        return {"crops": torch.stack(crops, dim=1)}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        scores = self.prototypes(normalize(outputs["crops"], dim=-1)).transpose(0, 1)
        return {
            "swav": swav(scores, self.codes(scores[:_WHOLE]), temperature=self.settings.temperature)
        }

    @torch.no_grad()
    def codes(self, scores: Tensor) -> Tensor:
        """Balanced codes (2, N, K) of the whole crops' scores, each crop in the company of its
        queue.
        """
        s = self.settings
        samples = scores.shape[1]
        if self.queue is not None and self.queue.full:
            past = self.queue.rows.reshape(-1, _WHOLE, s.projection).transpose(0, 1)
            scores = torch.cat([self.prototypes(past), scores], dim=1)
        return torch.stack(
            [
                sinkhorn(crop, epsilon=s.epsilon, iterations=s.iterations)[-samples:]
                for crop in scores
            ]
        )

    def after_backward(self, phase: str) -> None:
        if self.progress < self.settings.frozen:
            self.prototypes.weight.grad = None

    def alarm(self, terms: Mapping[str, float]) -> str | None:
        s = self.settings
        even = math.log(self.settings.prototypes)
        if self.progress < max(0.1, s.frozen) or abs(terms["swav"] - even) > 0.01 * even:
            return None
        return (
            f"The loss stays at log K = {even:.2f}: codes are too soft. Lower epsilon (now "
            f"{s.epsilon}) or take more prototypes."
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [
            {"params": [p for p in self.parameters() if p.requires_grad], "decay": True}
        ]  # LARC decays vectors too

    def after_step(self, outputs: Outputs) -> None:
        self.prototypes.normalise()
        if self.queue is not None and self.progress >= self.settings.queue_start:
            self.queue.push(normalize(outputs["crops"][:, :_WHOLE], dim=-1).flatten(1))
