"""I-JEPA: from a part of a sample, predict the features of hidden blocks of it, not their pixels.

A large block of patches, without those that lie in any of four smaller target blocks, passes the
encoder. The whole sample passes a momentum copy, whose patch features are the targets. A narrow
transformer gets the encoded context and, for one target block at a time, mask tokens with the
places of its patches, and predicts their features. No view is changed but by a crop.

    loss = mean over target blocks b, patches l in b of distance(prediction_l, norm(target_l))
Source: Assran et al. 2023, arXiv 2301.08243, sections 3 and A.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Annotated, Literal, cast

import torch
from torch import Tensor

from nearfar.losses.dense.masked import feature_prediction
from nearfar.methods.method import Batch, Facets, Method, Outputs, Paper, Recipe, Spec, WantedViews
from nearfar.networks.encoder import TokenEncoder
from nearfar.networks.heads import MaskedPredictor
from nearfar.networks.transformer import select_tokens
from nearfar.ranges import unit_interval, whole_number
from nearfar.targets.momentum import MomentumEncoder, linear_momentum
from nearfar.targets.step_generator import StepGenerator
from nearfar.views.masks.blocks import block_places, block_size, check_shares, holds

_CONTEXT_SCALE = (0.85, 1.0)
_TARGET_ASPECT = (0.75, 1.5)
_SQUARE = (1.0, 1.0)


class IJEPA(Method):
    """One cropped view, a transformer over a part of it and a momentum copy over the whole, a
    predictor, the copy's patch features, a smooth distance.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of IJEPA.

        Attributes:
            blocks: Number of target blocks.
            least: Share of the patches in a target block, at the least.
            most: Share of the patches in a target block, at the most; not below ``least``.
            momentum: Share of the momentum copy that stays at the first step, in [0, 1]; rises to 1
                in a straight line.
            predicted: "features" of the momentum copy, or for comparison the "pixels" of the
                patches (table 7).
            distance: Of prediction and target: "smooth" as in the authors' code, or "squared".
            width: Of the predictor, a multiple of ``heads``.
            depth: Blocks of the predictor.
            heads: Attention heads of the predictor.
        """

        blocks: Annotated[int, whole_number(1, 64)] = 4
        least: Annotated[float, unit_interval(zero=False, one=False)] = 0.15
        most: Annotated[float, unit_interval(zero=False, one=False)] = 0.2
        momentum: Annotated[float, unit_interval()] = 0.996
        predicted: Literal["features", "pixels"] = "features"
        distance: Literal["smooth", "squared"] = "smooth"
        width: Annotated[int, whole_number()] = 384
        depth: Annotated[int, whole_number(1, 1000)] = 12
        heads: Annotated[int, whole_number(1, 64)] = 12

    paper = Paper(
        title="Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture",
        authors="Assran, Duval, Misra et al.",
        year=2023,
        arxiv="2301.08243",
        departures=(
            "The authors cut the contexts of a batch to the shortest one; here attention leaves "
            "out what is no context, and nothing is cut.",
            "The transformer has a class token, which sees the context and is not predicted from.",
            "Evaluation takes the mean of the encoder's patches, not of the momentum copy's.",
            "Series are hidden in stretches of time, to which no aspect ratio applies.",
        ),
    )
    facets = Facets(
        "generative.masked_features",
        level="patch",
        teacher="ema",
        guard="stop-gradient+predictor",
        masking="block",
    )
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="adamw",
            learning_rate=1.25e-4,
            weight_decay=0.04,
            final_weight_decay=0.4,
            batch_size=2048,
            epochs=300,
            warmup=0.05,
        ),
        "small": Recipe(
            settings={"momentum": 0.98, "width": 48, "depth": 2, "heads": 3},
            optimizer="muon",
            learning_rate=1.6e-2,
            weight_decay=0.05,
            batch_size=128,
            epochs=120,
            warmup=0.1,
        ),
    }
    encoder_kind = "tokens"
    encoder: TokenEncoder
    choices = {
        "views": "one, cropped; a large block without four smaller ones is seen",
        "encoder": "a transformer over the context, and a momentum copy over all patches",
        "head": "a narrow transformer that predicts",
        "target": "the copy's features of the hidden blocks, normalised",
        "loss": "smooth distance",
    }

    def __init__(self, encoder: TokenEncoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        check_shares(s.least, s.most)
        is_pixels = s.predicted == "pixels"
        self.predictor = MaskedPredictor(
            encoder.dimension,
            encoder.grid,
            encoder.patch_values if is_pixels else encoder.dimension,
            width=s.width,
            depth=s.depth,
            heads=s.heads,
        )
        self.target = MomentumEncoder(encoder)
        self.draws = StepGenerator()

    @property
    def wanted_views(self) -> WantedViews:
        places = (1 + self.settings.blocks) * len(self.encoder.grid)
        return WantedViews(whole=1, style="crop", whole_scale=(0.3, 1.0), noise=places)

    def forward(self, batch: Batch) -> Outputs:
        (samples,) = batch.views
        visible, hidden = self.masks(batch.extra["noise"])
        context = self.encoder.encode_tokens(self.encoder.embed(samples), visible)[:, 1:]
        predicted = self.predictor(context, visible, hidden)
        error = feature_prediction(
            predicted,
            select_tokens(self._targets(samples), hidden.flatten(1)),
            distance=self.settings.distance,
            reduction="none",
        )
        return {"error": error}

    @torch.no_grad()
    def _targets(self, samples: Tensor) -> Tensor:
        """What could be predicted of all patches, (N, L, D)."""
        if self.settings.predicted == "pixels":
            return self.encoder.patchify(samples)
        return cast(TokenEncoder, self.target.module).tokens(samples)

    def masks(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """What is seen and what is predicted of each sample.

        Args:
            noise: (N, (1 + blocks) axes) values in [0, 1).

        Returns:
            Whether each patch is context, (N, L) bool; and the patches of each target block,
            (N, blocks, T) int64. The sizes of the blocks are those of the step.
        """
        s = self.settings
        grid = self.encoder.grid
        draws = random.Random(self.draws().initial_seed())
        target = block_size(grid, (s.least, s.most), _TARGET_ASPECT, draws)
        large = block_size(grid, _CONTEXT_SCALE, _SQUARE, draws)
        context, *others = torch.split(noise, len(grid), dim=1)
        hidden = torch.stack([block_places(one, target, grid) for one in others], dim=1)
        seen = holds(block_places(context, large, grid), self.encoder.patches)
        return seen & ~holds(hidden.flatten(1), self.encoder.patches), hidden

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        return {"prediction": outputs["error"].mean()}

    def after_step(self, outputs: Outputs) -> None:
        self.target.update(self.encoder, linear_momentum(self.settings.momentum, self.progress))
        self.draws.advance()

    def encode(self, x: Tensor) -> Tensor:
        """The mean of the patches' features; the class token is not learned by this method."""
        return self.encoder.tokens(x).mean(dim=1)
