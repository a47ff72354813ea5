"""STORM: a small network learns, on the way, how much the loss of each sample should count, so that
wrong labels count little.

A rescaler sees nine numbers of a sample's losses and probabilities, never the sample. It is moved
by the rescaled loss of held samples, of the same noisy data, *after* a step of the model on the
rescaled losses of others. Then the model takes that step.

    theta'(w) = theta - r grad_theta mean_i s_i(w) l_i(theta)
    rescaler: mean_j s_j(w) l_j(theta'(w)) by w      model: mean_i s_i l_i(theta) by theta
    s = sigmoid(MLP_w(f)) over its mean in the batch
Source: "Learning from Noisy Labels via Self-Taught On-the-Fly Meta Loss Rescaling", 2024.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, linear, softmax

from nearfar.losses.labels.weights import inner_step, relative_scales, trust_features
from nearfar.methods.method import (
    Batch,
    Encoder,
    Facets,
    Method,
    Outputs,
    Paper,
    Phase,
    Recipe,
    Spec,
    Streams,
    WantedViews,
    total,
)
from nearfar.ranges import above, unit_interval, whole_number
from nearfar.results.classes import Classes
from nearfar.views.draws import rand

_FEATURES = 9


class STORM(Method):
    """One lightly cropped view, an encoder and a classifier with dropout, noisy labels, rescaled
    cross-entropy with a rescaler that is learned one step ahead.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of STORM.

        Attributes:
            passes: passes with dropout, from which the rescaler's features are made.
            hidden: width of the rescaler.
            inner_rate: r, the length of the step ahead.
            dropout: share of the classifier's inputs that is dropped, in (0, 1).
            applied: whether the model's losses are rescaled; without, the rescaler learns but only
                watches, which is the paper's baseline.
        """

        passes: Annotated[int, whole_number()] = 3
        hidden: Annotated[int, whole_number()] = 16
        inner_rate: Annotated[float, above(0)] = 0.1
        dropout: Annotated[float, unit_interval(zero=False, one=False)] = 0.2
        applied: bool = True

    paper = Paper(
        title="Learning from Noisy Labels via Self-Taught On-the-Fly Meta Loss Rescaling",
        authors="Heck, Geishauser, Lubis, van Niekerk, Feng, Lin, Ruppik, Vukovic, Gašić",
        year=2024,
        arxiv="2412.12955",
        departures=(
            "Of the rescaler's inputs the paper names losses and probabilities only; the nine "
            "numbers are chosen here.",
            "Scales are divided by their mean in the batch; without that all of them fall to 0.",
            "Dropout is before the classifier only, so that one pass of the encoder serves all "
            "passes with dropout.",
        ),
    )
    facets = Facets("predictive.labels", target="pair-label", guard="none", labels="some")
    recipes = {
        name: Recipe(
            optimizer="sgd",
            learning_rate=0.1,
            schedule="constant",
            scale=False,
            weight_decay=1e-4,
            batch_size=128,
            epochs=60,
            warmup=0.0,
        )
        for name in ("paper", "small")
    }
    needs_labels = True
    label_kind = "class"
    predicts = Classes
    by_row = True
    choices = {
        "views": "one lightly cropped view",
        "encoder": "one",
        "head": "linear classifier behind dropout, a rescaler of losses",
        "target": "labels of which some are wrong",
        "loss": "rescaled cross-entropy",
    }
    cannot = {
        "shard": "its step ahead needs whole parameters",
        "cache": "it differentiates inside the forward pass",
        "accumulate": "it differentiates inside the forward pass",
    }
    wanted_views = WantedViews(whole=1, style="crop", whole_scale=(0.8, 1.0))
    wanted_batches = Streams(sizes=(1, 1))

    waits = "Two streams of the batch are taken apart by their rows."

    waits = "Two streams of the batch are taken apart by their rows."

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        self.classifier = nn.Linear(encoder.dimension, len(spec.classes))
        last = nn.Linear(s.hidden, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.rescaler = nn.Sequential(nn.Linear(_FEATURES, s.hidden), nn.Tanh(), last)
        self._moved = [
            name
            for name, parameter in self.named_parameters()
            if parameter.requires_grad and not name.startswith("rescaler.")
        ]

    def phases(self) -> list[Phase]:
        ahead = {"optimizer": "adam", "learning_rate": 1e-3, "scale": False, "weight_decay": 0.0}
        model = tuple(self.get_parameter(name) for name in self._moved)
        return [
            Phase("rescaler", tuple(self.rescaler.parameters()), "ahead", "outer", recipe=ahead),
            Phase("model", model),
        ]

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw which inputs of the classifier stay, for each pass and for the step itself."""
        s = self.settings
        drawn = rand((len(batch), s.passes + 1, self.encoder.dimension), generator)
        batch.extra["kept"] = (drawn >= s.dropout).to(batch.index.device)
        return batch

    def ahead(self, batch: Batch) -> Outputs:
        """The scales of held samples, and their losses after a step on the rescaled losses of the
        others; the rescaler's gradient comes through both.
        """
        learn, held = batch.stream(0), batch.stream(1)
        theta = {name: self.get_parameter(name).detach().requires_grad_() for name in self._moved}
        features = self._features(theta, learn)
        weighted = self._scales(features, learn) * self._losses(theta, features, learn)
        count = total(torch.ones_like(weighted).sum())
        moved = _step_of_all(weighted.sum() / count, theta, self.settings.inner_rate)
        with torch.no_grad():
            before = self._features(theta, held)
        losses = self._losses(moved, self._features(moved, held), held)
        return {"held_scale": self._scales(before, held), "held_loss": losses}

    def outer(self, outputs: Outputs) -> dict[str, Tensor]:
        return {"outer": (outputs["held_scale"] * outputs["held_loss"]).mean()}

    def forward(self, batch: Batch) -> Outputs:
        learn = batch.stream(0)
        features = self.encoder(learn.views[0])
        theta = dict(self.classifier.named_parameters(prefix="classifier"))
        scale = self._scales(features, learn).detach()
        return {"scale": scale, "loss": self._losses(theta, features, learn)}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        scale = outputs["scale"]
        used = scale if self.settings.applied else torch.ones_like(scale)
        spread = scale.std(correction=0)
        return {"inner": (used * outputs["loss"]).mean(), "scale_deviation": spread}

    def _features(self, theta: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """The encoder's features with these parameters; running statistics stay as they are."""
        own = {
            name.removeprefix("encoder."): value
            for name, value in theta.items()
            if name.startswith("encoder.")
        }
        buffers = {name: value.clone() for name, value in self.encoder.named_buffers()}
        found: Tensor = functional_call(self.encoder, {**own, **buffers}, (batch.views[0],))
        return found

    def _logits(self, theta: Mapping[str, Tensor], features: Tensor, kept: Tensor) -> Tensor:
        thinned = features * kept / (1 - self.settings.dropout)
        return linear(thinned, theta["classifier.weight"], theta["classifier.bias"])

    def _losses(self, theta: Mapping[str, Tensor], features: Tensor, batch: Batch) -> Tensor:
        logits = self._logits(theta, features, batch.extra["kept"][:, -1])
        assert batch.label is not None
        return cross_entropy(logits, batch.label, reduction="none")

    def _scales(self, features: Tensor, batch: Batch) -> Tensor:
        """(N,) of mean 1 over the samples of all processes; the gradient is the rescaler's."""
        seen = self._seen(features, batch.label, batch.extra["kept"][:, :-1])
        return relative_scales(self.rescaler(seen)[:, 0], total)

    @torch.no_grad()
    def _seen(self, features: Tensor, label: Tensor | None, kept: Tensor) -> Tensor:
        """(N, 9), what the rescaler sees of samples."""
        assert label is not None
        theta = dict(self.classifier.named_parameters(prefix="classifier"))
        passes = [self._logits(theta, features, one) for one in kept.unbind(1)]
        return trust_features(torch.stack(passes), label, total)

    @torch.no_grad()
    def predict(self, x: Any) -> Classes:
        return Classes(softmax(self.classifier(self.encode(x)), dim=1), self.spec.classes)

    @torch.no_grad()
    def trust(self, x: Any, label: Tensor) -> Tensor:
        """The rescaler's scales before they are divided by their mean; the same inputs of the
        classifier are dropped for all samples.
        """
        s = self.settings
        features = self.encode(x)
        generator = torch.Generator().manual_seed(0)
        kept = torch.rand(1, s.passes, features.shape[1], generator=generator) >= s.dropout
        seen = self._seen(features, label, kept.to(features.device))
        return torch.sigmoid(self.rescaler(seen)[:, 0])


def _step_of_all(loss: Tensor, theta: Mapping[str, Tensor], rate: float) -> dict[str, Tensor]:
    """``inner_step`` for a loss that is this process's share of the whole batch's."""
    moved = inner_step(loss, theta, learning_rate=1.0)
    return {name: value - rate * total(value - moved[name]) for name, value in theta.items()}
