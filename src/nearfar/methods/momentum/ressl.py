"""ReSSL: a strong view must be as near to past samples as a weak view of the same sample is.

A momentum teacher sees a view that is only cropped and mirrored, and its similarities to past keys,
made sharp, say how samples relate. The student sees a strong view and must give the same shares.
No past sample is pushed away for being another one, unlike in MoCo, and the sample's own key is
not among the keys.

    p = softmax(k . Q / tau_t),   q = softmax(z . Q / tau_s),   tau_t < tau_s
    loss = mean_n  - sum_u p_nu log q_nu;   then k enters the queue; copy <- m copy + (1 - m) online

Source: Zheng et al. 2021, arXiv 2107.09282, equations 3 to 5 and algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor, nn

from nearfar.losses.distillation.relation import queue_relation
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
from nearfar.ranges import above, whole_number


class ReSSL(Method):
    """A strong and a weak view, encoder and momentum teacher, an MLP projector, shares of past
    keys, cross-entropy.
    """

    @dataclass(frozen=True)
    class Settings(QueueSettings):
        """The settings of ReSSL.

        Attributes:
            temperature: Of the student's shares, above 0.
            teacher_temperature: Of the teacher's shares, above 0; smaller makes them sharper.
            teacher_view: "weak" is only cropped and mirrored; "strong" is like the student's, which
                the paper finds worse.
        """

        queue: Annotated[int, whole_number()] = 131072
        hidden: Annotated[int, whole_number(0)] = 4096
        projection: Annotated[int, whole_number()] = 512
        temperature: Annotated[float, above(0)] = 0.1
        teacher_temperature: Annotated[float, above(0)] = 0.04
        teacher_view: Literal["weak", "strong"] = "weak"

    paper = Paper(
        title="ReSSL: Relational Self-Supervised Learning with Weak Augmentation",
        authors="Zheng, You, Wang, Qian, Zhang, Wang, Xu",
        year=2021,
        arxiv="2107.09282",
        departures=(
            "One strong view; the authors' form with five crops of falling size is left out.",
            "The strong view has SimCLR's jitter, which on large images is twice the authors'.",
            "The copy moves after the step: the same sequence, as it starts equal.",
            "Keys are not shuffled: batch norms see all of it.",
        ),
    )
    facets = Facets("non_contrastive.self_distillation", teacher="ema", guard="centring+sharpening")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="sgd",
            learning_rate=0.05,
            weight_decay=1e-4,
            epochs=200,
            warmup=0.025,
        ),
        "small": Recipe(
            settings={"momentum": 0.99, "queue": 1024, "hidden": 512, "projection": 128},
            batch_size=64,
        ),
    }
    choices = {
        "views": "a strong one for the student, a weak one for the teacher",
        "encoder": "one, and a momentum copy as teacher",
        "head": "2-layer projector, no norm",
        "target": "the teacher's sharpened shares of past keys",
        "loss": "cross-entropy of the shares",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        self.projector, self.target, self.queue = with_queue(encoder, spec.length, self.settings)

    @property
    def wanted_views(self) -> WantedViews:
        if self.settings.teacher_view == "strong":
            return WantedViews(whole_scale=(0.2, 1.0))
        return WantedViews(whole=1, whole_scale=(0.2, 1.0), further=("crop",))

    def forward(self, batch: Batch) -> Outputs:
        strong, weak = batch.views
        return {"query": self.projector(self.encoder(strong)), "key": self.target(weak)}

    def loss(self, outputs: Outputs, rows: slice | None = None) -> dict[str, Tensor]:
        s = self.settings
        relation = queue_relation(
            outputs["query"],
            outputs["key"],
            self.queue.rows,
            temperature=s.temperature,
            teacher_temperature=s.teacher_temperature,
            rows=rows,
        )
        return {"relation": relation}

    def after_step(self, outputs: Outputs) -> None:
        advance(
            self.queue,
            self.target,
            outputs["key"],
            nn.Sequential(self.encoder, self.projector),
            self.settings.momentum,
        )
