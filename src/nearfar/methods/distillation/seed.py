"""SEED: a student has the teacher's shares of similarity to a queue of the teacher's past keys.

Student and teacher see the same view. Beside the queue stands the sample's own key, which the
teacher is nearest to: so the student is drawn to it, and to others as far as the teacher is.

    p = softmax([k . k, k . Q] / tau_t),   q = softmax([z . k, z . Q] / tau_s)
    loss = mean_n  - sum_u p_nu log q_nu;   then k enters the queue
Source: Fang et al. 2021, arXiv 2101.04731, equations 2 to 5 and algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor
from torch.nn.functional import normalize

from nearfar.losses.distillation.relation import queue_relation
from nearfar.methods.distillation._teacher import Distilling
from nearfar.methods.method import Batch, Encoder, Facets, Outputs, Paper, Recipe, Spec
from nearfar.networks.heads import mlp
from nearfar.ranges import above, whole_number
from nearfar.targets.queue import Queue, fitting_length


class SEED(Distilling):
    """One strong view, any student, an MLP projector to the teacher's dimensions, its shares of its
    own past keys, cross-entropy.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of SEED.

        Attributes:
            queue: Number of past keys; at most the number of training samples is used.
            temperature: Of the student's shares, above 0.
            teacher_temperature: Of the teacher's shares, above 0; smaller makes them sharper.
            own_key: Whether the sample's own key is among those that shares are of.
            hidden: Width of the projector's hidden layer; 0: a linear projector.
            standardise: Whether each channel of the teacher is standardised over the training set
                first: features, unlike what the paper's teachers project, lie in a narrow cone.
        """

        queue: Annotated[int, whole_number()] = 65536
        temperature: Annotated[float, above(0)] = 0.2
        teacher_temperature: Annotated[float, above(0)] = 0.01
        own_key: bool = True
        hidden: Annotated[int, whole_number(0)] = 2048
        standardise: bool = False

    paper = Paper(
        title="SEED: Self-supervised Distillation for Visual Representation",
        authors="Fang, Wang, Wang, Zhang, Yang, Liu",
        year=2021,
        arxiv="2101.04731",
        departures=(
            "Keys are the teacher's features; the paper's are those behind its projector.",
            "The projector's hidden layer has a width of its own, the paper's the student's.",
        ),
    )
    facets = Facets(
        "non_contrastive.self_distillation", teacher="frozen", guard="centring+sharpening"
    )
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="sgd",
            learning_rate=0.03,
            weight_decay=1e-4,
            epochs=200,
            warmup=0.0,
        ),
        "small": Recipe(settings={"queue": 1024, "hidden": 512}, batch_size=64),
    }
    choices = {
        "views": "one strong view, which both see",
        "encoder": "any student; any finished teacher",
        "head": "2-layer projector, no norm",
        "target": "the teacher's sharpened shares of its past keys and of the sample's own",
        "loss": "cross-entropy of the shares",
    }

    def __init__(
        self,
        encoder: Encoder,
        spec: Spec,
        settings: Settings | None = None,
        *,
        teacher: Encoder,
    ) -> None:
        super().__init__(encoder, spec, settings, teacher=teacher)
        s = self.settings
        hidden = (s.hidden,) if s.hidden else ()
        widths = (encoder.dimension, *hidden, teacher.dimension)
        self.projector = mlp(widths, hidden_norm=False)
        self.queue = Queue(fitting_length(s.queue, spec.length), teacher.dimension)

    def forward(self, batch: Batch) -> Outputs:
        (x,) = batch.views
        return {"query": self.projector(self.encoder(x)), "key": self.taught(x)}

    def loss(self, outputs: Outputs, rows: slice | None = None) -> dict[str, Tensor]:
        s = self.settings
        relation = queue_relation(
            outputs["query"],
            outputs["key"],
            self.queue.rows,
            temperature=s.temperature,
            teacher_temperature=s.teacher_temperature,
            own_key=s.own_key,
            rows=rows,
        )
        return {"relation": relation}

    def after_step(self, outputs: Outputs) -> None:
        self.queue.push(normalize(outputs["key"], dim=1))
