"""CACR with a queue: MoCo v2's networks and past keys, with contrastive attraction and repulsion as
the loss.

Every view gives a query, and a key by the momentum copy. A query is attracted by the keys of the
sample's other views, and repelled by the queue's keys and the batch's other queries.

    loss = mean over views and samples of  sum_p w+(p) c(q, k_p)  -  sum_n w-(n) c(q, n),
      with w and c as in cacr
Source: Zheng et al. 2023, arXiv 2105.03746, section 4 and the authors' code for large data.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from torch import Tensor, nn

from nearfar.losses.instance.cacr import queue_attraction, queue_repulsion
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
from nearfar.methods.momentum._parts import QueueSettings, advance, with_queue
from nearfar.networks.heads import each
from nearfar.ranges import at_least, whole_number


class CACRQueue(Method):
    """Several views, encoder and momentum copy, an MLP projector, other views' keys and a queue,
    weighted distances.
    """

    @dataclass(frozen=True)
    class Settings(QueueSettings):
        """The settings of CACRQueue.

        Attributes:
            views: V of each sample, at least 2; V - 1 positives compete.
            positive_temperature: t+, at least 0.
            negative_temperature: t-, at least 0.
            within_batch: whether the batch's other queries repel, too.
        """

        views: Annotated[int, whole_number(2, 64)] = 4
        positive_temperature: Annotated[float, at_least(0)] = 1.0
        negative_temperature: Annotated[float, at_least(0)] = 2.0
        within_batch: bool = True

    paper = replace(
        CACR.paper,
        departures=(
            "Every view meets the queue by its own similarities; the authors' code uses the first "
            "view's for all, by mistake.",
            "The copy moves after the optimiser's step, not before the next key: the same "
            "sequence, as it starts equal.",
            "Batch norm sees the joined batch of all processes, so keys are not shuffled between "
            "devices.",
        ),
    )
    facets = Facets("contrastive.memory", teacher="ema")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="sgd",
            learning_rate=0.03,
            weight_decay=1e-4,
            batch_size=256,
            epochs=200,
            warmup=0.0,
        ),
        "small": Recipe(settings={"momentum": 0.99, "queue": 1024, "hidden": 512}),
    }
    choices = {
        "views": "several strong views of each sample",
        "encoder": "one, and a momentum copy for keys",
        "head": "2-layer projector, no norm",
        "target": "keys of the sample's other views, the farther the heavier; queue and batch, the "
        "nearer the heavier",
        "loss": "contrastive attraction plus contrastive repulsion",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        self.projector, self.target, self.queue = with_queue(encoder, spec.length, self.settings)

    @property
    def wanted_views(self) -> WantedViews:
        return WantedViews(self.settings.views, whole_scale=(0.2, 1.0))

    def forward(self, batch: Batch) -> Outputs:
        queries = each(nn.Sequential(self.encoder, self.projector), batch.views)
        return {
            "query": torch.stack(queries, dim=1),
            "key": torch.stack(each(self.target, batch.views), dim=1),
        }

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        s = self.settings
        query = outputs["query"].transpose(0, 1)
        key = outputs["key"].transpose(0, 1)
        return {
            "attraction": queue_attraction(query, key, temperature=s.positive_temperature),
            "repulsion": queue_repulsion(
                query,
                self.queue.rows,
                temperature=s.negative_temperature,
                within_batch=s.within_batch,
            ),
        }

    def after_step(self, outputs: Outputs) -> None:
        last = outputs["key"][:, -1]
        online = nn.Sequential(self.encoder, self.projector)
        advance(self.queue, self.target, last, online, self.settings.momentum)
