"""SuSana Distancia: few-shot episodes whose losses separate the classes' neighbourhoods and their
means.

An episode holds a few samples of a few classes, some as support, the others as queries. ICNN scores
how tight each class's nearest neighbours are within it and how far those of other classes;
Proto-Triplet asks each query to be nearer to the mean of its class's support than to any other
mean, by a margin. Both work on distances, unlike the cross-entropy of prototypical networks.

    loss = mean of the chosen terms:  - log score(features),
      mean_q max(0, d(q, own mean) - min_other d(q, mean) + margin)
Source: Mendez-Ruiz et al. 2023, arXiv 2305.09062, ICNN and Proto-Triplet losses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from nearfar.errors import UserError
from nearfar.losses.supervised.episodes import (
    distances,
    neighbour_score,
    prototype_triplet,
    prototypes,
)
from nearfar.methods.method import (
    Batch,
    Encoder,
    Episodes,
    Facets,
    Method,
    Outputs,
    Paper,
    Recipe,
    Spec,
    WantedBatches,
    WantedViews,
)
from nearfar.ranges import at_least, whole_number

Term = Literal[
    "icnn", "icnn-support", "icnn-query", "icnn-query-support", "triplet", "cross-entropy"
]
"""What an episode's loss may be made of."""


class SuSanaDistancia(Method):
    """One lightly cropped view of an episode's samples, one encoder, no head, class means and
    neighbours, distance losses.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of SuSanaDistancia.

        Attributes:
            terms: which are averaged: "icnn" (support and queries together), "icnn-support",
                "icnn-query" (queries against class means), "icnn-query-support" (queries against
                the support), "triplet", "cross-entropy" (of the squared distances to class means).
            way: classes of an episode, at least 2.
            shot: support samples of each class.
            query: query samples of each class.
            neighbours: k of the score.
            margin: of the triplets, at least 0.
        """

        terms: tuple[Term, ...] = ("icnn", "triplet")
        way: Annotated[int, whole_number(2)] = 20
        shot: Annotated[int, whole_number()] = 5
        query: Annotated[int, whole_number()] = 15
        neighbours: Annotated[int, whole_number()] = 4
        margin: Annotated[float, at_least(0)] = 0.5

    paper = Paper(
        title="SuSana Distancia is all you need: Enforcing class separability in metric learning "
        "via two "
        "novel distance-based loss functions"
        " for few-shot image classification",
        authors="Mendez-Ruiz, Gonzalez-Zapata, Reyes-Amezcua et al.",
        year=2023,
        arxiv="2305.09062",
        departures=(
            "The score's variance term is left out, as in the author's code.",
            "A distance of exactly 0 takes part in the triplets, the author's code drops it.",
        ),
    )
    facets = Facets("contrastive.supervised", target="pair-label", labels="some")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="sgd",
            learning_rate=2e-3,
            weight_decay=5e-4,
            batch_size=400,
            epochs=200,
            warmup=0.0,
        ),
        "small": Recipe(settings={"way": 5, "query": 5}, batch_size=50),
    }
    needs_labels = True
    label_kind = "class"
    wanted_views = WantedViews(whole=1, style="crop", whole_scale=(0.8, 1.0))
    choices = {
        "views": "one lightly cropped view",
        "encoder": "one, shared",
        "head": "none",
        "target": "class means of the support, neighbours of the same class",
        "loss": "neighbour score and triplets",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        if not self.settings.terms:
            raise UserError(
                f"Setting terms is empty; expected one or more of {', '.join(get_args(Term))}."
            )

    waits = "It counts the classes that the batch holds, as some may be missing."

    @property
    def wanted_batches(self) -> WantedBatches:
        s = self.settings
        return Episodes(way=min(s.way, len(self.spec.classes)), shot=s.shot, query=s.query)

    def forward(self, batch: Batch) -> Outputs:
        return {"features": self.encoder(batch.views[0]), "label": batch.label}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        s = self.settings
        features = outputs["features"]
        names, label = outputs["label"].unique(return_inverse=True)
        support = self._support(label)
        means = prototypes(features[support], label[support], len(names))
        query = features[~support]
        own = label[~support]
        every = torch.arange(len(names), device=label.device)
        k = s.neighbours
        made = {
            "icnn": lambda: (
                -neighbour_score(features, label, neighbours=k, looked_at=s.shot + s.query)[
                    "score"
                ].log()
            ),
            "icnn-support": lambda: (
                -neighbour_score(features[support], label[support], neighbours=k)["score"].log()
            ),
            "icnn-query": lambda: (
                -neighbour_score(query, own, means, every, neighbours=k)["score"].log()
            ),
            "icnn-query-support": lambda: (
                -neighbour_score(query, own, features[support], label[support], neighbours=k)[
                    "score"
                ].log()
            ),
            "triplet": lambda: prototype_triplet(query, own, means, every, margin=s.margin),
            "cross-entropy": lambda: cross_entropy(-distances(query, means).square(), own),
        }
        return {term: made[term]() / len(s.terms) for term in s.terms}

    def _support(self, label: Tensor) -> Tensor:
        """(N,) bool, the first ``shot`` rows of each class, but never all of them."""
        count = label.bincount()
        if len(count) < 2 or int(count.min()) < 2:
            raise UserError(
                "An episode needs at least 2 classes with 2 samples each; raise --settings.way or "
                "--settings.query."
            )
        same = label[:, None] == label
        return same.tril(-1).sum(1) < (count - 1).clamp(max=self.settings.shot)[label]
