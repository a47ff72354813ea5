"""NNCLR: the positive of a view is not the other view, but its nearest neighbour among past
embeddings.

The projection of one view is replaced by its nearest neighbour in a queue of earlier projections
(without gradient), and the prediction from the other view must find that neighbour among those of
the batch: positives beyond augmentation.

    loss = 1/2 CE(nn(z1) p2^T / tau, diagonal) + 1/2 CE(nn(z2) p1^T / tau, diagonal),
      rows of unit length
Source: Dwibedi et al. 2021, arXiv 2104.14548, equations 2 to 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn
from torch.nn.functional import normalize

from nearfar.losses.instance.contrastive import nnclr
from nearfar.losses.instance.decoupled import nnclr_dcl
from nearfar.methods.method import Batch, Encoder, Facets, Method, Outputs, Paper, Recipe, Spec
from nearfar.networks.heads import each, mlp
from nearfar.ranges import above, whole_number
from nearfar.targets.queue import Queue, fitting_length


class NNCLR(Method):
    """Two views, one encoder, projector and predictor, the other view's nearest neighbour as
    target, InfoNCE.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of NNCLR.

        Attributes:
            temperature: of the softmax over similarities, above 0.
            decoupled: leave the positive out of the denominator (DCL).
            queue: number of past embeddings to look for neighbours in; at most the number of
                training samples is used.
            projector_hidden: width of the projector's two hidden layers.
            predictor_hidden: width of the predictor's hidden layer.
            projection: dimensions in which views are compared.
        """

        temperature: Annotated[float, above(0)] = 0.1
        decoupled: bool = False
        queue: Annotated[int, whole_number()] = 98304
        projector_hidden: Annotated[int, whole_number()] = 2048
        predictor_hidden: Annotated[int, whole_number()] = 4096
        projection: Annotated[int, whole_number()] = 256

    paper = Paper(
        title="With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual "
        "Representations",
        authors="Dwibedi, Aytar, Tompson, Sermanet, Zisserman",
        year=2021,
        arxiv="2104.14548",
    )
    facets = Facets("contrastive.memory", teacher="online-twin")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="lars",
            learning_rate=0.3,
            weight_decay=1e-6,
            batch_size=4096,
            epochs=1000,
            warmup=0.01,
        ),
        "small": Recipe(
            settings={
                "queue": 1024,
                "projector_hidden": 512,
                "predictor_hidden": 512,
                "projection": 128,
            },
            optimizer="sgd",
            learning_rate=0.3,
            batch_size=64,
            epochs=110,
            warmup=0.1,
        ),
    }
    choices = {
        "views": "two strong views of each sample",
        "encoder": "one, shared",
        "head": "projector and predictor",
        "target": "the other view's nearest neighbour in a queue; the batch's neighbours as "
        "negatives",
        "loss": "InfoNCE both ways",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        self.projector = mlp(
            (encoder.dimension, s.projector_hidden, s.projector_hidden, s.projection),
            last_norm="batch",
        )
        self.predictor = mlp((s.projection, s.predictor_hidden, s.projection))
        self.queue = Queue(fitting_length(s.queue, spec.length), s.projection)

    def forward(self, batch: Batch) -> Outputs:
        z1, z2 = each(nn.Sequential(self.encoder, self.projector), batch.views)
        p1, p2 = each(self.predictor, (z1, z2))
        return {"z1": z1.detach(), "z2": z2.detach(), "p1": p1, "p2": p2}

    def loss(self, outputs: Outputs, rows: slice | None = None) -> dict[str, Tensor]:
        nn1, nn2 = (self.queue.nearest(outputs[name], rows=rows) for name in ("z1", "z2"))
        s = self.settings
        name = "dcl" if self.settings.decoupled else "nnclr"
        contrast = nnclr_dcl if s.decoupled else nnclr
        return {
            name: contrast(
                nn1, nn2, outputs["p1"], outputs["p2"], temperature=s.temperature, rows=rows
            )
        }

    def after_step(self, outputs: Outputs) -> None:
        self.queue.push(normalize(outputs["z1"], dim=1))
