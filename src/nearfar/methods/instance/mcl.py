"""MCL: SimCLR in stages; each contrasts only samples that all earlier stages find alike, so it must
learn what they did not.

A contrastive loss is content with easy features. After a stage the training set is clustered by
what was learned; the next one trains a fresh network on batches from one cluster, where those
features tell nothing apart. The representation is that of all stages, side by side.

    p_s = p_{s-1} K + c_s;  loss of stage s + 1: NT-Xent whose negatives have the anchor's p_s
Source: Zhang, Lan, Qu, Cheng, Feng, Hooi 2024, arXiv 2402.11816, section 3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from torch import Tensor, nn

from nearfar.losses.instance.contrastive import nt_xent
from nearfar.losses.instance.masked_contrast import grouped_nt_xent
from nearfar.methods.method import (
    Batch,
    Encoder,
    Facets,
    Grouped,
    Method,
    Outputs,
    Paper,
    Recipe,
    Shuffled,
    Spec,
    TrainingSet,
    WantedBatches,
)
from nearfar.networks import several
from nearfar.networks.heads import mlp, together
from nearfar.ranges import above, whole_number
from nearfar.targets.stages import Stages


class MCL(Method):
    """Two views, an encoder and a projector a stage, the other view as target, NT-Xent among
    samples of one pseudo-label.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of MCL.

        Attributes:
            stages: number of networks, trained one after another for equal shares of the run, at
                least 1.
            clusters: K, clusters of each stage's features.
            batches: "grouped" (from one group each; smaller groups never appear) or "mixed"
                (negatives from the anchor's group only).
            unit_stages: whether features of each stage are brought to length 1 before they are put
                side by side.
            temperature: of the softmax over similarities, above 0.
            hidden: width of the projectors' hidden layer.
            projection: dimensions in which views are compared.
        """

        stages: Annotated[int, whole_number(1, 100)] = 4
        clusters: Annotated[int, whole_number(1, 100_000)] = 10
        batches: Literal["grouped", "mixed"] = "grouped"
        unit_stages: bool = False
        temperature: Annotated[float, above(0)] = 0.1
        hidden: Annotated[int, whole_number()] = 2048
        projection: Annotated[int, whole_number()] = 128

    paper = Paper(
        title="Learning the Unlearned: Mitigating Feature Suppression in Contrastive Learning",
        authors="Zhang, Lan, Qu, Cheng, Feng, Hooi",
        year=2024,
        arxiv="2402.11816",
        departures=(
            "All processes draw the same permutations, so a joined batch is of one group; the "
            "authors' processes draw their own.",
            "Each stage starts from fresh weights, but keeps the optimiser's moments; the authors' "
            "code for images alone is not public.",
        ),
    )
    facets = Facets("contrastive.in_batch")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="adamw",
            learning_rate=3e-4,
            weight_decay=1e-4,
            batch_size=256,
            epochs=800,
        ),
        "small": Recipe(
            settings={"stages": 3, "clusters": 4, "temperature": 0.2, "hidden": 512},
            batch_size=64,
            epochs=60,
        ),
    }
    choices = {
        "views": "two strong views",
        "encoder": "one a stage, all side by side in the end",
        "head": "2-layer projector",
        "target": "the other view; negatives that earlier stages find alike",
        "loss": "NT-Xent",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        s = settings or self.Settings()
        made: Any = several(encoder, s.stages)
        super().__init__(made, spec, s)
        self.parts = made.parts
        widths = (encoder.dimension, s.hidden, s.projection)
        self.projectors = nn.ModuleList(
            mlp(widths, last_bias=False, last_norm="batch") for _ in range(s.stages)
        )
        self.stages = Stages(spec.length, s.clusters, self.parts, self.projectors)

    @property
    def wanted_batches(self) -> WantedBatches:
        return Grouped() if self.settings.batches == "grouped" else Shuffled()

    @property
    def groups(self) -> Tensor:
        """Pseudo-label of each training sample."""
        return self.stages.groups

    def before_epoch(self, epoch: int, training_set: TrainingSet) -> None:
        if self.stages.due(epoch, self.progress):
            self.stages.finish(training_set.features(self.parts[-1]), seed=training_set.seed)

    def forward(self, batch: Batch) -> Outputs:
        z1, z2 = together(self.projectors[-1], together(self.parts[-1], batch.views))
        return {"z1": z1, "z2": z2, "group": self.groups[batch.index]}

    def loss(self, outputs: Outputs, rows: slice | None = None) -> dict[str, Tensor]:
        z1 = outputs["z1"]
        z2 = outputs["z2"]
        tau = self.settings.temperature
        if self.settings.batches == "grouped":
            return {"nt_xent": nt_xent(z1, z2, temperature=tau, rows=rows)}
        return {"nt_xent": grouped_nt_xent(z1, z2, outputs["group"], temperature=tau, rows=rows)}

    def encode(self, x: Any) -> Tensor:
        """Features of all stages side by side (N, D); 0 in the places of stages that have not
        learned yet.
        """
        return self.stages.integrated(
            [part(x) for part in self.parts], unit=self.settings.unit_stages
        )
