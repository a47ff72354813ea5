"""A gate that opens, for a pair of classes, the dimensions in which they agree (Hydra)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nearfar.errors import unknown_name

KINDS = ("fused", "product")


class ClassPairGate(nn.Module):
    """Two classes to a gate in (0, 1) for each dimension.

        "fused"    g(a, b) = sigmoid(MLP((E_a + E_b) / 2))
        "product"  g(a, b) = sigmoid(MLP(E_a)) * sigmoid(MLP(E_b))

    E is a learned table of classes; the MLP is ReLU, batch norm, linear, ReLU, batch norm, linear.
    Its batch norms have no running
    statistics: a gate is only ever asked for a whole batch of pairs.

    Args:
        classes: number of classes.
        dimension: number of gated dimensions.
        embedding: width of the table.
        hidden: width of the hidden layer.
        kind: "fused" or "product".

    Raises:
        UserError: for another kind.

    Source: Wu et al. 2024 ("Rethinking Positive Pairs in Contrastive Learning"), the gate's
        equation, and the authors' code.
    """

    def __init__(
        self,
        classes: int,
        dimension: int,
        *,
        embedding: int = 512,
        hidden: int = 1024,
        kind: str = "fused",
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise unknown_name("gate", kind, KINDS)
        self.kind = kind
        self.table = nn.Embedding(classes, embedding)
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.BatchNorm1d(embedding, track_running_stats=False),
            nn.Linear(embedding, hidden),
            nn.ReLU(),
            nn.BatchNorm1d(hidden, track_running_stats=False),
            nn.Linear(hidden, dimension),
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Gates (N, dimension) of pairs of classes, both (N,) int64, N at least 2."""
        if self.kind == "fused":
            return torch.sigmoid(self.layers((self.table(first) + self.table(second)) / 2))
        return torch.sigmoid(self.layers(self.table(first))) * torch.sigmoid(
            self.layers(self.table(second))
        )
