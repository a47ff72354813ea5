"""MoCHi: MoCo v2 whose queries also face synthetic negatives, mixed from their hardest keys.

For each query the keys of the queue that are nearest to it are mixed with one another, and some
with the query itself; these points on the sphere join the negatives of this one step. The pretext
task gets harder, which should make features spread more evenly and transfer better. Mixing begins
after a warm-up, and nothing synthetic enters the queue.

    h = norm(a u + (1 - a) v), a in [0, 1];  h' = norm(b q + (1 - b) u), b in [0, 1/2];
      u, v among the hardest keys of q
    loss = mean over n of  - log softmax([q.k | q.queue | q.h | q.h'] / tau) at its first entry;
        h and h' are constants
Source: Kalantidis et al. 2020, arXiv 2010.01028, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn
from torch.nn.functional import normalize

from nearfar.losses.instance.contrastive import queue_info_nce
from nearfar.losses.instance.hard_negatives import draw, mochi, proxy_accuracy
from nearfar.losses.kernels.similarity import own_range, reduce
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
from nearfar.ranges import above, unit_interval, whole_number
from nearfar.targets.step_generator import StepGenerator


class MoCHi(Method):
    """Two views, encoder and momentum copy, an MLP projector, past keys and mixtures of the hardest
    as negatives, InfoNCE.
    """

    @dataclass(frozen=True)
    class Settings(QueueSettings):
        """The settings of MoCHi.

        Attributes:
            hardest: number of hardest keys that are mixed, for each query.
            pairs: mixtures of two of them.
            with_query: mixtures of one of them with the query; 0: none.
            warmup: share of the run before mixing begins.
            temperature: of the softmax over similarities, above 0.
        """

        hardest: Annotated[int, whole_number()] = 1024
        pairs: Annotated[int, whole_number(0)] = 1024
        with_query: Annotated[int, whole_number(0)] = 128
        warmup: Annotated[float, unit_interval()] = 0.075
        temperature: Annotated[float, above(0)] = 0.2

    paper = Paper(
        title="Hard Negative Mixing for Contrastive Learning",
        authors="Kalantidis, Sariyildiz, Pion, Weinzaepfel, Larlus",
        year=2020,
        arxiv="2010.01028",
        departures=(
            "The paper's authors released no code; the order of a step is that of MoCo v2.",
        ),
    )
    facets = Facets("contrastive.memory", teacher="ema")
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
                "hardest": 64,
                "pairs": 64,
                "with_query": 16,
                "momentum": 0.99,
                "queue": 1024,
                "hidden": 512,
            }
        ),
    }
    wanted_views = WantedViews(whole_scale=(0.2, 1.0))
    choices = {
        "views": "two strong views",
        "encoder": "one, and a momentum copy for keys",
        "head": "2-layer projector, no norm",
        "target": "the copy's key of the other view; past keys and mixtures of the hardest as "
        "negatives",
        "loss": "InfoNCE over the queue and the synthetic negatives",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        self.projector, self.target, self.queue = with_queue(encoder, spec.length, self.settings)
        self.draws = StepGenerator()

    def forward(self, batch: Batch) -> Outputs:
        return {
            "query": self.projector(self.encoder(batch.views[0])),
            "key": self.target(batch.views[1]),
        }

    def loss(self, outputs: Outputs, rows: slice | None = None) -> dict[str, Tensor]:
        s = self.settings
        queue = self.queue.rows
        query, key = (normalize(outputs[name], dim=1) for name in ("query", "key"))
        own = own_range(rows, len(query))
        draws = None
        if self.progress < s.warmup:
            losses = queue_info_nce(
                query, key, queue, temperature=s.temperature, rows=own, reduction="none"
            )
        else:
            draws = draw(
                query,
                queue,
                generator=self.draws(),
                hardest=s.hardest,
                pairs=s.pairs,
                with_query=s.with_query,
            ).of(own)
            losses = mochi(
                query[own], key[own], queue, draws, temperature=s.temperature, reduction="none"
            )
        return {
            "mochi": reduce(losses, "mean", of=len(query)),
            "proxy accuracy": proxy_accuracy(query[own], key[own], queue, draws),
        }

    def after_step(self, outputs: Outputs) -> None:
        advance(
            self.queue,
            self.target,
            outputs["key"],
            nn.Sequential(self.encoder, self.projector),
            self.settings.momentum,
        )
        self.draws.advance()
