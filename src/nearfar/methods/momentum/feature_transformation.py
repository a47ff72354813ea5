"""FT: MoCo v2 with harder positives and more diverse negatives, made by mixing features.

The positive pair is pushed apart by extrapolation before it meets, so that its score falls on
purpose and the pull on it is amplified; the queue's keys are interpolated with one another. The
scores that enter the softmax are logged at every step, as the paper's viewer shows them.

    q' = a q + (1 - a) k,  k' = a k + (1 - a) q,  a = 1 + Beta(2, 2);
      Q' = b Q + (1 - b) Q[permuted],  b = Beta(1.6, 1.6)
    loss = mean over n of  - q'.k' / tau + log (e^{q'.k' / tau} + sum over rows u of Q'
            of e^{q'.u / tau})
Source: Zhu et al. 2021, arXiv 2108.02982, sections 3 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from torch import Tensor, nn
from torch.nn.functional import normalize

from nearfar.losses.instance.feature_transformation import (
    Mixing,
    draw_mixing,
    feature_transformation,
    mix,
    score_statistics,
)
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
from nearfar.ranges import above, unit_interval
from nearfar.targets.step_generator import StepGenerator

_SCORES = (
    "negative_score",
    "negative_variance",
    "positive_score",
    "negative_exponential",
    "positive_exponential",
)
"""Columns of the score display."""


class FeatureTransformation(Method):
    """Two views, encoder and momentum copy, an MLP projector, mixed keys and a mixed queue,
    InfoNCE.
    """

    @dataclass(frozen=True)
    class Settings(QueueSettings):
        """The settings of FeatureTransformation.

        Attributes:
            temperature: of the softmax over similarities, above 0.
            extrapolate: mix the positives.
            interpolate: mix the negatives.
            elementwise: what is mixed with a weight for every element instead of one for all
                ("both" is the paper's strongest).
            normalise: bring the mixed positives back to unit length.
            mix_start: share of the run after which features are mixed.
            last_norm: none as in the paper, or a batch norm that keeps the features of small data
                out of a cone.
        """

        temperature: Annotated[float, above(0)] = 0.2
        extrapolate: bool = True
        interpolate: bool = True
        elementwise: Literal["none", "positive", "negative", "both"] = "none"
        normalise: bool = False
        mix_start: Annotated[float, unit_interval()] = 0.0
        last_norm: Literal["none", "batch-plain"] = "none"

    paper = Paper(
        title="Improving Contrastive Learning by Visualizing Feature Transformation",
        authors="Zhu, Zhao, Liu, Sun, Chen",
        year=2021,
        arxiv="2108.02982",
        departures=(
            "Weights are one number for all, as in the released commands; the paper finds one an "
            "element stronger.",
            "The queue always receives the unmixed keys; a fallback of the released code enqueues "
            "the mixed ones.",
            "The small recipe ends the projector in a batch norm, without which features of small "
            "data gather in a cone.",
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
            settings={"momentum": 0.99, "queue": 1024, "hidden": 512, "last_norm": "batch-plain"}
        ),
    }
    wanted_views = WantedViews(whole_scale=(0.2, 1.0))
    choices = {
        "views": "two strong views",
        "encoder": "one, and a momentum copy for keys",
        "head": "2-layer projector",
        "target": "the copy's key of the other view, pushed away; past keys, mixed, as negatives",
        "loss": "InfoNCE over the queue",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        self.projector, self.target, self.queue = with_queue(
            encoder, spec.length, self.settings, last_norm=self.settings.last_norm
        )
        self.draws = StepGenerator()

    def forward(self, batch: Batch) -> Outputs:
        first, second = batch.views
        return {"query": self.projector(self.encoder(first)), "key": self.target(second)}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        """The loss, and the score display: means over the batch of what the paper's viewer
        plots.
        """
        query = normalize(outputs["query"], dim=1)
        key = normalize(outputs["key"], dim=1)
        queue = self.queue.rows.to(query)
        temperature = self.settings.temperature
        mixing = self._mixing(query, queue)
        scores = score_statistics(*mix(query.detach(), key, queue, mixing), temperature=temperature)
        display = dict(zip(_SCORES, scores.mean(dim=0), strict=True))
        value = feature_transformation(query, key, queue, mixing, temperature=temperature)
        return {"info_nce": value, **display, "positive_variance": scores[:, 2].var(correction=0)}

    def _mixing(self, query: Tensor, queue: Tensor) -> Mixing:
        s = self.settings
        if self.progress < s.mix_start:
            return Mixing()
        each = {
            f"elementwise_{side}": s.elementwise in (side, "both")
            for side in ("positive", "negative")
        }
        drawn = draw_mixing(query, queue, generator=self.draws(), **each)
        drawn = drawn if s.extrapolate else replace(drawn, extrapolation=1.0)
        return replace(
            drawn, partner=drawn.partner if s.interpolate else None, normalise=s.normalise
        )

    def after_step(self, outputs: Outputs) -> None:
        self.draws.advance()
        advance(
            self.queue,
            self.target,
            outputs["key"],
            nn.Sequential(self.encoder, self.projector),
            self.settings.momentum,
        )
