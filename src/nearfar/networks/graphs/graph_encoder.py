"""Graph convolutions as an encoder of graphs, or of the nodes of one."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.networks.depths import Depths, in_row
from nearfar.networks.encoder import NodeEncoder
from nearfar.networks.graphs.convolution import GraphConvolution
from nearfar.networks.graphs.edges import symmetric
from nearfar.rows import Graphs, Nodes


class GraphEncoder(NodeEncoder):
    """Graph convolutions with a PReLU after each.

        h^0 = x,  h^l = PReLU(GCN_l h^{l-1})

    Args:
        spec: Of the graphs; ``nodes["x"]`` is the width of their nodes' values.
        width: Of every layer.
        depth: Number of layers, at least 1.

    Raises:
        UserError: If nothing is known of the nodes.

    Source: Kipf and Welling 2017, "Semi-Supervised Classification with Graph Convolutional
    Networks"; the sizes are those of Zhu et al. 2020 (GRACE).
    """

    def __init__(self, spec: Spec, *, width: int = 256, depth: int = 2) -> None:
        super().__init__()
        if "x" not in spec.nodes:
            raise UserError(
                f"Of the nodes of {spec.name} no values are known; expected some under the name "
                "'x', such as counts of words."
            )
        sizes = [spec.nodes["x"], *[width] * depth]
        self.layers = nn.ModuleList(GraphConvolution(*pair) for pair in pairwise(sizes))
        self.bends = nn.ModuleList(nn.PReLU(width) for _ in range(depth))
        self.dimension = width

    def nodes(self, graphs: Graphs | Nodes) -> Tensor:
        """Hidden nodes (M, dimension)."""
        h = graphs.nodes["x"].to(self.layers[0].weight.dtype)  # type: ignore[arg-type]
        whole = symmetric(graphs.edges, h.shape[0], dtype=h.dtype)
        for layer, bend in zip(self.layers, self.bends, strict=True):
            h = bend(layer(h, whole))
        return h

    def by_depth(self) -> Depths:
        pairs = zip(self.layers, self.bends, strict=True)
        return in_row([nn.ModuleList(pair) for pair in pairs])

    def forward(self, x: Graphs | Nodes) -> Tensor:
        """(N, dimension): of ``Nodes`` the seeds, of ``Graphs`` the mean over each one's nodes."""
        h = self.nodes(x)
        if isinstance(x, Nodes):
            return h[x.seeds]
        total = torch.zeros(x.sizes.shape[0], h.shape[1], dtype=h.dtype, device=h.device)
        return total.index_add(0, x.graph, h) / x.sizes[:, None].to(h)
