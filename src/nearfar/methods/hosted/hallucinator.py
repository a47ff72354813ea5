"""Hallucinator: a further, harder positive, made of the two that there are, for SimCLR, MoCo v2 or
SimSiam.

A view's projection is pushed away from the other view's and passed through a small network that
learns along; what comes out must match the other view too. Views are cropped around centres that
lie apart, so that they share less. The host method is left
as it is: with a weight of 0 it is the host to the bit. The small network is dropped with the head.

    e = q + lambda (q - k), lambda ~ U(0, 1) for each sample;  h = W2 relu(W1 e + b1) + b2;  loss =
    host(q, k) + mu host(h, k)
Source: Wu, Hobbs, Hovakimyan 2023, arXiv 2307.12168; its code is not public and the constants are a
    reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from nearfar import modalities
from nearfar.methods.distillation.simsiam import SimSiam
from nearfar.methods.instance.simclr import SimCLR
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
from nearfar.methods.momentum.moco_v2 import MoCoV2
from nearfar.networks.heads import each, mlp
from nearfar.ranges import above, at_least, unit_interval, whole_number
from nearfar.views.draws import rand

HOSTS: dict[str, type[Method]] = {"simclr": SimCLR, "moco-v2": MoCoV2, "simsiam": SimSiam}


class Hallucinator(Method):
    """The host's views with centres apart, its encoder, head, target and loss; and a hallucinated
    projection as a further positive.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of Hallucinator.

        Attributes:
            host: the method that is added to.
            weight: mu, of the hallucinated positive's loss; at 0 it is left out.
            concentration: lambda ~ Beta(concentration, 1), which is U(0, 1) at 1; larger pushes
                further, above 0.
            form: of the small network: "mlp", "norm" (with batch norm in between) or "identity"
                (none).
            centre_distance: least distance of the two crops' centres over the image's diagonal, in
                [0, 1); images only.
            temperature: the host's, where it has one.
            momentum: likewise.
            queue: likewise.
            hidden: likewise.
            projection: likewise, and the width of the small network.
            bottleneck: likewise.
        """

        host: Literal["simclr", "moco-v2", "simsiam"] = "moco-v2"
        weight: Annotated[float, at_least(0)] = 1.0
        concentration: Annotated[float, above(0)] = 1.0
        form: Literal["mlp", "norm", "identity"] = "mlp"
        centre_distance: Annotated[float, unit_interval(one=False)] = 0.1
        temperature: Annotated[float, above(0)] = 0.2
        momentum: Annotated[float, unit_interval()] = 0.999
        queue: Annotated[int, whole_number()] = 65536
        hidden: Annotated[int, whole_number()] = 2048
        projection: Annotated[int, whole_number()] = 128
        bottleneck: Annotated[int, whole_number()] = 512

    paper = Paper(
        title="Hallucination Improves the Performance of Unsupervised Visual Representation "
        "Learning",
        authors="Wu, Hobbs, Hovakimyan",
        year=2023,
        arxiv="2307.12168",
        departures=(
            "Built from the idea without code: lambda, mu, the small network and the centres' "
            "distance are choices of ours.",
        ),
    )
    facets = Facets("contrastive.in_batch")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="sgd",
            learning_rate=0.03,
            weight_decay=1e-4,
            epochs=200,
            warmup=0.0,
        ),
        "small": Recipe(
            settings={
                "host": "simclr",
                "momentum": 0.99,
                "queue": 1024,
                "hidden": 512,
                "bottleneck": 128,
            }
        ),
    }
    by_row = True
    choices = {
        "views": "two strong views whose centres lie apart",
        "encoder": "the host's",
        "head": "the host's",
        "target": "the host's, for a projection and for a hallucinated one",
        "loss": "the host's, twice",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        known = HOSTS[s.host].Settings
        self.host = HOSTS[s.host](
            encoder,
            spec,
            known(**{f.name: getattr(s, f.name) for f in fields(known) if hasattr(s, f.name)}),
        )
        if s.weight:
            self.hallucinate = (
                nn.Identity()
                if s.form == "identity"
                else mlp([s.projection] * 3, hidden_norm=s.form == "norm")
            )

    @property
    def wanted_views(self) -> WantedViews:
        distance = (
            self.settings.centre_distance if modalities.get(self.spec.modality).has_boxes else 0.0
        )
        wanted = self.host.wanted_views
        assert isinstance(wanted, WantedViews)
        return replace(wanted, centre_distance=distance)

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        batch = super().prepare(batch, generator)
        share = rand((len(batch), 1), generator) ** (1 / self.settings.concentration)
        return replace(batch, extra=batch.extra | {"share": share.to(batch.index.device)})

    def forward(self, batch: Batch) -> Outputs:
        if not self.settings.weight:
            return dict(self.host(batch))
        if isinstance(self.host, SimSiam):
            z1, z2 = each(nn.Sequential(self.encoder, self.host.projector), batch.views)
            harder = self.host.predictions(
                self.harder(z1, z2.detach(), batch), self.harder(z2, z1.detach(), batch)
            )
            return {
                **self.host.predictions(z1, z2),
                "hallucinated_p1": harder["p1"],
                "hallucinated_p2": harder["p2"],
            }
        outputs: Outputs = self.host(batch)
        query, key = outputs
        return {
            **outputs,
            f"hallucinated_{query}": self.harder(outputs[query], outputs[key], batch),
        }

    def harder(self, query: Tensor, key: Tensor, batch: Batch) -> Tensor:
        """The hallucinated projection (N, D) of a query, away from its key."""
        hallucinated: Tensor = self.hallucinate(
            query + batch.extra["share"].to(query) * (query - key)
        )
        return hallucinated

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        given = {
            name: value for name, value in outputs.items() if not name.startswith("hallucinated_")
        }
        if not self.settings.weight:
            return self.host.loss(given)
        (harder,) = self.host.loss(
            {name: outputs.get(f"hallucinated_{name}", value) for name, value in given.items()}
        ).values()
        return {**self.host.loss(given), "hallucinated": self.settings.weight * harder}

    def parameter_groups(self) -> list[dict[str, object]]:
        added = list(self.hallucinate.parameters()) if self.settings.weight else []
        return [*self.host.parameter_groups(), *([{"params": added}] if added else [])]
