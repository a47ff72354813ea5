"""Distillation by hints: a student's features, and its maps place by place, are the teacher's.

Student and teacher see the same view. Where their dimensions differ, a linear layer leads from the
student's to the teacher's and is thrown away in the end. Maps are compared on the teacher's grid.

    loss = d(A s, t) + w mean over places p of d(B S_p, T_p);
      d = 1 / D |. - .|^2 (mse), or 1 - cos (cosine)
    With ``standardise``, t and T_p less their mean, over their deviation, on the training set.
Source: Romero et al. 2015, arXiv 1412.6550, equation 3; views are SimCLR's, and a patient teacher
    that sees the student's crops is that of Beyer et al. 2022, arXiv 2106.05237.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from nearfar.errors import UserError
from nearfar.losses.distillation.hints import hint
from nearfar.methods.distillation._teacher import Distilling, Standard, map_channels
from nearfar.methods.method import Batch, Encoder, Facets, Outputs, Paper, Recipe, Spec, TrainingSet
from nearfar.ranges import above


class Distill(Distilling):
    """One strong view, any student, a linear layer to the teacher's dimensions, its features and
    map as constants, their distance.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of Distill.

        Attributes:
            level: What is compared: "global" features, "dense" maps, or "both"; "auto" is both
                where student and teacher have maps, and global elsewhere.
            form: "mse" is the mean squared difference, "cosine" one less the cosine.
            dense: Weight of the maps beside the features, above 0.
            standardise: Whether each channel of the teacher is standardised over the training set
                first, so that what all samples share does not outweigh what tells them apart.
        """

        level: Literal["auto", "global", "dense", "both"] = "auto"
        form: Literal["mse", "cosine"] = "mse"
        dense: Annotated[float, above(0)] = 1.0
        standardise: bool = False

    paper = Paper(
        title="FitNets: Hints for Thin Deep Nets",
        authors="Romero, Ballas, Kahou, Chassang, Gatta, Bengio",
        year=2015,
        arxiv="1412.6550",
        departures=(
            "The hint is the teacher's last map, not a middle one, and the student learns from "
            "nothing else; the paper goes on with labels.",
            "Differences are averaged over dimensions and places; the paper halves their sum.",
            "The regressor is linear at each place, and left out where dimensions are equal.",
            "Pooled features are compared besides.",
            "Adam without its average of gradients stands for RMSProp.",
        ),
    )
    facets = Facets("non_contrastive.self_distillation", teacher="frozen", guard="none")
    recipes = {
        "paper": Recipe(
            settings={"level": "dense"},
            optimizer="adam:beta1=0.0",
            learning_rate=0.005,
            scale=False,
            batch_size=128,
            epochs=500,
            schedule="constant",
            weight_decay=0.0,
            warmup=0.0,
        ),
        "small": Recipe(batch_size=64),
    }
    choices = {
        "views": "one strong view, which both see",
        "encoder": "any student; any finished teacher",
        "head": "a linear layer to the teacher's dimensions",
        "target": "the teacher's features and map",
        "loss": "squared difference, or cosine",
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
        architecture: Any = getattr(teacher, "architecture", None)
        seen: Spec = architecture["spec"] if architecture else spec
        maps = map_channels(encoder, spec), map_channels(teacher, seen.of(spec.modality) or seen)
        level = self.settings.level
        fit = maps[0] is not None and maps[1] is not None and maps[0][1] == maps[1][1]
        if level in ("dense", "both") and not fit:
            raise UserError(
                "Distillation of maps needs a student and a teacher with maps of as many axes, and "
                "these have not; choose other encoders or --settings.level global."
            )
        self.is_dense = level in ("dense", "both") or (level == "auto" and fit)
        self.is_global = level != "dense"
        self.projector = _to(encoder.dimension, teacher.dimension if self.is_global else 0)
        channels = [one[0] if one is not None else 0 for one in maps]
        self.map_projector = _to(channels[0], channels[1] if self.is_dense else 0)
        self.map_scale = Standard(channels[1] if self.is_dense else 0)

    def before_epoch(self, epoch: int, training_set: TrainingSet) -> None:
        """Look at the teacher's channels before the first step, those of maps by their moments."""
        super().before_epoch(epoch, training_set)
        if epoch == 0 and self.settings.standardise and self.is_dense:
            self.map_scale.set(*training_set.features(self._moments).chunk(2, dim=1))

    def _moments(self, x: Any) -> Tensor:
        """Mean and mean square of each channel of the teacher's map."""
        rows = self.teacher.with_map(self.as_taught(x))[1].flatten(2)
        return torch.cat([rows.mean(dim=2), rows.square().mean(dim=2)], dim=1)

    def forward(self, batch: Batch) -> Outputs:
        (x,) = batch.views
        if not self.is_dense:
            return {"global": self._distance(self.projector(self.encoder(x)), self.taught(x))}
        features, places = self.encoder.with_map(x)
        with torch.no_grad():
            target, target_places = self.teacher.with_map(self.as_taught(x))
        if places.shape[2:] != target_places.shape[2:]:
            mode = "bilinear" if places.ndim == 4 else "linear"
            places = interpolate(places, target_places.shape[2:], mode=mode)
        own = self.map_projector(places.flatten(2).mT)
        found = {"dense": self._distance(own, self.map_scale(target_places.flatten(2).mT))}
        if self.is_global:
            found["global"] = self._distance(self.projector(features), self.scale(target))
        return found

    def _distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        return hint(student, teacher, form=self.settings.form, reduction="none")

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        terms = {}
        if self.is_global:
            terms["global"] = outputs["global"].mean()
        if self.is_dense:
            weight = self.settings.dense if self.is_global else 1.0
            terms["dense"] = weight * outputs["dense"].mean()
        return terms


def _to(before: int, after: int) -> nn.Module:
    """A linear layer where the two differ; nothing where there is no target."""
    return nn.Linear(before, after) if after not in (0, before) else nn.Identity()
