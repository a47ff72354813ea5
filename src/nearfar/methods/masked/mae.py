"""MAE: remove most patches of a sample and rebuild their raw values from the rest.

The encoder sees only the visible patches, which makes it cheap; a small decoder gets their
features, a mask token at every removed place and all positions, and predicts the values of all
patches. Only removed patches count. The decoder is dropped.

    loss = sum over removed patches of mean (prediction - target)^2 / number of removed patches in
    the batch
Source: He et al. 2021, arXiv 2111.06377, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from nearfar.losses.dense.masked import masked_reconstruction
from nearfar.methods.method import Batch, Facets, Method, Outputs, Paper, Recipe, Spec, WantedViews
from nearfar.networks.encoder import TokenEncoder
from nearfar.networks.heads import MaskedDecoder
from nearfar.networks.transformer import select_tokens
from nearfar.ranges import unit_interval, whole_number


class MAE(Method):
    """One lightly cropped view with most patches removed, a transformer, a decoder, raw values,
    squared error.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of MAE.

        Attributes:
            removed: share of the patches that is removed, in (0, 1).
            normalise: standardise each target patch by its own mean and deviation.
            width: of the decoder, a multiple of ``heads``.
            depth: blocks of the decoder.
            heads: attention heads of the decoder.
        """

        removed: Annotated[float, unit_interval(zero=False, one=False)] = 0.75
        normalise: bool = True
        width: Annotated[int, whole_number()] = 512
        depth: Annotated[int, whole_number(1, 1000)] = 8
        heads: Annotated[int, whole_number(1, 64)] = 16

    paper = Paper(
        title="Masked Autoencoders Are Scalable Vision Learners",
        authors="He, Chen, Xie, Li, Dollár, Girshick",
        year=2021,
        arxiv="2111.06377",
    )
    facets = Facets(
        "generative.masked_pixels",
        level="patch",
        target="pixels",
        guard="reconstruction",
        masking="random",
    )
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="adamw",
            learning_rate=1.5e-4,
            weight_decay=0.05,
            batch_size=4096,
            epochs=800,
            warmup=0.05,
        ),
        "small": Recipe(
            settings={"width": 64, "depth": 1, "heads": 4},
            optimizer="muon",
            learning_rate=1.6e-2,
            weight_decay=0.05,
            batch_size=128,
            epochs=180,
            warmup=0.1,
        ),
    }
    encoder_kind = "tokens"
    encoder: TokenEncoder
    choices = {
        "views": "one, cropped and flipped, most patches removed",
        "encoder": "a transformer over the visible patches",
        "head": "a small transformer decoder",
        "target": "raw values of the removed patches",
        "loss": "squared error",
    }

    def __init__(self, encoder: TokenEncoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        self.decoder = MaskedDecoder(
            encoder.dimension,
            encoder.grid,
            encoder.patch_values,
            width=s.width,
            depth=s.depth,
            heads=s.heads,
        )

    @property
    def wanted_views(self) -> WantedViews:
        return WantedViews(
            whole=1, style="crop", whole_scale=(0.2, 1.0), noise=self.encoder.patches
        )

    def forward(self, batch: Batch) -> Outputs:
        (samples,) = batch.views
        noise = batch.extra["noise"]
        kept, restore, mask = random_mask(noise, self.settings.removed)
        visible = select_tokens(self.encoder.embed(samples), kept)
        prediction = self.decoder(self.encoder.encode_tokens(visible), restore)
        error = masked_reconstruction(
            prediction,
            self.encoder.patchify(samples),
            mask,
            normalise=self.settings.normalise,
            reduction="none",
        )
        return {"error": error, "removed": mask.sum(dim=1)}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        return {"reconstruction": outputs["error"].sum() / outputs["removed"].sum()}


def random_mask(noise: Tensor, removed: float) -> tuple[Tensor, Tensor, Tensor]:
    """Which patches stay: those with the least noise.

    Args:
        noise: (N, L), one draw from [0, 1) for each patch.
        removed: share of the patches to remove; int(L (1 - removed)) stay.

    Returns:
        The kept patches (N, M) int64; where each patch lies in the sequence "kept, then removed"
        (N, L) int64; the mask (N, L) of the noise's type, 1 where a patch is removed.
    """
    count = int(noise.shape[1] * (1 - removed))
    order = noise.argsort(dim=1)
    restore = order.argsort(dim=1)
    return order[:, :count], restore, (restore >= count).to(noise.dtype)
