"""SepCLR: two encoders, one for what background and target samples share, one for what only targets
have.

Both are trained as in contrastive learning, with alignment and uniformity; in the salient space
background samples are pulled to
0. What both spaces could tell is driven out of one of them by making the joint entropy as large as
the entropies allow (k-JEM): then they share no information. Labels only say which samples are
background; further attributes of the targets may be used.

    loss = common + w_s salient + w_b background + w_j mean_i log mean_j k(c_i, c_j) k(s_i, s_j),
      k Gaussian
Source: Louiset, Duchesnay, Grigis, Gori 2024, arXiv 2402.11928, section 3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from torch import Tensor, nn

from nearfar.losses.instance.common_salient import sepclr, sepclr_with_attributes
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
from nearfar.networks import several
from nearfar.networks.heads import mlp, together
from nearfar.ranges import at_least, whole_number


class SepCLR(Method):
    """Two views, two encoders, a projector each, the other view (background in the salient space:
    0) as target, kernel entropies.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of SepCLR.

        Attributes:
            common: dimensions of the common space.
            salient: dimensions of the salient space; one with attributes.
            hidden: width of the projectors' hidden layer.
            salient_weight: of alignment and uniformity in the salient space.
            background_weight: of pulling background to 0 there; with attributes that is part of the
                salient term.
            joint_entropy_weight: of k-JEM.
            background: the label of background samples; every other one is a target's.
            attributes: whether targets' labels are used beyond that: "none", "discrete" (classes)
                or "continuous".
        """

        common: Annotated[int, whole_number()] = 32
        salient: Annotated[int, whole_number()] = 32
        hidden: Annotated[int, whole_number()] = 128
        salient_weight: Annotated[float, at_least(0)] = 1000.0
        background_weight: Annotated[float, at_least(0)] = 1000.0
        joint_entropy_weight: Annotated[float, at_least(0)] = 10.0
        background: Annotated[int, whole_number(0)] = 0
        attributes: Literal["none", "discrete", "continuous"] = "none"

    paper = Paper(
        title="Separating common from salient patterns with Contrastive Representation Learning",
        authors="Louiset, Duchesnay, Grigis, Gori",
        year=2024,
        arxiv="2402.11928",
        departures=(
            "Uniformity counts twice without attributes, as in the authors' code; the paper's "
            "objective has it once.",
        ),
    )
    facets = Facets("contrastive.in_batch", labels="some")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="adamw",
            learning_rate=1.5e-4,
            weight_decay=0.0,
            batch_size=512,
            epochs=250,
            warmup=0.0,
        ),
        "small": Recipe(
            settings={
                "common": 16,
                "salient": 16,
                "salient_weight": 10.0,
                "background_weight": 10.0,
            }
        ),
    }
    needs_labels = True
    wanted_views = WantedViews(whole_scale=(0.2, 1.0))
    choices = {
        "views": "two strong views",
        "encoder": "two, common and salient",
        "head": "a linear layer and a 2-layer projector each",
        "target": "the other view; for background in the salient space 0",
        "loss": "alignment, uniformity and joint entropy",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(several(encoder, 2), spec, settings)
        s = self.settings
        sizes = (s.common, s.salient if s.attributes == "none" else 1)
        self.reductions = nn.ModuleList(nn.Linear(encoder.dimension, size) for size in sizes)
        self.projectors = nn.ModuleList(mlp((size, s.hidden, size)) for size in sizes)

    def separate(self, x: Any) -> tuple[Tensor, Tensor]:
        """Representations of samples in the common (N, common) and the salient space (N,
        salient).
        """
        parts: Any = self.encoder.parts
        common, salient = (
            reduction(part(x)) for reduction, part in zip(self.reductions, parts, strict=True)
        )
        return common, salient

    def forward(self, batch: Batch) -> Outputs:
        parts: Any = self.encoder.parts
        (c1, c2), (s1, s2) = (
            together(nn.Sequential(*layers), batch.views)
            for layers in zip(parts, self.reductions, self.projectors, strict=True)
        )
        return {"c1": c1, "c2": c2, "s1": s1, "s2": s2, "label": batch.label}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        s = self.settings
        label = outputs["label"]
        common = (outputs["c1"], outputs["c2"])
        target = label != s.background
        if s.attributes == "none":
            terms = sepclr(common, (outputs["s1"], outputs["s2"]), target)
        else:
            attribute = label.to(common[0])[:, None]
            terms = sepclr_with_attributes(
                common, outputs["s1"], attribute, target, discrete=s.attributes == "discrete"
            )
        weights = {
            "salient": s.salient_weight,
            "background": s.background_weight,
            "joint_entropy": s.joint_entropy_weight,
        }
        return {name: weights.get(name, 1.0) * term for name, term in terms.items()}
