"""SRResNet: enlarge an image by residual blocks and pixel shuffle, as near to the truth as squared
error asks.

A small image passes through residual blocks at its own size, and is enlarged at the very end, so
that nearly all of the work is done on few pixels. Where several large images fit a small one, their
mean has the least squared error: the results are faithful on average and soft.

    loss = mean (G(y) - x)^2
Source: Ledig et al. 2017, sections 2.1 and 3.2, equation 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor

from nearfar.methods.facets import Facets
from nearfar.methods.method import Batch, Method, Outputs, Paper, Recipe, Spec
from nearfar.methods.restoration._pairs import expect_enlargeable
from nearfar.networks.restorers.restorer import Restorer
from nearfar.ranges import whole_number
from nearfar.results.restored import Restored
from nearfar.rows import Parts
from nearfar.views.image.aligned import Aligned


class SRResNet(Method):
    """Aligned crops of a small and a large image, a residual network, pixel shuffle, the large
    image, squared error.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of SRResNet.

        Attributes:
            crop: side of the crops of the large image, in pixels; smaller images are taken whole.
            turns: whether crops are mirrored and turned at random.
            distance: "squared" error, or "absolute" error (EDSR).
        """

        crop: Annotated[int, whole_number(1, 1 << 16)] = 96
        turns: bool = True
        distance: Literal["squared", "absolute"] = "squared"

    paper = Paper(
        title="Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial "
        "Network",
        authors="Ledig, Theis, Huszár, Caballero, Cunningham, Acosta, Aitken, Tejani, Totz, Wang, "
        "Shi",
        year=2017,
        arxiv="1609.04802",
        departures=(
            "Large images are in [0, 1] like small ones; the paper takes them to [-1, 1], which "
            "scales the loss by 4.",
            "Crops are mirrored and turned, as the networks that followed do.",
        ),
    )
    facets = Facets("generative", target="pixels", guard="reconstruction", labels="pairs")
    recipes = {
        "paper": Recipe(
            optimizer="adam:beta1=0.9,beta2=0.999",
            learning_rate=1e-4,
            scale=False,
            schedule="constant",
            weight_decay=0.0,
            batch_size=16,
            epochs=200,
            warmup=0.0,
        ),
        "small": Recipe(
            settings={"crop": 48},
            optimizer="adam:beta1=0.9,beta2=0.999",
            learning_rate=2e-3,
            scale=False,
            weight_decay=0.0,
            batch_size=16,
            epochs=200,
        ),
    }
    modalities = ("image+image",)
    learns_from = {"degraded": "image", "clean": "image"}
    prepared = "degrade:bicubic,factor=4"
    encoder_kind = "restorer"
    encoder: Restorer
    predicts = Restored
    choices = {
        "views": "one crop of both images",
        "encoder": "residual blocks at the small size",
        "head": "pixel shuffle",
        "target": "the large image",
        "loss": "squared error",
    }

    def __init__(self, encoder: Restorer, spec: Spec, settings: Settings | None = None) -> None:
        expect_enlargeable(encoder, spec)
        super().__init__(encoder, spec, settings)

    @property
    def wanted_views(self) -> Aligned:
        return Aligned(self.settings.crop, turns=self.settings.turns)

    def forward(self, batch: Batch) -> Outputs:
        (pair,) = batch.views
        difference = self.encoder.restore(pair.degraded) - pair.clean
        squared = self.settings.distance == "squared"
        error = difference.square() if squared else difference.abs()
        return {"error": error.flatten(1).mean(1)}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        return {self.settings.distance: outputs["error"].mean()}

    def predict(self, x: Parts | Tensor) -> Restored:
        """Enlarged images (N, C, factor H, factor W)."""
        return Restored(self.encoder.restore(x).clamp(0, 1))
