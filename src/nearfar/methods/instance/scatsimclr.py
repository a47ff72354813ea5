"""ScatSimCLR: SimCLR whose encoder begins with a fixed wavelet scattering, helped by guessing
rotations or jigsaw orders.

The scattering (encoders scatnet8 to scatnet45) leaves little to learn, so that small sets suffice.
A second head on the same features tells which of four quarter turns an augmented image has had, or
in which of 35 orders its nine tiles lie.

    loss = NT-Xent(z1, z2) + lambda CE(head(features of the turned images or tiles), their label)
Source: Kinakh, Taran, Voloshynovskiy 2021, arXiv 2108.13939, equations 2 to 5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nearfar.losses.instance.contrastive import nt_xent
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
from nearfar.networks.heads import mlp, together
from nearfar.networks.pretext_heads import jigsaw_head, rotation_head
from nearfar.ranges import above, at_least, unit_interval, whole_number
from nearfar.views.image.expansions import expand, transformations
from nearfar.views.image.jigsaw import ORDERS, TILES, jigsaw

TURNS = 4


class ScatSimCLR(Method):
    """Two views, scattering and a small adapter, projector and pretext head, NT-Xent and
    cross-entropy.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of ScatSimCLR.

        Attributes:
            pretext: "rotation" (four turns of each image, each augmented), "jigsaw" (its nine
                tiles) or "none".
            pretext_weight: lambda, of the pretext's cross-entropy.
            dropout: of the pretext head, in [0, 1).
            temperature: of the softmax over similarities, above 0.
            hidden: width of the projector's hidden layer.
            projection: dimensions in which views are compared.
        """

        pretext: Literal["rotation", "jigsaw", "none"] = "rotation"
        pretext_weight: Annotated[float, at_least(0)] = 0.3
        dropout: Annotated[float, unit_interval(one=False)] = 0.5
        temperature: Annotated[float, above(0)] = 0.5
        hidden: Annotated[int, whole_number()] = 2048
        projection: Annotated[int, whole_number()] = 128

    paper = Paper(
        title="ScatSimCLR: self-supervised contrastive learning with pretext task regularization "
        "for "
        "small-scale datasets",
        authors="Kinakh, Taran, Voloshynovskiy",
        year=2021,
        arxiv="2108.13939",
        departures=(
            "Turns are counter-clockwise; the authors number them clockwise.",
            "The authors' code builds a batch norm for the scattering that it never applies; there "
            "is none here.",
            "The learning rate decays with every step; the authors' schedule by epochs ends before "
            "it has begun to decay.",
        ),
    )
    by_row = True
    facets = Facets("contrastive.in_batch")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="adamw",
            learning_rate=1.2e-3,
            weight_decay=1e-5,
            batch_size=64,
            epochs=1000,
            warmup=0.01,
        ),
        "small": Recipe(settings={"dropout": 0.0, "hidden": 512}, epochs=5, batch_size=64),
    }
    modalities = ("image",)
    default_encoder = "scatnet8"
    choices = {
        "views": "two strong views, and four turned ones or nine tiles",
        "encoder": "wavelet scattering with a residual adapter",
        "head": "2-layer projector without norm; pretext head",
        "loss": "NT-Xent and cross-entropy",
        "target": "the other view, the rest of the batch as negatives; the turn or order",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        width = encoder.dimension
        self.projector = mlp((width, s.hidden, s.projection), hidden_norm=False)
        self.pretext_head: nn.Module | None = None
        if s.pretext == "rotation":
            transformations("rotation", spec.shape)  # refuses images that are not square
            self.pretext_head = rotation_head(width, TURNS, dropout=s.dropout)
        if s.pretext == "jigsaw":
            self.pretext_head = jigsaw_head(width, TILES, len(ORDERS), dropout=s.dropout)

    @property
    def wanted_views(self) -> WantedViews:
        further = {"rotation": ("contrastive",) * TURNS, "jigsaw": ("plain",), "none": ()}
        return WantedViews(further=further[self.settings.pretext])

    def view_sources(
        self, samples: Any, index: Tensor, generator: torch.Generator
    ) -> list[Any] | None:
        if self.settings.pretext != "rotation":
            return None
        return [
            samples,
            samples,
            *expand(samples, "rotation").view(-1, TURNS, *samples.shape[1:]).unbind(1),
        ]

    def forward(self, batch: Batch) -> Outputs:
        first, second, *further = batch.views
        z1, z2 = together(lambda x: self.projector(self.encoder(x)), (first, second))
        outputs: Outputs = {"z1": z1, "z2": z2}
        if self.settings.pretext == "rotation":
            answer = torch.arange(TURNS, device=z1.device).expand(len(batch), TURNS)
            outputs |= {
                "answer": answer,
                "logits": torch.stack(together(self._guess, further), dim=1),
            }
        if self.settings.pretext == "jigsaw":
            answer = self._orders(batch.index)
            outputs |= {"answer": answer, "logits": self._guess(jigsaw(further[0], answer))}
        return outputs

    def _guess(self, x: Tensor) -> Tensor:
        assert self.pretext_head is not None
        return self.pretext_head(self.encoder(x))  # type: ignore[no-any-return]

    def _orders(self, index: Tensor) -> Tensor:
        """New orders at each step, of step and sample alone, so that processes and resumed runs
        agree.
        """
        generator = torch.Generator().manual_seed(round(self.progress * 0x7FFFFFFF))
        return torch.randint(len(ORDERS), (self.spec.length,), generator=generator).to(
            index.device
        )[index]

    def loss(self, outputs: Outputs, rows: slice | None = None) -> dict[str, Tensor]:
        terms = {
            "nt_xent": nt_xent(
                outputs["z1"], outputs["z2"], temperature=self.settings.temperature, rows=rows
            )
        }
        if "logits" in outputs:
            logits, answer = (outputs[name][rows or slice(None)] for name in ("logits", "answer"))
            part = len(answer) / len(outputs["answer"])
            guess = cross_entropy(logits.flatten(0, -2), answer.flatten())
            terms["pretext"] = self.settings.pretext_weight * part * guess
        return terms
