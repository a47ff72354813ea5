"""Mixed Barlow Twins: Barlow Twins whose embedding of mixed inputs must correlate as the mix of the
embeddings would.

A third batch mixes the first views with shuffled second views. Its correlations with both views
must be the same mix of their own correlations, which keeps wide embeddings from overfitting small
data in long training.

    x_m = a x1 + (1 - a) x2[p],  a uniform in [0, 1];  R = z_m - a z1 - (1 - a) z2[p],
      columns of every z standardised
    loss = Barlow Twins(z1, z2) + lambda_reg lambda ( |R^T z1 / N|^2 + |R^T z2 / N|^2 )
Source: Bandara, De Melo, Patel 2023, arXiv 2312.02151, equations 4 to 8.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from nearfar.batch import rows_of
from nearfar.losses.redundancy.mixed_redundancy import Mix, draw_mix, mixed_barlow_twins_terms
from nearfar.methods.method import Batch, Encoder, Facets, Method, Outputs, Paper, Recipe, Spec
from nearfar.networks.heads import each, mlp
from nearfar.ranges import at_least, unit_interval, whole_number


class MixedBarlowTwins(Method):
    """Two views and their mix, one encoder, projector, the other view's dimensions as target,
    redundancy reduction.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of MixedBarlowTwins.

        Attributes:
            off_diagonal: lambda, the weight of the off-diagonal terms, at least 0.
            regularisation: lambda_reg, of the mixed batch relative to lambda, at least 0.
            ramp: share of the run over which that weight rises from 0 (the authors' ImageNet
                script: 10 epochs).
            unit_rows: whether projections are brought to unit length first (the authors' networks
                for small data, not ImageNet).
            hidden: width of the projector's hidden layer.
            projection: dimensions of the embedding.
        """

        off_diagonal: Annotated[float, at_least(0)] = 0.0078125
        regularisation: Annotated[float, at_least(0)] = 4.0
        ramp: Annotated[float, unit_interval()] = 0.0
        unit_rows: bool = True
        hidden: Annotated[int, whole_number()] = 512
        projection: Annotated[int, whole_number()] = 1024

    paper = Paper(
        title="Guarding Barlow Twins Against Overfitting with Mixed Samples",
        authors="Bandara, De Melo, Patel",
        year=2023,
        arxiv="2312.02151",
        departures=(
            "Several processes mix their own samples, each with a share of its own, as the "
            "authors' ImageNet script does.",
            "That script's second target has z2 where the paper has z1; the paper is followed.",
            "AdamW stands for Adam.",
        ),
    )
    facets = Facets(
        "non_contrastive.redundancy_reduction", teacher="online-twin", guard="decorrelation"
    )
    recipes = {
        "paper": Recipe(
            settings={}, learning_rate=0.01, weight_decay=1e-6, epochs=1000, warmup=0.01
        ),
        "small": Recipe(settings={"projection": 512}),
    }
    modalities = ("image", "series")
    choices = {
        "views": "two strong views and a mix of them",
        "encoder": "one, shared",
        "head": "2-layer projector, wide",
        "target": "the other view, and for the mix both, by dimension",
        "loss": "cross-correlation towards identity and towards the mix",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        self.projector = mlp(
            (encoder.dimension, self.settings.hidden, self.settings.projection), hidden_bias=False
        )

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        mix = draw_mix(len(batch), generator=generator)
        (first, second) = batch.views
        share = torch.as_tensor(mix.share).to(first)
        partner = mix.partner.to(first.device)
        told = batch.extra | {"share": share.expand(len(batch)), "partner": batch.index[partner]}
        return replace(batch, views=[first, second, Mix(share, partner)(first, second)], extra=told)

    def forward(self, batch: Batch) -> Outputs:
        z = each(nn.Sequential(self.encoder, self.projector), batch.views)
        z1, z2, mixed = (normalize(one, dim=1) for one in z) if self.settings.unit_rows else z
        return {
            "z1": z1,
            "z2": z2,
            "mixed": mixed,
            "index": batch.index,
            **{name: batch.extra[name] for name in ("share", "partner")},
        }

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        s = self.settings
        (z1, z2, mixed) = (outputs[name] for name in ("z1", "z2", "mixed"))
        mix = Mix(outputs["share"].to(z1)[:, None], rows_of(outputs["partner"], outputs["index"]))
        terms = mixed_barlow_twins_terms(z1, z2, mixed, mix, off_diagonal=s.off_diagonal)
        weight = s.regularisation * (min(self.progress / s.ramp, 1.0) if s.ramp else 1.0)
        return {"barlow_twins": terms["barlow_twins"], "mixing": weight * terms["mixing"]}
