"""Combiner: one query from an image and what is asked of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from nearfar.errors import UserError
from nearfar.networks.drawn_dropout import DrawnDropout

__all__ = ["Combiner"]


class Combiner(nn.Module):
    """A gated sum of text and image, and what a network makes of both.

        p = [ drop(ReLU(A t + a)) | drop(ReLU(B v + b)) ],  c = drop(ReLU(C p + c))
        g = sigmoid(G drop(ReLU(H p + h)) + g0),  out = unit( O c + o + g t + (1 - g) v )

    Args:
        dimension: Width of text and image embeddings, and of the query.
        width: Of each projection; the layers behind are twice as wide.
        hidden: Width behind; None for twice ``width``.
        dropout: Share of every layer's hidden values that is set to 0.

    Source: Baldrati et al. 2022, "Effective conditioned and composed image retrieval combining
    CLIP-based features"; Vaze et al. 2023, "GeneCIS", section 4.
    """

    def __init__(
        self,
        dimension: int,
        width: int = 2560,
        *,
        hidden: int | None = None,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        inner = 2 * width if hidden is None else hidden
        self.text = nn.Linear(dimension, width)
        self.image = nn.Linear(dimension, width)
        self.combine = nn.Linear(2 * width, inner)
        self.output = nn.Linear(inner, dimension)
        self.gate_hidden = nn.Linear(2 * width, inner)
        self.gate = nn.Linear(inner, 1)
        self.dropout = DrawnDropout(dropout)
        self.sizes = [width, width, inner, inner]

    def forward(self, text: Tensor, image: Tensor, draws: Tensor | None = None) -> Tensor:
        """Unit queries (N, dimension) from embeddings (N, dimension) as the towers give them.

        Args:
            text: Of what is asked.
            image: Of the image that it is asked of.
            draws: (N, sum of ``sizes``) in [0, 1), which hidden values are dropped in training:
                those of text, image, both together and the gate; None draws them here.
        """
        if text.shape != image.shape:
            found = f"{tuple(text.shape)} and {tuple(image.shape)}"
            raise UserError(f"Texts and images must be embedded alike; found {found}.")
        drawn = [None] * 4 if draws is None else torch.split(draws, self.sizes, dim=1)
        parts = [self._hidden(self.text, text, drawn[0])]
        parts.append(self._hidden(self.image, image, drawn[1]))
        both = torch.cat(parts, dim=1)
        made = self.output(self._hidden(self.combine, both, drawn[2]))
        gate = self.gate(self._hidden(self.gate_hidden, both, drawn[3])).sigmoid()
        return normalize(made + gate * text + (1 - gate) * image, dim=1)

    def _hidden(self, layer: nn.Module, x: Tensor, draws: Tensor | None) -> Tensor:
        made: Tensor = self.dropout(layer(x).relu(), draws)
        return made
