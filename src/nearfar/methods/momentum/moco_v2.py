"""MoCo v2: a view finds the slowly moving copy's key of the other view among the keys of past
batches.

A query must pick the key that a momentum copy of the network gives for the other view, out of a
queue of earlier keys: cheap negatives, which the copy's slowness keeps comparable. Version 2 adds
an MLP projector.

    loss = mean_n  - q.k / tau + log (e^{q.k / tau} + sum_u e^{q.u / tau}),  u in the queue;
      copy <- m copy + (1 - m) online
Source: He et al. 2020, arXiv 1911.05722, algorithm 1; Chen et al. 2020, arXiv 2003.04297."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from nearfar.losses.instance.contrastive import queue_info_nce
from nearfar.losses.instance.decoupled import queue_dcl
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
from nearfar.methods.momentum._parts import QueueSettings, advance, with_queue
from nearfar.ranges import above


class MoCoV2(Method):
    """Two views, encoder and momentum copy, an MLP projector, a queue of past keys as negatives,
    InfoNCE.
    """

    @dataclass(frozen=True)
    class Settings(QueueSettings):
        """The settings of MoCoV2.

        Attributes:
            temperature: of the softmax over similarities, above 0.
            decoupled: leave the positive out of the denominator (DCL).
        """

        temperature: Annotated[float, above(0)] = 0.2
        decoupled: bool = False

    paper = Paper(
        title="Improved Baselines with Momentum Contrastive Learning",
        authors="Chen, Fan, Girshick, He",
        year=2020,
        arxiv="2003.04297",
        departures=(
            "The copy moves after the step: the same sequence, as it starts equal.",
            "Keys are not shuffled: batch norms see all of it.",
        ),
    )
    facets = Facets("contrastive.memory", teacher="ema")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="sgd",
            learning_rate=0.03,
            weight_decay=1e-4,
            epochs=800,
            warmup=0.0,
        ),
        "small": Recipe(
            settings={"temperature": 0.1, "momentum": 0.99, "queue": 512, "hidden": 512},
            optimizer="sgd",
            learning_rate=0.3,
            weight_decay=1e-4,
            batch_size=64,
            epochs=100,
            warmup=0.1,
        ),
    }
    wanted_views = WantedViews(whole_scale=(0.2, 1.0))
    choices = {
        "views": "two strong views",
        "encoder": "one, and a momentum copy for keys",
        "head": "2-layer projector, no norm",
        "target": "the copy's key of the other view; past keys as negatives",
        "loss": "InfoNCE over the queue",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        self.projector, self.target, self.queue = with_queue(encoder, spec.length, self.settings)

    def forward(self, batch: Batch) -> Outputs:
        return {
            "query": self.projector(self.encoder(batch.views[0])),
            "key": self.target(batch.views[1]),
        }

    def loss(self, outputs: Outputs, rows: slice | None = None) -> dict[str, Tensor]:
        s = self.settings
        name = "dcl" if self.settings.decoupled else "info_nce"
        contrast = queue_dcl if s.decoupled else queue_info_nce
        return {
            name: contrast(**outputs, queue=self.queue.rows, temperature=s.temperature, rows=rows)
        }

    def after_step(self, outputs: Outputs) -> None:
        advance(
            self.queue,
            self.target,
            outputs["key"],
            nn.Sequential(self.encoder, self.projector),
            self.settings.momentum,
        )
