"""One transformer over patches for images and for series: the vision transformer (ViT) and its twin
over time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from nearfar.data.spec import Spec
from nearfar.networks.depths import Depths, in_row
from nearfar.networks.encoder import TokenEncoder
from nearfar.networks.positions import sincos_positions
from nearfar.networks.transformer import Transformer, xavier

_PER_AXIS = {"image": 8, "series": 32}
"""Patches wanted along each axis."""
_LONGEST = {"image": 16, "series": 4096}
"""Longest side of a patch, in pixels or steps."""


def patch_length(spec: Spec) -> int:
    """The power of two that gives about 8 patches along the shorter side of an image (at most 16
    pixels), or 32 along a series.
    """
    wanted = round(math.log2(min(spec.shape[1:]) / _PER_AXIS[spec.modality]))
    return min(1 << max(1, wanted), _LONGEST[spec.modality])


class PatchTransformer(TokenEncoder):
    """Images (N, C, H, W) or series (N, C, T) to the class token's features (N, width), over square
    patches (stretches of time).

    Sides that are no multiple of the patch are filled up at their ends with 0, which is the mean of
    normalised data; views of another size than the data's get the positions of their own, smaller
    grid, so local crops pass like whole samples.

    The features are the class token's, not the mean of the patches: it is what DINO, MoCo v3 and
    MAE's own probes read, and it is there whichever patches a masked method drops.
    ``tokens(x).mean(1)`` gives the mean.

    Source: Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words"; fixed positions as in He et
        al. 2021 (MAE).
    """

    def __init__(
        self,
        spec: Spec,
        *,
        width: int = 96,
        depth: int = 4,
        heads: int = 3,
        patch: int | None = None,
    ) -> None:
        super().__init__()
        self.channels, *sides = spec.shape
        self.sides = tuple(sides)
        self.patch = patch or patch_length(spec)
        self.grid = self._grid(self.sides)
        self.patches = math.prod(self.grid)
        self.patch_values = self.channels * self.patch ** len(self.grid)
        self.dimension = width
        self.embedding = nn.Linear(self.patch_values, width)
        xavier(self.embedding)
        self.class_token = nn.Parameter(torch.empty(1, 1, width).normal_(std=0.02))
        self.transformer = Transformer(width, depth, heads)
        self.positions: Tensor
        positions = sincos_positions(self.grid, width).to(self.class_token.dtype)
        self.register_buffer("positions", positions, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.encode_tokens(self.embed(x))[:, 0]

    def tokens(self, x: Tensor) -> Tensor:
        return self.encode_tokens(self.embed(x))[:, 1:]

    def token_layers(self, x: Tensor) -> list[Tensor]:
        return [layer[:, 1:] for layer in self.transformer.layers(self._with_class(self.embed(x)))]

    def attention(self, x: Tensor) -> Tensor:
        return self.transformer.attention(self._with_class(self.embed(x)))

    def by_depth(self) -> Depths:
        transformer = self.transformer
        parts = [self.embedding, *transformer.blocks, transformer.norm]
        return in_row(parts, [self.class_token])

    def freeze_patches(self) -> None:
        self.embedding.requires_grad_(False)

    def patchify(self, x: Tensor) -> Tensor:
        fill = [amount for side in reversed(x.shape[2:]) for amount in (0, -side % self.patch)]
        x = pad(x, fill) if any(fill) else x
        grid = self._grid(x.shape[2:])
        axes = len(self.grid)
        x = x.reshape(
            x.shape[0], x.shape[1], *(size for cells in grid for size in (cells, self.patch))
        )
        cells_then_inside = [*range(2, 2 + 2 * axes, 2), *range(3, 3 + 2 * axes, 2)]
        return x.permute(0, *cells_then_inside, 1).reshape(
            x.shape[0], math.prod(grid), self.patch_values
        )

    def unpatchify(self, patches: Tensor) -> Tensor:
        axes = len(self.grid)
        x = patches.reshape(patches.shape[0], *self.grid, *[self.patch] * axes, self.channels)
        interleaved = [place for axis in range(axes) for place in (1 + axis, 1 + axes + axis)]
        x = x.permute(0, 1 + 2 * axes, *interleaved)
        x = x.reshape(x.shape[0], self.channels, *(cells * self.patch for cells in self.grid))
        inside = tuple(slice(side) for side in self.sides)
        return x[:, :, *inside]

    def embed(self, x: Tensor, hidden: Tensor | None = None, token: Tensor | None = None) -> Tensor:
        grid = self._grid(x.shape[2:])
        positions = (
            self.positions
            if grid == self.grid
            else sincos_positions(grid, self.dimension).to(self.positions)
        )
        embedded: Tensor = self.embedding(self.patchify(x))
        if hidden is not None and token is not None:
            embedded = torch.where(hidden[:, :, None], token.to(embedded), embedded)
        return embedded + positions

    def encode_tokens(self, tokens: Tensor, visible: Tensor | None = None) -> Tensor:
        together = self._with_class(tokens)
        if visible is None:
            return cast(Tensor, self.transformer(together))
        return cast(Tensor, self.transformer(together, pad(visible, (1, 0), value=True)))

    def _with_class(self, tokens: Tensor) -> Tensor:
        # the class token has no place in the sample: its position is zero
        return torch.cat([self.class_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)

    def _grid(self, sides: Sequence[int]) -> tuple[int, ...]:
        return tuple(-(-side // self.patch) for side in sides)
