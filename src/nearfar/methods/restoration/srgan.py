"""SRGAN: enlarge an image so that a critic takes it for a real one, and a content distance holds it
to the truth.

The network that enlarges starts as ``srresnet``, which was trained on squared error. The critic
then learns to tell its images from real ones; the network learns to deceive the critic, and keeps
the content. Its images have the texture of real ones, and a larger squared error.

    critic:    mean -log D(x) + mean -log(1 - D(G(y)))
    generator: content(G(y), x) + w mean -log D(G(y))
Source: Ledig et al. 2017, equations 2 to 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from nearfar.losses.restoration import adversarial
from nearfar.losses.restoration.features import FeatureDistance
from nearfar.methods.facets import Facets
from nearfar.methods.method import (
    Batch,
    Encoder,
    Method,
    Outputs,
    Paper,
    Phase,
    Pretrained,
    Recipe,
    Spec,
)
from nearfar.methods.restoration._pairs import expect_enlargeable, expect_maps
from nearfar.networks.restorers.critic import PatchCritic
from nearfar.networks.restorers.restorer import Restorer
from nearfar.ranges import at_least, whole_number
from nearfar.results.restored import Restored
from nearfar.rows import Parts
from nearfar.views.image.aligned import Aligned

_HIDDEN = 16
"""Units of the critic's dense layer for each channel of its first convolution: 1024 of 64."""


class SRGAN(Method):
    """Aligned crops of a small and a large image, a residual network, a convolutional critic, the
    large image, content and adversary.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of SRGAN.

        Attributes:
            adversarial: w, how much it counts to deceive the critic.
            critic: channels of the critic's first convolution.
            crop: side of the crops of the large image, in pixels; smaller images are taken whole.
            turns: whether crops are mirrored and turned at random.
        """

        adversarial: Annotated[float, at_least(0)] = 1e-3
        critic: Annotated[int, whole_number(1, 1 << 10)] = 64
        crop: Annotated[int, whole_number(1, 1 << 16)] = 96
        turns: bool = True

    paper = Paper(
        title="Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial "
        "Network",
        authors="Ledig, Theis, Huszár, Caballero, Cunningham, Acosta, Aitken, Tejani, Totz, Wang, "
        "Shi",
        year=2017,
        arxiv="1609.04802",
        departures=(
            "The adversarial term is a mean over the batch; the paper's equation sums it.",
            "The content is squared error of pixels, the paper's SRGAN-MSE, unless --start-from "
            "features=RUN names a run, whose encoder's last map is then compared; VGG-19's weights "
            "are not among ours.",
            "Large images are in [0, 1] like small ones; the paper takes them to [-1, 1], which "
            "scales the content by 4.",
            "Crops are mirrored and turned, as the networks that followed do.",
        ),
    )
    facets = Facets(
        "generative.adversarial_or_diffusion",
        target="pixels",
        guard="reconstruction",
        labels="pairs",
    )
    recipes = {
        "paper": Recipe(
            optimizer="adam:beta1=0.9,beta2=0.999",
            learning_rate=1e-4,
            scale=False,
            schedule="steps:milestones=0.5",
            weight_decay=0.0,
            batch_size=16,
            epochs=40,
            warmup=0.0,
        ),
        "small": Recipe(
            settings={"critic": 16, "crop": 48},
            optimizer="adam:beta1=0.9,beta2=0.999",
            learning_rate=5e-4,
            scale=False,
            weight_decay=0.0,
            batch_size=16,
            epochs=200,
        ),
    }
    modalities = ("image+image",)
    learns_from = {"degraded": "image", "clean": "image"}
    prepared = "degrade:bicubic,factor=4"
    pretrained = {
        "srresnet": Pretrained(kinds=("srresnet",), gives="encoder", shares=True),
        "features": Pretrained(gives="encoder", needed=False),
    }
    encoder_kind = "restorer"
    encoder: Restorer
    predicts = Restored
    choices = {
        "views": "one crop of both images",
        "encoder": "residual blocks at the small size, from srresnet",
        "head": "pixel shuffle, and a critic",
        "target": "the large image",
        "loss": "content, and deceiving the critic",
    }

    def __init__(
        self,
        encoder: Restorer,
        spec: Spec,
        settings: Settings | None = None,
        *,
        features: Encoder | None = None,
    ) -> None:
        expect_enlargeable(encoder, spec)
        super().__init__(encoder, spec, settings)
        width = self.settings.critic
        self.critic = PatchCritic(
            spec.parts["clean"].shape[0],
            width,
            form="dense",
            side=self.wanted_views.side(spec),
            hidden=_HIDDEN * width,
        )
        self.features = features
        if features is not None:
            seen: Spec = features.architecture["spec"]  # type: ignore[assignment, index]
            expect_maps(features, seen, spec.parts["clean"], self.wanted_views.side(spec))
            features.requires_grad_(False)
            self.content = FeatureDistance(self._maps, mean=seen.mean, deviation=seen.std)

    def train(self, mode: bool = True) -> SRGAN:
        """The encoder whose features are compared stays in evaluation mode."""
        super().train(mode)
        if self.features is not None:
            self.features.eval()
        return self

    @property
    def wanted_views(self) -> Aligned:
        return Aligned(self.settings.crop, turns=self.settings.turns)

    def phases(self) -> list[Phase]:
        """The critic moves first, then the network that enlarges; each has its own optimiser."""
        return [
            Phase("critic", tuple(self.critic.parameters()), "judge", "critic_loss"),
            Phase("generator", tuple(self.encoder.parameters()), "enlarge", "generator_loss"),
        ]

    def judge(self, batch: Batch) -> Outputs:
        """The critic's logits of real images and of made ones, (N, 1) each."""
        (pair,) = batch.views
        with torch.no_grad():
            made = self.encoder.restore(pair.degraded)
        return {"real": self.critic(pair.clean), "made": self.critic(made)}

    def critic_loss(self, outputs: Outputs) -> dict[str, Tensor]:
        """Real images are told from made ones."""
        return {"critic": adversarial.critic(outputs["real"], outputs["made"], kind="bce")}

    def enlarge(self, batch: Batch) -> Outputs:
        """The content distance of each made image, (N,), and the critic's logits, (N, 1)."""
        (pair,) = batch.views
        made = self.encoder.restore(pair.degraded)
        return {"distance": self._distance(made, pair.clean), "deceived": self.critic(made)}

    def generator_loss(self, outputs: Outputs) -> dict[str, Tensor]:
        """Content, and made images that are taken for real ones."""
        deceived = adversarial.generator(outputs["deceived"], kind="bce")
        return {
            "content": outputs["distance"].mean(),
            "adversarial": self.settings.adversarial * deceived,
        }

    def predict(self, x: Parts | Tensor) -> Restored:
        """Enlarged images (N, C, factor H, factor W)."""
        return Restored(self.encoder.restore(x).clamp(0, 1))

    def _distance(self, made: Tensor, clean: Tensor) -> Tensor:
        if self.features is None:
            return (made - clean).square().flatten(1).mean(1)
        distance: Tensor = self.content(made, clean)
        return distance

    def _maps(self, images: Tensor) -> list[Tensor]:
        assert self.features is not None
        return [self.features.feature_map(images)]
