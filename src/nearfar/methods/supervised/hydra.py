"""Hydra: any two classes may be a positive pair, if a gate first selects the dimensions in which
they agree.

Each sample draws a partner class, by default any class of the batch. A small network makes a gate
from the two classes, and the sample must find the rows of its partner class among those of all
other classes in the gated space. The published code calls it SimLAP. It changes SupCon's pairs and
softmax: without a gate, arbitrary pairs teach nothing.

    g_i = sigmoid(MLP((E[y_i] + E[y'_i]) / 2)),  l_ij = cos(g_i * z_i, g_i * z_j) / tau
    loss = mean over all positives (y_j = y'_i) of  log(1 + sum_{n of neither class} exp(l_in
            - l_ij))  +  CE of a linear probe
Source: Wu et al. 2024, arXiv 2410.18200, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy

from nearfar.losses.supervised.gated_pairs import gated_contrast
from nearfar.methods.method import (
    Batch,
    Encoder,
    Facets,
    Method,
    Outputs,
    Paper,
    Recipe,
    Repeated,
    Spec,
    WantedBatches,
    WantedViews,
)
from nearfar.networks.gate import ClassPairGate
from nearfar.networks.heads import mlp
from nearfar.ranges import above, whole_number
from nearfar.targets.step_generator import StepGenerator


class Hydra(Method):
    """One weak view a row and several rows a sample, one encoder, a projector behind a class-pair
    gate, gated contrast.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of Hydra.

        Attributes:
            partners: class of a sample's positives: "arbitrary" (the batch's classes in random
                order), "identical" (its own) or "distinct" (any other).
            gate: "fused", "product" or "none" (all dimensions).
            temperature: of the softmax over similarities, above 0.
            copies: rows of each sample in a batch, each a view of its own.
            hidden: width of the projector's hidden layer.
            projection: dimensions in which rows are compared.
            embedding: width of the gate's table of classes.
            gate_hidden: width of the gate's hidden layer.
            probe_gradient: whether the probe's gradient reaches the encoder.
        """

        partners: Literal["arbitrary", "identical", "distinct"] = "arbitrary"
        gate: Literal["fused", "product", "none"] = "fused"
        temperature: Annotated[float, above(0)] = 0.1
        copies: Annotated[int, whole_number(2, 64)] = 3
        hidden: Annotated[int, whole_number()] = 2048
        projection: Annotated[int, whole_number()] = 256
        embedding: Annotated[int, whole_number()] = 512
        gate_hidden: Annotated[int, whole_number()] = 1024
        probe_gradient: bool = False

    paper = Paper(
        title="Rethinking Positive Pairs in Contrastive Learning",
        authors="Wu, Atito, Feng, Mo, Kittler, Awais",
        year=2024,
        arxiv="2410.18200",
        departures=("The gate's batch norms keep no running statistics, which nothing reads.",),
    )
    facets = Facets("contrastive.supervised", target="pair-label", labels="some")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="adamw",
            learning_rate=1e-3,
            weight_decay=5e-4,
            epochs=50,
            warmup=0.04,
        ),
        "small": Recipe(
            settings={"hidden": 512, "projection": 128, "embedding": 128, "gate_hidden": 256},
            batch_size=258,
        ),
    }
    needs_labels = True
    label_kind = "class"
    choices = {
        "views": "one cropped view a row, three rows a sample",
        "encoder": "one, shared",
        "head": "2-layer projector, class-pair gate",
        "target": "rows of a partner class; rows of neither class as negatives",
        "loss": "gated contrast, and a probe's cross-entropy",
    }
    wanted_views = WantedViews(whole=1, style="crop", whole_scale=(0.7, 1.0))

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        classes = len(spec.classes)
        layers = mlp((encoder.dimension, s.hidden, s.projection), last_bias=False)
        self.projector = nn.Sequential(*layers, nn.LayerNorm(s.projection))
        self.probe = nn.Linear(encoder.dimension, classes)
        sizes = {"embedding": s.embedding, "hidden": s.gate_hidden}
        self.gate = (
            None if s.gate == "none" else ClassPairGate(classes, s.projection, kind=s.gate, **sizes)
        )
        self.generator = StepGenerator()

    @property
    def wanted_batches(self) -> WantedBatches:
        return Repeated(copies=self.settings.copies)

    def forward(self, batch: Batch) -> Outputs:
        features = self.encoder(batch.views[0])
        logits = self.probe(features if self.settings.probe_gradient else features.detach())
        return {"z": self.projector(features), "logits": logits, "label": batch.label}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        z = outputs["z"]
        label = outputs["label"]
        partner = self._partners(label)
        gate = torch.ones_like(z) if self.gate is None else self.gate(label, partner)
        contrast = gated_contrast(z, gate, label, partner, temperature=self.settings.temperature)
        return {"contrast": contrast, "probe": cross_entropy(outputs["logits"], label)}

    def _partners(self, label: Tensor) -> Tensor:
        generator = self.generator()
        classes = len(self.spec.classes)
        if self.settings.partners == "arbitrary":
            return label[torch.randperm(len(label), generator=generator).to(label.device)]
        shift = torch.randint(1, classes, (len(label),), generator=generator).to(label.device)
        return label if self.settings.partners == "identical" else (label + shift) % classes

    def after_step(self, outputs: Outputs) -> None:
        self.generator.advance()

    @torch.no_grad()
    def class_similarity(self) -> Tensor:
        """(C, C) cosines of the classes' own gates, a map of which classes are alike; needs a
        gate.
        """
        assert self.gate is not None, "there is no gate"
        classes = torch.arange(len(self.spec.classes), device=self.probe.weight.device)
        own = self.gate(classes, classes)
        return cosine_similarity(own[:, None], own, dim=2)
