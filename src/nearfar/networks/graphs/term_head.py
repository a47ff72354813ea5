"""From read-outs of proteins to terms of an ontology, in one head a branch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nearfar.data.spec import Spec
from nearfar.networks.drawn_dropout import DrawnDropout

__all__ = ["TermHead"]


class TermHead(nn.Module):
    """Two layers, of which the branches of the ontology share the first.

        l = V dropout(ReLU(W z)),  p_c = max over terms d from which c follows of sigmoid(l_d)

    Attributes:
        branches: (B, C) bool, the terms of each branch; one branch where none are named.

    Args:
        width: Of the read-outs.
        spec: Its classes are the terms; its ``extra`` may say which terms are "above" each and
            which of the "branches" each belongs to.
        dropout: Before the last layer.

    Source: Gu et al. 2023, HEAL; the true path rule as in Radivojac et al. 2013.
    """

    branches: Tensor
    follows: Tensor

    def __init__(self, width: int, spec: Spec, dropout: float) -> None:
        super().__init__()
        terms = len(spec.classes)
        self.hidden = nn.Linear(width, 2 * width)
        self.dropout = DrawnDropout(dropout)
        self.last = nn.Linear(2 * width, terms)
        follows = torch.eye(terms, dtype=torch.bool)
        for term, above in enumerate(spec.extra.get("above", ())):
            follows[term, above] = True
        self.register_buffer("follows", follows, persistent=False)
        held = spec.extra.get("branches") or [""] * terms
        branches = torch.tensor([[one == name for one in held] for name in dict.fromkeys(held)])
        self.register_buffer("branches", branches, persistent=False)

    def forward(self, read: Tensor, draws: Tensor | None = None) -> Tensor:
        """(N, C) logits of read-outs (N, width).

        Args:
            read: Read-outs.
            draws: (N, 2 width) numbers of [0, 1) that decide dropout; None draws here.
        """
        logits: Tensor = self.last(self.dropout(self.hidden(read).relu(), draws))
        return logits

    def probabilities(self, read: Tensor) -> Tensor:
        """(N, C) probabilities, each at least those of the terms that it follows from."""
        scores: Tensor = self(read).sigmoid()
        return (scores[:, :, None] * self.follows).amax(dim=1)
