"""DINO: a student's distribution over prototypes follows that of its momentum teacher on other
crops; no labels.

The teacher, a momentum copy, sees the two whole crops; the student sees all and learns to give the
teacher's softmax for every other crop. A running centre keeps one prototype from winning
everywhere, the teacher's low temperature prevents uniform outputs.

    loss = mean over teacher crops a, student crops v != a of  - softmax((t_a - c) / tau_t) .
            log softmax(s_v / tau_s)
Source: Caron et al. 2021, arXiv 2104.14294, algorithm 1, equations 3 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from torch import Tensor, nn

from nearfar.losses.distillation.clustering import swav
from nearfar.losses.distillation.distillation import dino
from nearfar.losses.kernels.sinkhorn import sinkhorn
from nearfar.methods.gradients import clip_each
from nearfar.methods.method import (
    Batch,
    Encoder,
    Facets,
    Method,
    Outputs,
    Paper,
    Recipe,
    Spec,
    Summed,
    WantedViews,
)
from nearfar.networks.heads import DinoHead, together
from nearfar.ranges import above, at_least, unit_interval, whole_number
from nearfar.targets.centre import Centre, warmed
from nearfar.targets.momentum import MomentumEncoder, cosine_momentum

_WHOLE = 2  # crops that the teacher sees


class DINO(Method):
    """Multi-crop, student and momentum teacher, a head with prototypes, the teacher's softmax,
    cross-entropy.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of DINO.

        Attributes:
            student_temperature: of the student's softmax, above 0.
            teacher_temperature: of the teacher's softmax after its warm-up; below the student's.
            first_teacher_temperature: the same at the first step.
            temperature_warmup: share of the run over which the teacher's temperature changes
                linearly.
            momentum: share of the teacher that stays at the first step, in [0, 1]; rises to 1 along
                a cosine.
            sinkhorn: balance the teacher's shares over the batch, as SwAV does, instead of
                subtracting a centre (table 7).
            centre_momentum: share of the centre that stays at each step, in [0, 1].
            prototypes: dimensions of the output.
            frozen: share of the run during which the last layer does not learn.
            clip: largest gradient norm of each single parameter, 0 for no clipping.
            local: number of small crops, which only the student sees.
            hidden: width of the head's hidden layers.
            bottleneck: dimensions before the prototypes.
            head_norm: batch norm in the head's hidden layers.
        """

        student_temperature: Annotated[float, above(0)] = 0.1
        teacher_temperature: Annotated[float, above(0)] = 0.07
        first_teacher_temperature: Annotated[float, above(0)] = 0.04
        temperature_warmup: Annotated[float, unit_interval()] = 0.1
        momentum: Annotated[float, unit_interval()] = 0.996
        sinkhorn: bool = False
        centre_momentum: Annotated[float, unit_interval()] = 0.9
        prototypes: Annotated[int, whole_number()] = 65536
        frozen: Annotated[float, unit_interval()] = 0.0033
        clip: Annotated[float, at_least(0)] = 3.0
        local: Annotated[int, whole_number(0, 64)] = 8
        hidden: Annotated[int, whole_number()] = 2048
        bottleneck: Annotated[int, whole_number()] = 256
        head_norm: bool = False

    paper = Paper(
        title="Emerging Properties in Self-Supervised Vision Transformers",
        authors="Caron, Touvron, Misra et al.",
        year=2021,
        arxiv="2104.14294",
        departures=("Evaluation takes the student's encoder, not the teacher's.",),
    )
    facets = Facets(
        "non_contrastive.self_distillation",
        target="cluster",
        teacher="ema",
        guard="centring+sharpening",
    )
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="adamw",
            learning_rate=5e-4,
            weight_decay=0.04,
            batch_size=1024,
            epochs=300,
            warmup=0.033,
            final_weight_decay=0.4,
        ),
        "small": Recipe(
            settings={
                "momentum": 0.9,
                "sinkhorn": True,
                "first_teacher_temperature": 0.03,
                "teacher_temperature": 0.03,
                "prototypes": 60,
                "frozen": 0.1,
                "clip": 0.0,
                "local": 0,
                "hidden": 512,
                "bottleneck": 128,
                "head_norm": True,
            },
            learning_rate=4e-3,
            batch_size=64,
            epochs=75,
            warmup=0.1,
        ),
    }
    choices = {
        "views": "two whole crops, several small ones for the student",
        "encoder": "one, and a momentum copy",
        "head": "3 layers, unit-length bottleneck, prototypes",
        "target": "the teacher's centred and sharpened softmax",
        "loss": "cross-entropy over prototypes",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        self.head = DinoHead(
            encoder.dimension,
            s.prototypes,
            hidden=s.hidden,
            bottleneck=s.bottleneck,
            norm=s.head_norm,
        )
        self.teacher = MomentumEncoder(nn.Sequential(encoder, self.head))
        self.centre = Centre(s.prototypes, s.centre_momentum)
        self.temperature = partial(
            warmed, s.first_teacher_temperature, s.teacher_temperature, s.temperature_warmup
        )

    @property
    def wanted_views(self) -> WantedViews:
        return WantedViews(
            _WHOLE,
            self.settings.local,
            "asymmetric",
            whole_scale=(0.4 if self.settings.local else 0.14, 1.0),
        )

    def forward(self, batch: Batch) -> Outputs:
        """Per-sample losses, so that no (N, V, prototypes) logits travel between processes;
        balancing needs the logits.
        """
        student = torch.stack(together(self.head, together(self.encoder, batch.views)))
        teacher = torch.stack(together(self.teacher, batch.views[:_WHOLE]))
        teacher = teacher.to(torch.promote_types(teacher.dtype, torch.float32))
        if self.settings.sinkhorn:
            return {"student": student.transpose(0, 1), "teacher": teacher.transpose(0, 1)}
        temperatures = {
            "student_temperature": self.settings.student_temperature,
            "teacher_temperature": self.temperature(self.progress),
        }
        values = dino(student, teacher, self.centre.value, **temperatures, reduction="none")
        return {"dino": values, "teacher": Summed(teacher.sum(dim=(0, 1)))}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        if not self.settings.sinkhorn:
            return {"dino": outputs["dino"].mean()}
        shares = [
            sinkhorn(crop, epsilon=self.temperature(self.progress))
            for crop in outputs["teacher"].transpose(0, 1)
        ]
        return {
            "dino": swav(
                outputs["student"].transpose(0, 1),
                torch.stack(shares),
                temperature=self.settings.student_temperature,
            )
        }

    def after_backward(self, phase: str) -> None:
        """Hold the last layer still early on, and clip each parameter's gradient by itself."""
        if self.progress < self.settings.frozen:
            self.head.last.weight.grad = None
        if self.settings.clip:
            clip_each(self.parameters(), self.settings.clip)

    def after_step(self, outputs: Outputs) -> None:
        if not self.settings.sinkhorn:
            self.centre.update(outputs["teacher"].value, _WHOLE * len(outputs["dino"]))
        self.teacher.update(
            nn.Sequential(self.encoder, self.head),
            cosine_momentum(self.settings.momentum, self.progress),
        )
