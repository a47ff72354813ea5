"""DINO: a student's distribution over prototypes follows that of its momentum teacher on other crops; no labels.

The teacher, a momentum copy, sees the two whole crops; the student sees all crops and learns to give the teacher's
softmax for every other crop. Subtracting a running centre keeps one prototype from winning everywhere, the teacher's
low temperature keeps the outputs from becoming uniform; only together they prevent collapse.

    loss = mean over teacher crops a, student crops v != a of  - softmax((t_a - c) / tau_t) . log softmax(s_v / tau_s)
Source: Caron et al. 2021, arXiv 2104.14294, algorithm 1, equations 3 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nearfar.losses.distillation import dino
from nearfar.methods.method import Batch, Encoder, Method, Outputs, Paper, Recipe, Spec, Summed, WantedViews
from nearfar.networks.heads import DinoHead, together
from nearfar.targets.centre import Centre
from nearfar.targets.momentum import MomentumEncoder, cosine_momentum

_WHOLE = 2
"""Crops that the teacher sees."""


class DINO(Method):
    """Multi-crop, student and momentum teacher, a head with prototypes, the teacher's softmax, cross-entropy."""

    @dataclass(frozen=True)
    class Settings:
        """Attributes:
            student_temperature: of the student's softmax, above 0.
            teacher_temperature: of the teacher's softmax after its warm-up; below the student's.
            first_teacher_temperature: the same at the first step.
            temperature_warmup: share of the run over which the teacher's temperature changes linearly.
            momentum: share of the teacher that stays at the first step, in [0, 1]; rises to 1 along a cosine.
            centre_momentum: share of the centre that stays at each step, in [0, 1].
            prototypes: dimensions of the output.
            frozen: share of the run during which the last layer does not learn.
            clip: largest gradient norm of each single parameter, 0 for no clipping.
            local: number of small crops, which only the student sees.
            hidden: width of the head's hidden layers.
            bottleneck: dimensions before the prototypes.
        """

        student_temperature: float = 0.1
        teacher_temperature: float = 0.07
        first_teacher_temperature: float = 0.04
        temperature_warmup: float = 0.1
        momentum: float = 0.996
        centre_momentum: float = 0.9
        prototypes: int = 65536
        frozen: float = 0.0033
        clip: float = 3.0
        local: int = 8
        hidden: int = 2048
        bottleneck: int = 256

    paper = Paper(
        "Emerging Properties in Self-Supervised Vision Transformers",
        "Caron, Touvron, Misra, Jégou, Mairal, Bojanowski, Joulin", 2021, "2104.14294",
        ("Weight decay stays at its first value; the authors raise it from 0.04 to 0.4.",
         "Evaluation and export take the student's encoder; the authors publish the teacher's."),
    )
    recipes = {
        "paper": Recipe({}, "adamw", learning_rate=5e-4, weight_decay=0.04, batch_size=1024, epochs=300, warmup=0.033),
        "small": Recipe({"momentum": 0.99, "prototypes": 512, "local": 4, "hidden": 512, "bottleneck": 128}),
    }
    choices = {
        "views": "two whole crops, several small ones for the student", "encoder": "one, and a momentum copy",
        "head": "3-layer head, unit-length bottleneck, prototypes",
        "target": "the teacher's centred and sharpened softmax", "loss": "cross-entropy over prototypes",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        self.head = DinoHead(encoder.dimension, s.prototypes, hidden=s.hidden, bottleneck=s.bottleneck)
        self.teacher = MomentumEncoder(nn.Sequential(encoder, self.head))
        self.centre = Centre(s.prototypes, s.centre_momentum)

    @property
    def wanted_views(self) -> WantedViews:
        local = self.settings.local
        return WantedViews(_WHOLE, local, "asymmetric", whole_scale=(0.4, 1.0) if local else (0.14, 1.0))

    def forward(self, batch: Batch) -> Outputs:
        """Per-sample losses, so that no (V, N, prototypes) logits travel between processes."""
        s = self.settings
        warm = min(1.0, self.progress / s.temperature_warmup) if s.temperature_warmup else 1.0
        temperature = s.first_teacher_temperature + warm * (s.teacher_temperature - s.first_teacher_temperature)
        student = torch.stack(together(self.head, together(self.encoder, batch.views)))
        teacher = torch.stack(together(self.teacher, batch.views[:_WHOLE]))
        teacher = teacher.to(torch.promote_types(teacher.dtype, torch.float32))
        temperatures = {"student_temperature": s.student_temperature, "teacher_temperature": temperature}
        values = dino(student, teacher, self.centre.value, **temperatures, reduction="none")
        return {"dino": values, "teacher": Summed(teacher.sum(dim=(0, 1)))}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        return {"dino": outputs["dino"].mean()}

    def after_backward(self) -> None:
        """Clip each parameter's gradient by itself, and hold the last layer still early on."""
        if self.progress < self.settings.frozen:
            self.head.last.weight.grad = None
        for parameter in self.parameters():
            if self.settings.clip and parameter.grad is not None:
                parameter.grad.mul_((self.settings.clip / (parameter.grad.norm() + 1e-6)).clamp(max=1.0))

    def after_step(self, outputs: Outputs) -> None:
        self.centre.update(outputs["teacher"].value, _WHOLE * len(outputs["dino"]))
        self.teacher.update(nn.Sequential(self.encoder, self.head), cosine_momentum(self.settings.momentum, self.progress))
