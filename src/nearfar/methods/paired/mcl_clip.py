"""MCL for pairs: CLIP in stages; each contrasts only pairs whose images all earlier stages find
alike.

As ``mcl``, with CLIP as what is trained: after a stage the images are clustered by their
embeddings, and the next stage sees batches from one cluster only, so that it must learn what tells
alike images apart. A pair is compared by the embeddings of all stages.
    p_s = p_{s-1} K + c_s;  loss of stage s + 1: CLIP's among pairs of one p_s;  similarity: cosine
    of all stages' embeddings
Source: Zhang, Lan, Qu, Cheng, Feng, Hooi 2024, arXiv 2402.11816, section 3; CLIP: Radford et al.
    2021.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from nearfar.batch import Batch
from nearfar.losses.instance.contrastive import clip
from nearfar.losses.instance.masked_contrast import grouped_clip
from nearfar.methods.instance.mcl import MCL
from nearfar.methods.method import (
    Facets,
    Grouped,
    Method,
    Outputs,
    Recipe,
    Shuffled,
    Spec,
    TrainingSet,
    WantedBatches,
    WantedViews,
)
from nearfar.networks import several
from nearfar.networks.locking import lock_towers
from nearfar.networks.towers import Towers
from nearfar.ranges import above, whole_number
from nearfar.rows import Parts
from nearfar.targets.stages import Stages


class MCLClip(Method):
    """One view of a pair, two encoders and linear projections a stage, the partner as target,
    InfoNCE among pairs of one pseudo-label.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of MCLClip.

        Attributes:
            stages: number of pairs of networks, trained one after another for equal shares of the
                run, at least 1.
            clusters: K, clusters of each stage's image embeddings.
            batches: "grouped" (from one group each; smaller groups never appear) or "mixed"
                (negatives from the anchor's group only).
            restart: from where a stage starts: "same" (the weights that the encoders were given, as
                for pretrained ones) or "fresh".
            lock_texts: hold a pretrained text encoder still; its projections learn.
            image_layers: how many of the image encoder's last layers learn; None: all.
            unit_stages: whether embeddings of each stage are brought to length 1 before they are
                put side by side.
            projection: dimensions of the shared space.
            temperature: at the start of each stage; learned from there, above 0.
        """

        stages: Annotated[int, whole_number(1, 100)] = 4
        clusters: Annotated[int, whole_number(1, 100_000)] = 10
        batches: Literal["grouped", "mixed"] = "grouped"
        restart: Literal["same", "fresh"] = "same"
        lock_texts: bool = False
        image_layers: Annotated[int, whole_number(1, 1000)] | None = None
        unit_stages: bool = False
        projection: Annotated[int, whole_number()] = 512
        temperature: Annotated[float, above(0)] = 0.07

    paper = replace(
        MCL.paper,
        departures=(
            "All processes draw the same permutations; the authors' draw their own.",
            "All learns unless locked by the settings.",
        ),
    )
    facets = Facets("contrastive.multimodal", target="pair-label", labels="pairs")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="adamw",
            learning_rate=1e-5,
            weight_decay=0.1,
            batch_size=8000,
            epochs=80,
            warmup=0.01,
        ),
        "small": Recipe(
            settings={"stages": 3, "clusters": 4, "restart": "fresh", "projection": 128},
            learning_rate=1e-3,
            batch_size=64,
            epochs=60,
        ),
    }
    modalities = ("image+text",)
    encoder_kind = "towers"
    encoder: Towers
    wanted_views = WantedViews(whole=1, style="crop", whole_scale=(0.8, 1.0))
    choices = {
        "views": "one view of each pair",
        "encoder": "one for each modality and stage",
        "head": "a linear projection for each",
        "target": "the sample's other half; negatives that earlier stages find alike",
        "loss": "InfoNCE both ways",
    }

    def __init__(self, encoder: Towers, spec: Spec, settings: Settings | None = None) -> None:
        s = settings or self.Settings()
        made: Any = several(encoder, s.stages)
        super().__init__(made, spec, s)
        self.names = tuple(spec.parts)
        self.parts: Any = tuple(made.part(name).parts for name in self.names)
        width = [[encoder.part(name).dimension] * s.stages for name in self.names]
        self.projections: Any = nn.ModuleList(
            nn.ModuleList(nn.Linear(size, s.projection, bias=False) for size in each)
            for each in width
        )
        for parts in self.parts if s.restart == "same" else ():
            for part in parts:
                part.load_state_dict(parts[0].state_dict())
        lock_towers(
            *self.parts, texts=s.lock_texts, image_layers=s.image_layers, kept=s.restart == "same"
        )
        self.log_scale = nn.Parameter(torch.tensor(-math.log(s.temperature)))
        self.stages = Stages(spec.length, s.clusters, *self.parts, *self.projections)

    @property
    def wanted_batches(self) -> WantedBatches:
        return Grouped() if self.settings.batches == "grouped" else Shuffled()

    @property
    def groups(self) -> Tensor:
        """Pseudo-label of each training pair."""
        return self.stages.groups

    @torch.no_grad()
    def before_epoch(self, epoch: int, training_set: TrainingSet) -> None:
        if self.stages.due(epoch, self.progress):
            self.stages.finish(
                training_set.features(lambda pair: self.embeddings(self.names[0], pair)[-1]),
                seed=training_set.seed,
            )
            self.log_scale.fill_(-math.log(self.settings.temperature))

    def embeddings(self, name: str, x: Any) -> list[Tensor]:
        """Embeddings (N, projection) of a part by each stage, not normalised.

        Args:
            name: Of the part.
            x: N samples of it, or of all parts.
        """
        place = self.names.index(name)
        own = x[name] if isinstance(x, Parts) else x
        return [
            project(part(own))
            for project, part in zip(self.projections[place], self.parts[place], strict=True)
        ]

    def forward(self, batch: Batch) -> Outputs:
        (pair,) = batch.views
        (i, t) = (parts[-1] for parts in self.parts)
        first, second = self.names
        (u, v) = (heads[-1] for heads in self.projections)
        return {
            "first": u(i(pair[first])),
            "second": v(t(pair[second])),
            "group": self.groups[batch.index],
        }

    def loss(self, outputs: Outputs, rows: slice | None = None) -> dict[str, Tensor]:
        first = normalize(outputs["first"], dim=1)
        second = normalize(outputs["second"], dim=1)
        scale = self.log_scale.exp()
        loss = (
            grouped_clip(first, second, outputs["group"], temperature=1 / scale, rows=rows)
            if self.settings.batches == "mixed"
            else clip(first, second, logit_scale=scale, rows=rows)
        )
        return {"clip": loss, "scale": scale.detach()}

    @torch.no_grad()
    def after_step(self, outputs: Outputs) -> None:
        self.log_scale.clamp_(0.0, math.log(100.0))

    def embed_part(self, name: str, x: Any) -> Tensor:
        embeddings = self.embeddings(name, x)
        return normalize(self.stages.integrated(embeddings, unit=self.settings.unit_stages), dim=1)
