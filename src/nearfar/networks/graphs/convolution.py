"""Graph convolutions over residues: symmetric normalisation, residual layers, noise inside."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from nearfar.errors import UserError
from nearfar.networks.drawn_dropout import DrawnDropout
from nearfar.networks.graphs.edges import Spread, check_edges, incoming, spread_of

__all__ = ["GraphConvolution", "GraphMessages", "ResidueNetwork", "perturbed"]

RESIDUES = 21
"""Kinds of residues: twenty amino acids in the order ARNDCQEGHILKMFPSTWYV, and X for all else."""


class GraphConvolution(nn.Module):
    """One graph convolution with symmetric normalisation and self loops.

        z'_i = b + sum_j d_i^-1/2 d_j^-1/2 W z_j   over senders j of i, and i itself

    Attributes:
        weight: (width, inputs).
        bias: (width,), or None.

    Source: Kipf and Welling 2017, "Semi-Supervised Classification with Graph Convolutional
    Networks", equation 2.
    """

    def __init__(self, inputs: int, width: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, inputs))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor, edges: Tensor | Spread) -> Tensor:
        """(M, inputs) and (2, E) int64 to (M, width).

        Args:
            x: Node features.
            edges: Senders and receivers; or what ``symmetric`` made of them before, for several
                layers over one graph.
        """
        whole = spread_of(edges, x)
        arrived = whole(linear(x, self.weight))
        return arrived if self.bias is None else arrived + self.bias


class GraphMessages(nn.Module):
    """One graph convolution with a matrix of its own for the node itself.

        h'_i = W_self h_i + b + W_neighbour sum over edges j -> i of h_j

    Source: Morris et al. 2019, "Weisfeiler and Leman Go Neural", equation 5.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.own = nn.Linear(inputs, width, bias=False)
        self.neighbours = nn.Linear(inputs, width)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """(M, inputs) and (2, E) int64 to (M, width)."""
        check_edges(edges, len(x))
        heard = incoming(x[edges[0]], edges[1], len(x))
        made: Tensor = self.own(x) + self.neighbours(heard)
        return made


def perturbed(z: Tensor, noise: Tensor, strength: float = 0.1) -> Tensor:
    """Move each row of (M, D) by a fixed length into its own orthant.

        z + strength sign(z) noise / |noise|

    Args:
        z: Hidden rows.
        noise: (M, D) uniform draws from [0, 1).
        strength: Length of the move; 0 changes nothing.

    Example:
        >>> perturbed(torch.tensor([[2.0, -2.0]]), torch.tensor([[3.0, 4.0]]), 0.5)
        tensor([[ 2.3000, -2.4000]])

    Source: Gu et al. 2023, HEAL, after Yu et al. 2022 (SimGCL), equation 3.
    """
    if noise.shape != z.shape:
        raise UserError(
            f"The noise must have the shape {tuple(z.shape)}; found {tuple(noise.shape)}."
        )
    return z + strength * z.sign() * normalize(noise, dim=-1)


class ResidueNetwork(nn.Module):
    """Three residual graph convolutions over the residues of proteins, the trunk of HEAL.

        z_0 = ReLU(A Emb(residue) + B x), dropout
        z_1 = ReLU(GCN z_0),  z_2 = z_1 + ReLU(GCN z_1),  z_3 = z_2 + ReLU(GCN z_2)

    Attributes:
        dimension: Width of its output.
        depth: Number of convolutions, each of which takes noise.

    Args:
        features: Width of x; 0 for graphs with residue types alone.
        width: Width of every layer.
        depth: Number of convolutions.
        embedding: Width of the residues' embedding.
        dropout: Of z_0.

    Source: Gu et al. 2023, HEAL, "Hierarchical graph transformer with contrastive learning for
    protein function prediction", section 2.
    """

    def __init__(
        self,
        features: int = 0,
        width: int = 512,
        *,
        depth: int = 3,
        embedding: int = 96,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.dimension = width
        self.depth = depth
        self.residues = nn.Embedding(RESIDUES, embedding)
        self.of_residue = nn.Linear(embedding, width)
        self.of_features = nn.Linear(features, width) if features else None
        self.dropout = DrawnDropout(dropout)
        self.layers = nn.ModuleList(GraphConvolution(width, width) for _ in range(depth))

    def forward(
        self,
        residue: Tensor,
        edges: Tensor | Spread,
        x: Tensor | None = None,
        *,
        noise: Tensor | None = None,
        strength: float = 0.1,
        dropped: Tensor | None = None,
    ) -> Tensor:
        """Hidden nodes (M, width).

        Args:
            residue: (M,) int64 residue codes, 0 to 20.
            edges: (2, E) int64; or what ``symmetric`` made of them.
            x: (M, features).
            noise: (M, depth, width) uniform draws, one for each layer; None for no noise.
            strength: Length of each layer's perturbation.
            dropped: (M, width) uniform draws that decide dropout, as several processes must agree
                on them; None draws here.
        """
        first = self.of_residue(self.residues(residue))
        if self.of_features is not None:
            if x is None:
                raise UserError("This network takes features of residues; the graphs have none.")
            first = first + self.of_features(x)
        z: Tensor = self.dropout(first.relu(), dropped)
        whole = spread_of(edges, z)
        for place, layer in enumerate(self.layers):
            made = layer(z, whole).relu()
            z = made if place == 0 else z + made
            if noise is not None:
                z = perturbed(z, noise[:, place], strength)
        return z
