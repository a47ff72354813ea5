"""GenView: one view shows a generated variation of the sample, and pairs count by how good they
are.

One view's source is a variation of the image, the noisier the more foreground the image has, and
each sample's loss in the host (SimSiam, MoCo v3 ...) is weighted: up where the views agree in the
foreground, down where they agree in the background.

    a = tokens . axis;  f = a scaled to [0, 1], b = 1 - f, each over its sum;  F, B = sums of tokens
    weighted by f and b
    loss = mean_i w_i host_i,   w_i = N softmax_i( gamma (cos(F1, F2) - cos(B1, B2)) )
Generator and token encoder are a small autoencoder fitted before the first epoch; ``generator`` may
be set to any other ``Generator``.
Source: Li et al. 2024, arXiv 2403.12003, equations 3 to 9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from nearfar.losses.instance.view_quality import noise_level, pair_quality, weights_of
from nearfar.methods import registry
from nearfar.methods.hosted._per_sample import weighted
from nearfar.methods.method import (
    Batch,
    Encoder,
    Facets,
    Method,
    Outputs,
    Paper,
    Recipe,
    Spec,
    TrainingSet,
)
from nearfar.networks.foreground import Foreground
from nearfar.networks.generator import Generator, VariationalGenerator
from nearfar.ranges import at_least, unit_interval, whole_number
from nearfar.rows.levels import to_unit
from nearfar.views.draws import rand
from nearfar.views.samples import denormalise


class GenView(Method):
    """A host's views, one of them of a generated image; the host's network, head and target; its
    loss weighted by pair quality.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of GenView.

        Attributes:
            host: "simsiam", "moco-v3", "moco-v2", "simclr", "byol" or "swav" (its two whole crops).
            host_recipe: "paper" or "small", whose settings the host has.
            share: probability that a sample has a generated view at all.
            sharpness: gamma of the weights; 0: all pairs count the same.
            generator_steps: of training the generator, on batches of 128.
            latent: dimensions of the generator.
        """

        host: Literal["simsiam", "moco-v3", "moco-v2", "simclr", "byol", "swav"] = "simsiam"
        host_recipe: Literal["paper", "small"] = "paper"
        share: Annotated[float, unit_interval()] = 1.0
        sharpness: Annotated[float, at_least(0)] = 1.0
        generator_steps: Annotated[int, whole_number()] = 1000
        latent: Annotated[int, whole_number()] = 64

    paper = Paper(
        title="GenView: Enhancing View Quality with Pretrained Generative Model for "
        "Self-Supervised "
        "Learning",
        authors="Li, Yang, Li, Wu, Yu, Ghanem, Zhang",
        year=2024,
        arxiv="2403.12003",
        departures=(
            "An autoencoder fitted to the run's images makes variations (anew at each step, by "
            "noise on its latent) and tokens (less their"
            " mean, because they have much in common), not Stable unCLIP (once for each image) and "
            "CLIP.",
            "Foreground begins at 0.65 of the tokens' histogram, as in the authors' code; the "
            "paper takes 40 % of them.",
            "Weights have mean 1 over the batch of all processes, the authors' over each "
            "process's.",
        ),
    )
    facets = Facets("contrastive.in_batch")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="sgd",
            learning_rate=0.05,
            weight_decay=1e-4,
            batch_size=256,
            epochs=200,
            warmup=0.0,
        ),
        "small": Recipe(settings={"host_recipe": "small", "generator_steps": 300}),
    }
    modalities = ("image",)
    by_row = True
    generator: Generator | None = None
    choices = {
        "views": "the host's, one of a generated variation",
        "encoder": "the host's, and a frozen one for foreground",
        "head": "the host's",
        "target": "the host's",
        "loss": "the host's, each pair weighted by its quality",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        kind = registry.get(s.host)
        crops: dict[str, Any] = {"local": 0} if s.host == "swav" else {}
        self.host = kind(
            encoder, spec, kind.Settings(**{**kind.recipes[s.host_recipe].settings, **crops})
        )
        self.autoencoder = VariationalGenerator(spec.shape, latent=s.latent).requires_grad_(False)
        self.foreground = Foreground(self.autoencoder.map_dimension)

    def before_epoch(self, epoch: int, training_set: TrainingSet) -> None:
        super().before_epoch(epoch, training_set)
        if epoch == 0:
            s = self.settings
            count = len(training_set)
            seed = training_set.seed
            self.autoencoder.fit(
                lambda g: training_set.take(torch.randint(count, (128,), generator=g)),
                s.generator_steps,
                seed=seed,
            )
            looked_at = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:1024]
            self.foreground.fit(
                self.autoencoder.map(
                    to_unit(training_set.take(looked_at)).to(self.autoencoder.centre)
                )
            )

    def view_sources(self, samples: Any, index: Tensor, generator: torch.Generator) -> list[Any]:
        level = noise_level(self.foreground.share(self._tokens(to_unit(samples))))
        made = (self.generator or self.autoencoder).generate(samples, level, generator)
        draws = rand((len(samples),), generator).to(samples.device)[:, None, None, None]
        share = self.settings.share  # one half of it for each view
        return [
            torch.where(draws < share / 2, made, samples),
            torch.where(draws > 1 - share / 2, made, samples),
        ]

    def forward(self, batch: Batch) -> Outputs:
        first, second = (
            self._tokens(denormalise(view, self.spec).clamp(0, 1)) for view in batch.views
        )
        return {"quality": pair_quality(first, second, self.foreground.axis), **self.host(batch)}

    @torch.no_grad()
    def _tokens(self, images: Tensor) -> Tensor:
        """(N, L, K) from images in [0, 1]."""
        return self.foreground.tokens(self.autoencoder.map(images.to(self.autoencoder.centre)))

    def loss(self, outputs: Outputs, rows: slice | None = None) -> dict[str, Tensor]:
        weight = weights_of(outputs["quality"], sharpness=self.settings.sharpness)
        pairs = {name: value for name, value in outputs.items() if name != "quality"}
        return {
            self.settings.host.replace("-", "_"): weighted(
                self.settings.host, self.host, pairs, weight, rows
            )
        }

    def parameter_groups(self) -> list[dict[str, Any]]:
        return self.host.parameter_groups()
