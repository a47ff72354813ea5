"""PixPro: a pixel of a feature map agrees with the momentum copy's pixel that shows the same place
in another crop.

BYOL on pixels: crops carry their boxes, and pixels whose centres lie close in the image are
positive. The online map is smoothed by its own similarities first, which does the predictor's work.
PixContrast leaves that out and repels the other pixels instead.

    loss = - 2 mean_n mean_pos cos(y1_i, k2_j) - 2 mean_n mean_pos cos(y2_i, k1_j),
      y_i = sum_j max(cos(x_i, x_j), 0)^2 g(x_j)
    PixContrast:  - mean_i log( sum_pos exp(cos / tau) / sum_all exp(cos / tau) ), both ways
The copy moves before each step's target is taken. ``after_step`` does that for the next step, with
its momentum; at the first the copy equals the online network, so that nothing is missed.
Source: Xie et al. 2021, arXiv 2011.10043, equations 1 to 6 and section 3.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor, nn
from torch.nn.functional import normalize

from nearfar.losses.dense.pixels import pixcontrast, pixel_pairs, pixpro
from nearfar.losses.distillation.distillation import byol
from nearfar.methods.method import (
    Batch,
    Encoder,
    Facets,
    Method,
    Outputs,
    Paper,
    Recipe,
    Spec,
    WantedViews,
)
from nearfar.networks.pixels import PixelPropagation, ProjectedMaps, pixel_mlp
from nearfar.ranges import above, at_least, unit_interval, whole_number
from nearfar.targets.momentum import MomentumEncoder, cosine_momentum


class PixPro(Method):
    """Two crops with boxes, encoder and momentum copy, pixel projector and propagation, the copy's
    pixels at the same place.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of PixPro.

        Attributes:
            form: "pixpro" (consistency) or "pixcontrast" (contrast with the other pixels of the
                same image).
            instance: weight of BYOL on the averaged map beside the pixels, with heads of its own;
                0: without.
            ratio: largest distance of two pixel centres that are one place, in units of the larger
                pixel's diagonal.
            sharpness: exponent of the similarities in the propagation.
            layers: of the transformation of what is propagated, 0 to 2.
            temperature: of PixContrast.
            momentum: share of the copy that stays at the first step; rises to 1 along a cosine.
            hidden: width of the heads' hidden layer.
            projection: dimensions in which pixels are compared.
        """

        form: Literal["pixpro", "pixcontrast"] = "pixpro"
        instance: Annotated[float, at_least(0)] = 0.0
        ratio: Annotated[float, at_least(0)] = 0.7
        sharpness: Annotated[float, at_least(0)] = 2.0
        layers: Annotated[int, whole_number(0, 2)] = 1
        temperature: Annotated[float, above(0)] = 0.3
        momentum: Annotated[float, unit_interval()] = 0.99
        hidden: Annotated[int, whole_number()] = 4096
        projection: Annotated[int, whole_number()] = 256

    paper = Paper(
        title="Propagate Yourself: Exploring Pixel-Level Consistency for Unsupervised Visual "
        "Representation Learning",
        authors="Xie, Lin, Zhang, Cao, Lin, Hu",
        year=2021,
        arxiv="2011.10043",
        departures=(
            "What is propagated is normalised before the sum, as in the authors' code; the paper "
            "does not say so.",
            "The copy is updated after each step for the next one, which gives the same numbers as "
            "before the step's targets.",
            "The instance term is the squared distance of unit vectors, the authors' larger by 4.",
        ),
    )
    facets = Facets(
        "contrastive.dense", level="region", teacher="ema", guard="stop-gradient+predictor"
    )
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="lars",
            learning_rate=1.0,
            weight_decay=1e-5,
            batch_size=1024,
            epochs=100,
            warmup=0.05,
        ),
        "small": Recipe(settings={"hidden": 256, "projection": 64}),
    }
    modalities = ("image",)
    wanted_views = WantedViews(style="asymmetric", boxes=True)
    choices = {
        "views": "two strong crops, unequal, with their boxes",
        "encoder": "one with a feature map, and a momentum copy",
        "head": "projector on each pixel, and propagation between pixels",
        "target": "the copy's pixels at the same place",
        "loss": "negative cosine (or InfoNCE within the image)",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        sizes = (encoder.map_dimension, s.hidden, s.projection)
        self.projectors = nn.ModuleList([pixel_mlp(sizes) for _ in range(2 if s.instance else 1)])
        self.propagation = (
            PixelPropagation(s.projection, layers=s.layers, sharpness=s.sharpness)
            if s.form == "pixpro"
            else nn.Identity()
        )
        self.predictor = pixel_mlp((s.projection, s.hidden, s.projection)) if s.instance else None
        self.target = MomentumEncoder(ProjectedMaps(encoder, self.projectors))

    def forward(self, batch: Batch) -> Outputs:
        views = batch.views
        boxes = batch.extra["boxes"]
        online = [ProjectedMaps(self.encoder, self.projectors)(view) for view in views]
        target = [self.target(view) for view in views]
        pairs = pixel_pairs(
            boxes[:, 0], boxes[:, 1], *online[0][0].shape[2:], ratio=self.settings.ratio
        )
        query1, query2 = (normalize(self.propagation(maps[0]), dim=1) for maps in online)
        key1, key2 = (normalize(maps[0], dim=1) for maps in target)
        outputs = self._pixels(query1, key2, pairs, "1") | self._pixels(query2, key1, pairs.mT, "2")
        if self.predictor is not None:
            pooled = [self.predictor(maps[1]).mean((2, 3)) for maps in online] + [
                maps[1].mean((2, 3)) for maps in target
            ]
            outputs["instance"] = byol(*pooled, reduction="none")
        return outputs

    def _pixels(self, query: Tensor, key: Tensor, pairs: Tensor, name: str) -> Outputs:
        """One direction, summed for each image, so that processes need not join maps."""
        if self.settings.form == "pixpro":
            value = pixpro(query, key, pairs, reduction="none")
            return {f"sum{name}": value, f"count{name}": value.new_ones(len(value))}
        value = pixcontrast(
            query, key, pairs, temperature=self.settings.temperature, reduction="none"
        ).sum(1)
        return {f"sum{name}": value, f"count{name}": pairs.any(2).sum(1).to(value)}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        ways = [
            outputs[f"sum{way}"].sum() / outputs[f"count{way}"].sum().clamp(min=1)
            for way in ("1", "2")
        ]
        terms = {self.settings.form: ways[0] + ways[1]}
        return (
            terms
            if self.predictor is None
            else terms | {"instance": self.settings.instance * outputs["instance"].mean()}
        )

    def after_step(self, outputs: Outputs) -> None:
        self.target.update(
            ProjectedMaps(self.encoder, self.projectors),
            cosine_momentum(self.settings.momentum, self.progress),
        )
