"""The trunk of HEAL as an encoder of graphs."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.networks.encoder import NodeEncoder
from nearfar.networks.graphs.convolution import ResidueNetwork
from nearfar.networks.graphs.edges import Spread
from nearfar.rows import Graphs

__all__ = ["ResidueEncoder"]


class ResidueEncoder(NodeEncoder):
    """``ResidueNetwork`` over the residues of proteins; a protein's features are their mean.

    Attributes:
        draws: Numbers of [0, 1) that one pass takes for each node and each of its values: one for
            dropout, and one for each layer that is perturbed.

    Args:
        spec: Of the graphs; ``nodes["x"]`` is the width of their features, if they have some.
        width: As for ``ResidueNetwork``.
        depth: As for ``ResidueNetwork``.
        embedding: As for ``ResidueNetwork``.
        dropout: As for ``ResidueNetwork``.

    Raises:
        UserError: If the graphs are not of residues.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        width: int = 512,
        depth: int = 3,
        embedding: int = 96,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if "residue" not in spec.nodes:
            raise UserError(
                f"The nodes of {spec.name} are no residues; expected graphs of proteins."
            )
        self.network = ResidueNetwork(
            spec.nodes.get("x", 0), width, depth=depth, embedding=embedding, dropout=dropout
        )
        self.dimension = width
        self.draws = 1 + depth

    def nodes(
        self,
        graphs: Graphs,
        *,
        draws: Tensor | None = None,
        strength: float = 0.0,
        whole: Spread | None = None,
    ) -> Tensor:
        """(M, dimension).

        Args:
            graphs: With M residues.
            draws: (M, ``draws``, dimension) numbers of [0, 1), so that several processes drop and
                perturb what one does; None draws dropout here and perturbs nothing.
            strength: Length of each layer's perturbation.
            whole: What ``symmetric`` made of the graphs' edges before; None to make it.
        """
        found: Tensor = self.network(
            graphs.nodes["residue"],
            graphs.edges if whole is None else whole,
            graphs.nodes.get("x"),
            noise=draws[:, 1:] if draws is not None and strength else None,
            strength=strength,
            dropped=None if draws is None else draws[:, 0],
        )
        return found

    def forward(self, x: Graphs) -> Tensor:
        hidden = self.nodes(x)
        total = hidden.new_zeros(x.sizes.shape[0], self.dimension).index_add(0, x.graph, hidden)
        return total / x.sizes[:, None].to(hidden)


def draws_like(encoder: ResidueEncoder, graphs: Graphs, generator: torch.Generator) -> Tensor:
    """Numbers of [0, 1) for one pass over graphs: (M, ``draws``, dimension), in the type of x."""
    shape = (len(graphs.nodes["residue"]), encoder.draws, encoder.dimension)
    drawn = torch.rand(shape, generator=generator, device=generator.device)
    return drawn.to(graphs.nodes["x"])
