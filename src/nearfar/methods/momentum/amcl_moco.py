"""AMCL on MoCo: several heads with learned pair temperatures, a momentum copy, and a queue of past
keys for each head.

MoCo v2's networks and queue, with amcl's loss in the place of InfoNCE: s- is that of a head's
hardest past keys.

    loss = mean over n of  sum over heads of  -s+ / tau+ + s- / tau- + beta Omega(tau+)
            - beta Omega(tau-)
Source: Wang et al. 2024, arXiv 2310.05615, section 3.2, table 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn
from torch.nn.functional import normalize

from nearfar.losses.instance.multi_head import amcl
from nearfar.methods.instance.amcl import AMCL
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
from nearfar.networks.heads import mlp
from nearfar.networks.multi_head import MultiHead, PairTemperature
from nearfar.ranges import unit_interval, whole_number
from nearfar.targets.momentum import MomentumEncoder
from nearfar.targets.queue import Queue, fitting_length


class AMCLMoCo(Method):
    """Two views, encoder and momentum copy, several projectors, the copy's keys and a queue, a
    Gaussian likelihood.
    """

    @dataclass(frozen=True)
    class Settings(AMCL.Settings):
        """The settings of AMCLMoCo.

        Attributes:
            momentum: share of the copy that stays at each step, in [0, 1].
            queue: number of past keys; at most the number of training samples is used.
        """

        momentum: Annotated[float, unit_interval()] = 0.99
        queue: Annotated[int, whole_number()] = 4096

    paper = AMCL.paper
    facets = Facets("contrastive.memory", teacher="ema")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="sgd",
            learning_rate=0.04,
            weight_decay=5e-4,
            batch_size=512,
            epochs=800,
            warmup=0.0,
        ),
        "small": Recipe(
            settings={
                "lowest": 0.1,
                "highest": 0.5,
                "hardest": 10,
                "last_norm": "batch-plain",
                "queue": 1024,
            }
        ),
    }
    wanted_views = WantedViews(whole_scale=(0.2, 1.0))
    choices = {
        "views": "two strong views",
        "encoder": "one, and a momentum copy for keys",
        "head": "several 2-layer projectors",
        "target": "the copy's key of the other view; the hardest past keys",
        "loss": "Gaussian likelihood with learned variances",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        sizes = (encoder.dimension, self.settings.hidden, self.settings.projection)
        self.projectors = MultiHead(
            s.heads, lambda: mlp(sizes, hidden_norm=False, last_norm=s.last_norm)
        )
        self.temperature = PairTemperature(
            s.projection, s.lowest, s.highest, heads=s.heads if s.joint else 0
        )
        self.target = MomentumEncoder(nn.Sequential(encoder, self.projectors))
        self.queue = Queue(fitting_length(s.queue, spec.length), s.heads * s.projection)

    def forward(self, batch: Batch) -> Outputs:
        first, second = batch.views
        return {"query": self.projectors(self.encoder(first)), "key": self.target(second)}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        s = self.settings
        query = outputs["query"].transpose(0, 1)
        key = outputs["key"].transpose(0, 1)
        past = self.queue.rows.to(query).view(-1, s.heads, s.projection).transpose(0, 1)
        past = normalize(past, dim=-1)  # random first rows are unit over all heads together
        return {
            "amcl": amcl(
                query, key, temperature=self.temperature, queue=past, beta=s.beta, hardest=s.hardest
            )
        }

    def after_step(self, outputs: Outputs) -> None:
        self.queue.push(normalize(outputs["key"], dim=-1).flatten(1))
        self.target.update(nn.Sequential(self.encoder, self.projectors), self.settings.momentum)
