"""A transformer over the tokens of a text."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.networks.depths import Depths, in_row
from nearfar.networks.encoder import Encoder
from nearfar.networks.transformer import Transformer
from nearfar.rows import Tokens


class TextTransformer(Encoder):
    """``Tokens`` (N, L) to the mean of their states (N, width); every token sees every other,
    padding is seen by none.

    How much padding follows a text does not change its features. A text without any token has the
    features 0.

    Source: Vaswani et al. 2017, the encoder; learned positions and initialisation as Radford et al.
        2021 (CLIP), section 2.4.
    """

    def __init__(self, spec: Spec, *, width: int = 128, depth: int = 4, heads: int = 4) -> None:
        super().__init__()
        self.dimension = width
        self.context = spec.context
        self.embedding = nn.Embedding(spec.vocabulary, width)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.positions = nn.Parameter(torch.empty(spec.context, width).normal_(std=0.01))
        self.transformer = Transformer(width, depth, heads)

    def forward(self, x: Tokens) -> Tensor:
        real = x.mask.unsqueeze(2)
        total = self.tokens(x).masked_fill(~real, 0.0).sum(dim=1)
        return total / real.sum(dim=1).clamp(min=1)

    def tokens(self, x: Any) -> Tensor:
        """States (N, L, width) of ``Tokens``, of padding too, where they mean nothing.

        Raises:
            UserError: if the texts have more tokens than the spec's context.
        """
        states: Tensor = self.transformer(*self._embedded(x))
        return states

    def token_layers(self, x: Any) -> list[Tensor]:
        return self.transformer.layers(*self._embedded(x))

    def attention(self, x: Any) -> Tensor:
        return self.transformer.attention(*self._embedded(x))

    def by_depth(self) -> Depths:
        transformer = self.transformer
        parts = [self.embedding, *transformer.blocks, transformer.norm]
        return in_row(parts, [self.positions])

    def _embedded(self, x: Any) -> tuple[Tensor, Tensor]:
        """What the blocks take of ``Tokens``: (N, L, width), and which tokens may be seen."""
        length = x.ids.shape[1]
        if length > self.context:
            raise UserError(
                f"The texts have {length} tokens; this encoder takes at most {self.context}, so "
                "shorten them."
            )
        # attention over nothing is undefined, so an empty text sees its padding
        visible = x.mask | ~x.mask.any(dim=1, keepdim=True)
        return self.embedding(x.ids) + self.positions[:length], visible
