"""DINOv2: DINO's class token, iBOT's hidden patches, and features of a batch that keep apart.

The momentum teacher sees two whole crops. The student sees them too, half of them with blocks of
patches hidden, and small crops. Its class tokens give the teacher's shares of prototypes of the
other crops; its hidden patches give those of the same patches, by a head of their own. The
teacher's shares are balanced over the batch by the Sinkhorn-Knopp iteration. A regulariser pushes
each sample's class token away from its nearest one in the batch.

    loss = DINO(class tokens) + weight iBOT(hidden patches) + spread sum_a KoLeo(class tokens of a)
Source: Oquab et al. 2023, arXiv 2304.07193, section 4; Zhou et al. 2022 (iBOT), equation 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, cast

import torch
from torch import Tensor, nn

from nearfar.losses.distillation.clustering import swav
from nearfar.losses.distillation.patches import koleo, masked_distillation
from nearfar.losses.kernels.sinkhorn import sinkhorn
from nearfar.methods.method import (
    Batch,
    Facets,
    Method,
    Outputs,
    Paper,
    Recipe,
    Spec,
    WantedViews,
)
from nearfar.networks.encoder import TokenEncoder
from nearfar.networks.heads import DinoHead, together
from nearfar.networks.transformer import select_tokens
from nearfar.ranges import above, at_least, unit_interval, whole_number
from nearfar.targets.centre import warmed
from nearfar.targets.momentum import MomentumEncoder, cosine_momentum
from nearfar.views.masks.blocks import check_shares, hidden_in_blocks, noise_of_blocks

_WHOLE = 2  # crops that the teacher sees


class DINOv2(Method):
    """Multi-crop with hidden patches, student and momentum teacher, two heads with prototypes,
    balanced shares, cross-entropy and a spread.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of DINOv2.

        Attributes:
            student_temperature: Of the student's softmax, above 0.
            teacher_temperature: Of the teacher's shares after its warm-up; below the student's.
            first_teacher_temperature: The same at the first step.
            temperature_warmup: Share of the run over which the teacher's temperature changes
                linearly.
            momentum: Share of the teacher that stays at the first step, in [0, 1]; rises to 1 along
                a cosine.
            patches: Weight of the hidden patches' loss; 0 leaves them out.
            spread: Weight of the regulariser; 0 leaves it out.
            masked: Share of the whole crops of which patches are hidden.
            least: Share of the patches that is hidden of such a crop, at the least.
            most: The same at the most; not below ``least``.
            prototypes: Dimensions of either head's output.
            frozen: Share of the run during which the last layers do not learn.
            local: Number of small crops, which only the student sees.
            hidden: Width of the heads' hidden layers.
            bottleneck: Dimensions before the prototypes.
        """

        student_temperature: Annotated[float, above(0)] = 0.1
        teacher_temperature: Annotated[float, above(0)] = 0.07
        first_teacher_temperature: Annotated[float, above(0)] = 0.04
        temperature_warmup: Annotated[float, unit_interval()] = 0.3
        momentum: Annotated[float, unit_interval()] = 0.992
        patches: Annotated[float, at_least(0)] = 1.0
        spread: Annotated[float, at_least(0)] = 0.1
        masked: Annotated[float, unit_interval()] = 0.5
        least: Annotated[float, unit_interval(zero=False, one=False)] = 0.1
        most: Annotated[float, unit_interval(zero=False, one=False)] = 0.5
        prototypes: Annotated[int, whole_number()] = 65536
        frozen: Annotated[float, unit_interval()] = 0.01
        local: Annotated[int, whole_number(0, 64)] = 8
        hidden: Annotated[int, whole_number()] = 2048
        bottleneck: Annotated[int, whole_number()] = 256

    paper = Paper(
        title="DINOv2: Learning Robust Visual Features without Supervision",
        authors="Oquab, Darcet, Moutakanni et al.",
        year=2023,
        arxiv="2304.07193",
        departures=(
            "Evaluation takes the student's encoder, not the teacher's.",
            "Hidden blocks are drawn all at once, not one after another until there are enough; "
            "each whole crop is masked with the same chance, where the authors mask a fixed share.",
            "The larger size of crops at the end of training, the layers' own learning rates and "
            "stochastic depth are left out.",
        ),
    )
    facets = Facets(
        "hybrid",
        level="patch",
        target="cluster",
        teacher="ema",
        guard="balanced-assignment",
        masking="block",
    )
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="adamw",
            learning_rate=1e-3,
            weight_decay=0.04,
            batch_size=1024,
            epochs=100,
            warmup=0.1,
            final_weight_decay=0.2,
            clip=3.0,
        ),
        "small": Recipe(
            settings={
                "momentum": 0.9,
                "first_teacher_temperature": 0.04,
                "teacher_temperature": 0.04,
                "prototypes": 60,
                "local": 0,
                "hidden": 256,
                "bottleneck": 64,
            },
            learning_rate=4e-3,
            batch_size=64,
            epochs=75,
            warmup=0.1,
            clip=3.0,
        ),
    }
    encoder_kind = "tokens"
    encoder: TokenEncoder
    choices = {
        "views": "two whole crops, half of them with hidden blocks, and several small ones",
        "encoder": "a transformer, and a momentum copy",
        "head": "one for class tokens and one for patches, each with prototypes",
        "target": "the teacher's shares, balanced over the batch",
        "loss": "cross-entropy of class tokens and of hidden patches, and a spread",
    }

    def __init__(self, encoder: TokenEncoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        check_shares(s.least, s.most)
        widths = {"hidden": s.hidden, "bottleneck": s.bottleneck}
        self.head = DinoHead(encoder.dimension, s.prototypes, **widths)
        self.patch_head = DinoHead(encoder.dimension, s.prototypes, **widths)
        self.mask_token = nn.Parameter(torch.zeros(encoder.dimension))
        self.teacher = MomentumEncoder(self._taught())
        self.temperature = partial(
            warmed, s.first_teacher_temperature, s.teacher_temperature, s.temperature_warmup
        )

    def _taught(self) -> nn.ModuleDict:
        """What the teacher is a copy of."""
        return nn.ModuleDict(
            {"encoder": self.encoder, "head": self.head, "patch_head": self.patch_head}
        )

    @property
    def wanted_views(self) -> WantedViews:
        return WantedViews(
            _WHOLE,
            self.settings.local,
            "asymmetric",
            whole_scale=(0.32, 1.0),
            local_scale=(0.05, 0.32),
            noise=_WHOLE * (2 + noise_of_blocks(self.encoder.grid)),
        )

    def forward(self, batch: Batch) -> Outputs:
        whole = torch.cat(batch.views[:_WHOLE])
        places, counted = self.masks(torch.cat(batch.extra["noise"].chunk(_WHOLE, dim=1)))
        taught = cast(nn.ModuleDict, self.teacher.module)
        with torch.no_grad():
            known = _tokens(cast(TokenEncoder, taught["encoder"]), whole)
            teacher = taught["head"](known[:, 0])
            wanted = _of_patches(taught["patch_head"], known, places)
        hidden = torch.zeros(
            len(whole), self.encoder.patches, dtype=torch.bool, device=whole.device
        )
        hidden.scatter_(1, places, counted)
        seen = self.encoder.encode_tokens(self.encoder.embed(whole, hidden, self.mask_token))
        local = together(self.encoder, batch.views[_WHOLE:])
        classes = torch.cat([seen[:, 0], *local])
        return {
            "student": _by_sample(self.head(classes), _WHOLE + self.settings.local),
            "teacher": _by_sample(teacher, _WHOLE),
            "patches": _by_sample(_of_patches(self.patch_head, seen, places), _WHOLE),
            "wanted": _by_sample(wanted, _WHOLE),
            "counted": _by_sample(counted, _WHOLE),
            "classes": _by_sample(seen[:, 0], _WHOLE),
        }

    def masks(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The patches of each whole crop that are hidden.

        Args:
            noise: (N, 2 + ``noise_of_blocks``) values in [0, 1).

        Returns:
            Places (N, M) int64, all different, and which of them are hidden, (N, M) bool.
        """
        s = self.settings
        patches = self.encoder.patches
        most = max(1, int(s.most * patches))
        share = s.least + noise[:, 1] * (s.most - s.least)
        count = (share * patches).long().clamp(1, most) * (noise[:, 0] < s.masked)
        places = hidden_in_blocks(noise[:, 2:], self.encoder.grid, most)
        return places, torch.arange(most, device=noise.device) < count[:, None]

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        s = self.settings
        balanced = partial(sinkhorn, epsilon=self.temperature(self.progress))
        teacher = outputs["teacher"]
        shares = balanced(teacher.flatten(0, 1)).view_as(teacher)
        terms = {
            "dino": swav(
                outputs["student"].transpose(0, 1),
                shares.transpose(0, 1),
                temperature=s.student_temperature,
            )
        }
        if s.patches:
            wanted = outputs["wanted"].flatten(0, 1)
            counted = outputs["counted"].flatten(0, 1)
            rows = wanted.flatten(0, 1)
            terms["ibot"] = s.patches * masked_distillation(
                outputs["patches"].flatten(0, 1),
                balanced(rows, counted=counted.flatten()).view_as(wanted),
                counted,
                temperature=s.student_temperature,
            )
        if s.spread:
            apart = [koleo(crop) for crop in outputs["classes"].unbind(1)]
            terms["koleo"] = s.spread * torch.stack(apart).sum()
        return terms

    def after_backward(self, phase: str) -> None:
        """Hold the last layers still early on."""
        if self.progress < self.settings.frozen:
            self.head.last.weight.grad = None
            self.patch_head.last.weight.grad = None

    def after_step(self, outputs: Outputs) -> None:
        self.teacher.update(self._taught(), cosine_momentum(self.settings.momentum, self.progress))


def _tokens(encoder: TokenEncoder, x: Tensor) -> Tensor:
    """The class token and all patches, (N, 1 + L, D)."""
    return encoder.encode_tokens(encoder.embed(x))


def _of_patches(head: nn.Module, tokens: Tensor, places: Tensor) -> Tensor:
    """Logits (N, M, K) of some patches of (N, 1 + L, D) tokens."""
    found: Tensor = head(select_tokens(tokens, places + 1).flatten(0, 1))
    return found.view(*places.shape, -1)


def _by_sample(rows: Tensor, crops: int) -> Tensor:
    """(crops N, ...), crop after crop, to (N, crops, ...)."""
    return torch.stack(rows.chunk(crops), dim=1)
