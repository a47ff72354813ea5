"""Fixed head: SimCLR whose projection head is not trained but weighs coordinates unequally; probe
before and after it.

Deeper layers weigh features more unequally, so what the loss wants gone survives before the head.
Then a head need not learn: scaling coordinate i by kappa^-i also leaves room that the loss hardly
reaches. SimCLR's head is replaced by that.

    z_i = h_i kappa^-i,  i = 0 .. p - 1;  the loss sees z, the representation is h
Source: Xue, Gan, Ni, Joshi, Mirzasoleiman 2024, arXiv 2403.11391, section 6; the linear theory is
    in ``losses.spectral``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nearfar.errors import UserError
from nearfar.losses.instance.contrastive import nt_xent
from nearfar.losses.kernels.similarity import own_range, reduce, unit
from nearfar.losses.supervised.supervised import supcon
from nearfar.methods.method import Batch, Encoder, Facets, Method, Outputs, Paper, Recipe, Spec
from nearfar.networks.heads import mlp, together
from nearfar.networks.reweighting import Reweighting
from nearfar.ranges import above


class FixedHead(Method):
    """Two views, one encoder, a head of constants, the other view (or the class) as target, NT-Xent
    (or a supervised loss).
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of FixedHead.

        Attributes:
            head: "fixed", or for comparison "mlp" (linear, ReLU, linear, all as wide as the
                representation).
            kappa: each coordinate is made this many times smaller than the one before; 1 is no
                head.
            loss: "nt-xent"; with class labels also "supcon", or "cross-entropy" of a linear
                classifier.
            temperature: of the contrastive losses, above 0.
        """

        head: Literal["fixed", "mlp"] = "fixed"
        kappa: Annotated[float, above(0)] = 1.05
        loss: Literal["nt-xent", "supcon", "cross-entropy"] = "nt-xent"
        temperature: Annotated[float, above(0)] = 0.5

    paper = Paper(
        title="Investigating the Benefits of Projection Head for Representation Learning",
        authors="Xue, Gan, Ni, Joshi, Mirzasoleiman",
        year=2024,
        arxiv="2403.11391",
        departures=(
            "kappa is tuned in the paper to values that we do not know; the default is a guess "
            "near 1.",
        ),
    )
    facets = Facets("contrastive.in_batch")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="lars",
            learning_rate=0.3,
            weight_decay=1e-6,
            batch_size=512,
            epochs=400,
        ),
        "small": Recipe(),
    }
    choices = {
        "views": "two strong views",
        "encoder": "one, shared",
        "head": "constants that fall geometrically; or a 2-layer MLP",
        "target": "the other view, or the class",
        "loss": "NT-Xent, SupCon or cross-entropy",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        width = encoder.dimension
        if s.loss != "nt-xent" and spec.target != "class":
            raise UserError(
                f"fixed-head with the loss {s.loss} learns from class labels, but {spec.name} has "
                "none; take nt-xent."
            )
        self.head = (
            Reweighting(width, s.kappa)
            if s.head == "fixed"
            else mlp((width, width, width), hidden_norm=False)
        )
        self.classifier = nn.Linear(width, len(spec.classes)) if s.loss == "cross-entropy" else None

    def forward(self, batch: Batch) -> Outputs:
        z1, z2 = together(self.project, batch.views)
        return (
            {"z1": z1, "z2": z2}
            if self.settings.loss == "nt-xent"
            else {"z1": z1, "z2": z2, "label": batch.label}
        )

    def loss(self, outputs: Outputs, rows: slice | None = None) -> dict[str, Tensor]:
        z1 = outputs["z1"]
        z2 = outputs["z2"]
        label = outputs.get("label")
        tau = self.settings.temperature
        if label is None:
            return {"nt_xent": nt_xent(z1, z2, temperature=tau, rows=rows)}
        if self.classifier is not None:
            own = own_range(rows, len(label))
            errors = cross_entropy(
                self.classifier(torch.cat([z1[own], z2[own]])),
                label[own].repeat(2),
                reduction="none",
            )
            return {"cross_entropy": reduce(errors, "mean", of=2 * len(label))}
        return {
            "supcon": supcon(
                unit(torch.stack([z1, z2], dim=1)),
                label,
                temperature=tau,
                base_temperature=tau,
                rows=rows,
            )
        }

    def project(self, x: Any) -> Tensor:
        """What the loss sees (N, D): features after the head."""
        z: Tensor = self.head(self.encoder(x))
        return z
