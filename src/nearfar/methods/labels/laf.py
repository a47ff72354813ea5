"""LAF: a finished classifier forgets some of its training samples, and no label is needed for it.

One small autoencoder knows the embeddings of all training samples, another those that are to be
forgotten. The encoder moves so that remaining samples still fit the first and forgotten ones no
longer fit the second. A second optimiser moves the same weights back: remaining embeddings towards
those of the encoder as it was, forgotten ones away from theirs. The classifier's head stays.

    S(e, e') = sum_i exp(l_i / (l_i + 1)),  l_i = |e'_i - e_i|^2
    unlearning = S(e_r, h(e_r)) - S(e_f, h_f(e_f))
    alignment = sum_{x in r} [ d(x) - log sum_{x' in f} exp(d(x') / tau) ]
    d(x) = 1 - cos(f(x), f0(x)),  f0 the encoder as it was
Source: Shen et al. 2024, arXiv 2404.00506, equations 7 to 9.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from nearfar.losses.labels.forgetting import extractor_unlearning, representation_alignment
from nearfar.methods.labels.classifier import Classifier
from nearfar.methods.method import (
    Batch,
    Encoder,
    Facets,
    Method,
    Outputs,
    Paper,
    Phase,
    Pretrained,
    Recipe,
    Spec,
    Streams,
    TrainingSet,
    WantedViews,
)
from nearfar.networks.labels.embedding_vae import EmbeddingVAE, fit_embedding_vae
from nearfar.ranges import above, at_least, whole_number
from nearfar.results.classes import Classes
from nearfar.views.draws import randn

ROLES = ("remember", "forget")


class LAF(Method):
    """The sample as it is, a finished classifier's encoder, two autoencoders of embeddings and the
    encoder as it was, no labels, unlearning and alignment by turns.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of LAF.

        Attributes:
            temperature: tau, of the distances of forgotten samples.
            code: dimensions of the autoencoders' code.
            output: last layer of their decoders; the authors' is the sigmoid.
            fitting: epochs in which they are fitted.
            fitting_rate: learning rate of that.
            divergence: weight of the code's distance from a standard normal.
            align: whether embeddings are aligned with the encoder as it was.
            align_rate: learning rate of the alignment over that of the unlearning.
        """

        temperature: Annotated[float, above(0)] = 20.0
        code: Annotated[int, whole_number()] = 8
        output: Literal["sigmoid", "linear"] = "sigmoid"
        fitting: Annotated[int, whole_number(1, 10_000)] = 10
        fitting_rate: Annotated[float, above(0)] = 1e-3
        divergence: Annotated[float, at_least(0)] = 0.025
        align: bool = True
        align_rate: Annotated[float, above(0)] = 2.0

    paper = Paper(
        title="Label-Agnostic Forgetting: A Supervision-Free Unlearning in Deep Models",
        authors="Shen, Zhang, Zhao, Bialkowski, Chen, Xu",
        year=2024,
        arxiv="2404.00506",
        departures=(
            "An epoch lets the remaining samples pass once; the authors' ends with those to be "
            "forgotten.",
            "The embedding is the encoder's output, the head one linear layer; the authors put a "
            "linear layer between.",
            "The repair of the head with a few labels (LAF+R) is left out.",
        ),
    )
    facets = Facets("training_process.data_curation", teacher="frozen", guard="none")
    recipes = {
        "paper": Recipe(
            optimizer="adam",
            learning_rate=5e-5,
            schedule="constant",
            scale=False,
            weight_decay=0.0,
            batch_size=64,
            epochs=20,
            warmup=0.0,
        ),
        "small": Recipe(
            optimizer="adam",
            learning_rate=5e-4,
            schedule="constant",
            scale=False,
            weight_decay=0.0,
            batch_size=64,
            epochs=6,
            warmup=0.0,
        ),
    }
    predicts = Classes
    by_row = True
    pretrained = {"classifier": Pretrained(kinds=("classifier",), shares=True)}
    needs_groups = {"role": ROLES}
    prepared = "forget"
    choices = {
        "views": "the sample as it is",
        "encoder": "a finished classifier's",
        "head": "the classifier's, which stays; two autoencoders of embeddings",
        "target": "the embeddings of the encoder as it was",
        "loss": "unlearning and alignment, by turns",
    }
    wanted_views = WantedViews(whole=1, style="plain")
    wanted_batches = Streams(sizes=(1, 1), by="role")

    waits = "Two streams of the batch are taken apart by their rows."

    def __init__(
        self,
        encoder: Encoder,
        spec: Spec,
        settings: Settings | None = None,
        *,
        classifier: Classifier,
    ) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        learning = [one for one in encoder.parameters() if one.requires_grad]
        self.classifier = classifier.requires_grad_(False)
        self.teacher = copy.deepcopy(encoder)
        for parameter in learning:
            parameter.requires_grad_(True)
        width = encoder.dimension
        self.of_all = EmbeddingVAE(width, s.code, output=s.output).requires_grad_(False)
        self.of_forgotten = EmbeddingVAE(width, s.code, output=s.output).requires_grad_(False)

    def train(self, mode: bool = True) -> LAF:
        """Batch norms keep the statistics that they have."""
        super().train(mode)
        for part in (self.encoder, self.teacher, self.classifier):
            part.eval()
        return self

    def phases(self) -> list[Phase]:
        moved = tuple(one for one in self.encoder.parameters() if one.requires_grad)
        unlearning = Phase("unlearning", moved)
        rate = self.settings.align_rate
        alignment = Phase("alignment", moved, "realigned", "alignment", rate=rate)
        return [unlearning, alignment] if self.settings.align else [unlearning]

    def before_epoch(self, epoch: int, training_set: TrainingSet) -> None:
        """Fit both autoencoders before the first step."""
        if epoch:
            return
        s = self.settings
        features = training_set.features(self.encode)
        forgotten = training_set.group["role"].to(features.device) == ROLES.index("forget")
        for place, (vae, rows) in enumerate(
            ((self.of_all, features), (self.of_forgotten, features[forgotten]))
        ):
            fit_embedding_vae(
                vae,
                rows,
                epochs=s.fitting,
                learning_rate=s.fitting_rate,
                weight=s.divergence,
                generator=torch.Generator().manual_seed(training_set.seed + place),
            )

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw the noise of the codes."""
        noise = randn((len(batch), self.settings.code), generator)
        batch.extra["code"] = noise.to(batch.index.device)
        return batch

    def forward(self, batch: Batch) -> Outputs:
        found: Outputs = {}
        for number, vae in enumerate((self.of_all, self.of_forgotten)):
            part = batch.stream(number)
            features = self.encoder(part.views[0])
            found[ROLES[number]] = features
            noise = part.extra["code"].to(features.dtype)
            found[f"{ROLES[number]}_prediction"] = vae(features, noise).prediction
        return found

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        names = ("remember", "remember_prediction", "forget", "forget_prediction")
        return {"unlearn": extractor_unlearning(*(outputs[name] for name in names))}

    def realigned(self, batch: Batch) -> Outputs:
        """Embeddings of both roles, and those of the encoder as it was."""
        found: Outputs = {}
        for number, role in enumerate(ROLES):
            x = batch.stream(number).views[0]
            found[f"{role}_again"] = self.encoder(x)
            with torch.no_grad():
                found[f"{role}_teacher"] = self.teacher(x)
        return found

    def alignment(self, outputs: Outputs) -> dict[str, Tensor]:
        names = ("remember_again", "remember_teacher", "forget_again", "forget_teacher")
        temperature = self.settings.temperature
        features = (outputs[name] for name in names)
        return {"align": representation_alignment(*features, temperature=temperature)}

    @torch.no_grad()
    def predict(self, x: Any) -> Classes:
        return self.classifier.classes_of(self.encode(x))

    @torch.no_grad()
    def origin(self, x: Any) -> Classes:
        return self.classifier.classes_of(self.teacher(x))
