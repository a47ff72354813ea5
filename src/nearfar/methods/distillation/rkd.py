"""RKD: among the samples of a batch, distances and angles are as the teacher has them.

Only relations are compared, so that student and teacher may have any dimensions and no layer stands
between them.

    loss = w_D mean_{i != j} l(|s_i - s_j| / mu_s, |t_i - t_j| / mu_t)
         + w_A mean_{i, j, k distinct} l(cos(s_i - s_j, s_k - s_j), cos(t_i - t_j, t_k - t_j))
    l is the Huber loss of width 1, mu the mean distance in the batch
Source: Park et al. 2019, arXiv 1904.05068, equations 4 to 9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor
from torch.nn.functional import normalize

from nearfar.losses.distillation.relational import rkd_angle, rkd_distance
from nearfar.methods.distillation._teacher import Distilling
from nearfar.methods.method import Batch, Facets, Outputs, Paper, Recipe
from nearfar.ranges import at_least


class RKD(Distilling):
    """One strong view, any student, no head, the teacher's distances and angles in the batch, Huber
    losses.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of RKD.

        Attributes:
            distance: Weight of the distances, at least 0.
            angle: Weight of the angles, at least 0.
            normalise: Whether features are made unit rows first, on both sides.
        """

        distance: Annotated[float, at_least(0)] = 25.0
        angle: Annotated[float, at_least(0)] = 50.0
        normalise: bool = False

    paper = Paper(
        title="Relational Knowledge Distillation",
        authors="Park, Kim, Lu, Cho",
        year=2019,
        arxiv="1904.05068",
        departures=(
            "Relations are all that is learned from; the paper adds them to a loss on labels.",
            "The weights are those of the paper's classifiers; the optimiser is a classifier's "
            "usual one.",
            "Means are over distinct members, as in the paper's sets; the authors' code also "
            "counts pairs and triples with equal members, which are 0.",
        ),
    )
    facets = Facets("non_contrastive.self_distillation", teacher="frozen", guard="none")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="sgd",
            learning_rate=0.1,
            batch_size=128,
            epochs=200,
            scale=False,
            weight_decay=5e-4,
            warmup=0.0,
        ),
        "small": Recipe(batch_size=64),
    }
    choices = {
        "views": "one strong view, which both see",
        "encoder": "any student; any finished teacher",
        "head": "none",
        "target": "the teacher's distances and angles among the samples of a batch",
        "loss": "Huber losses of distances and of cosines",
    }

    def forward(self, batch: Batch) -> Outputs:
        (x,) = batch.views
        return {"student": self.encoder(x), "teacher": self.taught(x)}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        s = self.settings
        pair = outputs["student"], outputs["teacher"]
        if s.normalise:
            pair = normalize(pair[0], dim=1), normalize(pair[1], dim=1)
        return {"distance": s.distance * rkd_distance(*pair), "angle": s.angle * rkd_angle(*pair)}
