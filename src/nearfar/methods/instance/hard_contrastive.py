"""Hard contrastive loss: how much a loss attends to the nearest negatives, by temperature or by
choice.

The softmax weighs negative j of anchor i by exp(s_ij / tau): the temperature alone sets how hard
negatives are fought, at the price of tearing classes apart. Keeping only an anchor's nearest
negatives does it openly; then even a loss without softmax learns.

    contrastive:  - s_ii / tau + log sum_{j in H or i} exp(s_ij / tau)       simple:
      - s_ii + lambda sum_{j in H} s_ij
    H: all negatives, or for the hard losses the share alpha with the largest s_ij
Source: Wang and Liu 2021, arXiv 2012.09740, sections 3 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.losses.instance.behaviour import (
    contrastive,
    hard_contrastive,
    hard_simple,
    penalty_entropy,
    simple,
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
from nearfar.networks.heads import mlp, together
from nearfar.ranges import above, at_least, unit_interval, whole_number
from nearfar.targets.memory_bank import MemoryBank


class HardContrastive(Method):
    """One view (or two), one encoder, a projector, the sample's row of a memory bank (or other
    view), four losses.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of HardContrastive.

        Attributes:
            loss: with softmax or "simple", against all negatives or the hard ones.
            temperature: of the softmax over similarities, above 0; the simple losses have none.
            alpha: share of the negatives that the hard losses keep, in (0, 1].
            weight: lambda of the simple losses; None for one over the number of negatives.
            bank: compare with one stored embedding of every training sample; otherwise with the
                other views of the batch.
            bank_momentum: share of a stored embedding that stays when its sample is seen, in [0,
                1].
            hidden: width of the projector's hidden layer.
            projection: dimensions in which views are compared.
        """

        loss: Literal["contrastive", "hard-contrastive", "simple", "hard-simple"] = (
            "hard-contrastive"
        )
        temperature: Annotated[float, above(0)] = 0.3
        alpha: Annotated[float, unit_interval(zero=False)] = 0.0819
        weight: Annotated[float, at_least(0)] | None = None
        bank: bool = True
        bank_momentum: Annotated[float, unit_interval()] = 0.5
        hidden: Annotated[int, whole_number()] = 2048
        projection: Annotated[int, whole_number()] = 128

    paper = Paper(
        title="Understanding the Behaviour of Contrastive Loss",
        authors="Wang, Liu",
        year=2021,
        arxiv="2012.09740",
        departures=(
            "There is no code of the authors: lambda, the bank's momentum, the projector and the "
            "inclusive rounding of alpha are ours.",
            "The projector ends in a batch norm without offset, without which hard negatives in "
            "small batches gather all in a cone.",
        ),
    )
    facets = Facets("contrastive.in_batch")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="sgd",
            learning_rate=0.06,
            weight_decay=5e-4,
            batch_size=128,
            epochs=200,
            warmup=0.0,
        ),
        "small": Recipe(settings={"bank": False, "hidden": 512}),
    }
    choices = {
        "views": "one strong view against the bank, two without it",
        "encoder": "one, shared",
        "head": "2-layer projector",
        "target": "the sample's stored embedding (other view); hard negatives among all others",
        "loss": "softmax or simple, over all or hard negatives",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        self.projector = mlp(
            (encoder.dimension, s.hidden, s.projection), last_bias=False, last_norm="batch-plain"
        )
        self.bank = MemoryBank(spec.length, s.projection) if s.bank else None

    @property
    def wanted_views(self) -> WantedViews:
        return WantedViews(1 if self.settings.bank else 2, whole_scale=(0.2, 1.0))

    def forward(self, batch: Batch) -> Outputs:
        views = together(self.projector, together(self.encoder, batch.views))
        return {"views": torch.stack(views, dim=1), "index": batch.index}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        """The loss, and as a diagnostic the entropy of the negatives' shares in the softmax: low
        where few negatives take all.
        """
        z = normalize(outputs["views"], dim=-1).unbind(1)
        if self.bank is not None:
            pairs = [(z[0] @ self.bank.rows.to(z[0]).T, outputs["index"])]
        else:
            pairs = [(z[0] @ z[1].T, None), (z[1] @ z[0].T, None)]
        value = torch.stack(
            [self._loss(similarity, positive) for similarity, positive in pairs]
        ).mean()
        entropy = penalty_entropy(
            pairs[0][0].detach(), positive=pairs[0][1], temperature=self.settings.temperature
        )
        return {self.settings.loss.replace("-", "_"): value, "penalty_entropy": entropy.mean()}

    def _loss(self, similarity: Tensor, positive: Tensor | None) -> Tensor:
        s = self.settings
        match s.loss:
            case "contrastive":
                return contrastive(similarity, positive=positive, temperature=s.temperature)
            case "hard-contrastive":
                return hard_contrastive(
                    similarity, positive=positive, temperature=s.temperature, alpha=s.alpha
                )
            case "simple":
                return simple(similarity, positive=positive, weight=s.weight)
            case _:
                return hard_simple(similarity, positive=positive, weight=s.weight, alpha=s.alpha)

    def after_step(self, outputs: Outputs) -> None:
        if self.bank is not None:
            self.bank.update(
                outputs["index"],
                normalize(outputs["views"][:, 0], dim=1),
                self.settings.bank_momentum,
            )
