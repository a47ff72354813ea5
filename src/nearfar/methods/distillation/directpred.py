"""DirectPred: BYOL with a linear predictor that is computed from the statistics of its inputs
instead of trained.

In a linear network its eigenvectors turn towards those of F, the correlation of the online
projections, and its eigenvalues towards the roots of F's. So it is set to that after each step
("eigen"), to another power of F ("set") or to F ("copy").

    loss = mean over n of  - 2 cos(W f1, t2) - 2 cos(W f2, t1),  t from the momentum copy
    F <- rho F + (1 - rho) mean f f^T = U diag(s) U^T;   W <- U diag(sqrt(s / max s) + epsilon) U^T
Source: Tian et al. 2021, arXiv 2102.06810, section 3; DirectSet and DirectCopy: Wang et al. 2021,
    arXiv 2110.04947.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from nearfar.losses.distillation.direct_predictor import (
    direct_copy,
    direct_prediction,
    direct_predictor,
    direct_set,
)
from nearfar.methods.method import Batch, Encoder, Facets, Method, Outputs, Paper, Recipe, Spec
from nearfar.networks.heads import each
from nearfar.ranges import at_least, unit_interval, whole_number
from nearfar.targets.correlation import RunningCorrelation
from nearfar.targets.momentum import MomentumEncoder

_NORMS: dict[str, float | str | None] = {"spectral": 2, "frobenius": "fro", "none": None}


class DirectPred(Method):
    """Two views, encoder and momentum copy, a linear predictor set from correlations, the copy's
    projection as target.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of DirectPred.

        Attributes:
            predictor: "eigen" (DirectPred), "set" (DirectSet), "copy" (DirectCopy) or "learned" (by
                gradient).
            epsilon: lifts small eigenvalues of the predictor; 0.3 is usual for "set" and "copy".
            epsilon_inside: whether it is added under the root, for "eigen".
            power: of F's eigenvalues, for "set".
            norm: what "copy" divides F by: "spectral", "frobenius" or "none" (as the authors'
                code).
            shrink: share that is taken off the eigenvalues in the end, for "eigen".
            every: steps between two settings of the predictor.
            rho: share of the past in the running correlation, in [0, 1].
            centred: whether the running mean's outer product is taken off F.
            normalise: whether predictions and targets are compared as unit vectors.
            momentum: share of the copy that stays at each step, in [0, 1].
            random_target: whether the copy starts from random weights of its own, as the authors'
                code has it.
            hidden: width of the projector's hidden layer.
            projection: dimensions in which views are compared.
        """

        predictor: Literal["eigen", "set", "copy", "learned"] = "eigen"
        epsilon: Annotated[float, at_least(0)] = 0.01
        epsilon_inside: bool = False
        power: Annotated[float, at_least(0)] = 0.5
        norm: Literal["spectral", "frobenius", "none"] = "spectral"
        shrink: Annotated[float, unit_interval()] = 0.0
        every: Annotated[int, whole_number()] = 1
        rho: Annotated[float, unit_interval()] = 0.3
        centred: bool = False
        normalise: bool = True
        momentum: Annotated[float, unit_interval()] = 0.996
        random_target: bool = False
        hidden: Annotated[int, whole_number()] = 512
        projection: Annotated[int, whole_number()] = 128

    paper = Paper(
        title="Understanding Self-Supervised Learning Dynamics without Contrastive Pairs",
        authors="Tian, Chen, Ganguli",
        year=2021,
        arxiv="2102.06810",
        departures=(
            "F's eigenvalues are divided by the largest before the root, as coded.",
            "The copy starts equal unless random_target is set.",
            "DirectCopy divides F by its spectral norm; the paper leaves the norm open, the "
            "authors' code does not divide.",
        ),
    )
    facets = Facets(
        "non_contrastive.asymmetric_prediction", teacher="ema", guard="stop-gradient+predictor"
    )
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="sgd",
            learning_rate=0.06,
            weight_decay=4e-4,
            batch_size=128,
            epochs=100,
            warmup=0.0,
        ),
        "small": Recipe(settings={"epsilon": 0.1, "momentum": 0.98}),
    }
    choices = {
        "views": "two strong views",
        "encoder": "one, and a momentum copy",
        "head": "projector and a linear predictor",
        "target": "the copy's projection of the other view; no negatives",
        "loss": "negative cosine, the predictor set from statistics",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        first = nn.Linear(encoder.dimension, s.hidden)
        last = nn.Linear(s.hidden, s.projection)
        self.projector = nn.Sequential(
            first, nn.BatchNorm1d(s.hidden, affine=False), nn.ReLU(), last
        )
        self.predictor = nn.Linear(s.projection, s.projection, bias=False).requires_grad_(
            s.predictor == "learned"
        )
        self.target = MomentumEncoder(nn.Sequential(encoder, self.projector))
        if s.random_target:
            self.target.restart()
        self.correlation = RunningCorrelation(s.projection)

    def forward(self, batch: Batch) -> Outputs:
        f1, f2 = each(nn.Sequential(self.encoder, self.projector), batch.views)
        target1, target2 = each(self.target, batch.views)
        predictions = {"p1": self.predictor(f1), "p2": self.predictor(f2)}
        return predictions | {
            "target1": target1,
            "target2": target2,
            "f1": f1.detach(),
            "f2": f2.detach(),
        }

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        compared = {name: outputs[name] for name in ("p1", "p2", "target1", "target2")}
        return {"directpred": direct_prediction(**compared, normalise=self.settings.normalise)}

    def after_step(self, outputs: Outputs) -> None:
        """The predictor first, the copy after it."""
        s = self.settings
        due = int(self.correlation.updates) % s.every == 0
        self.correlation.update(torch.cat([outputs["f1"], outputs["f2"]]), s.rho)
        if due and s.predictor != "learned":
            self.predictor.weight.copy_(self.computed_predictor())
        self.target.update(nn.Sequential(self.encoder, self.projector), s.momentum)

    def computed_predictor(self) -> Tensor:
        """What the settings make of the running correlation: (projection, projection)."""
        s = self.settings
        f = self.correlation.centred() if s.centred else self.correlation.matrix
        if s.predictor == "set":
            return direct_set(f, power=s.power, epsilon=s.epsilon)
        if s.predictor == "copy":
            return direct_copy(f, epsilon=s.epsilon, norm=_NORMS[s.norm])
        return direct_predictor(
            f, epsilon=s.epsilon, epsilon_inside=s.epsilon_inside, shrink=s.shrink
        )
