"""Sums over the edges of a graph, and graphs of unequal sizes as one padded block.

A graph of M nodes is ``edges`` (2, E) int64: column e says that ``edges[0, e]`` sends to
``edges[1, e]``. Several graphs lie side by side: ``sizes`` (N,) int64 counts the nodes of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from nearfar.errors import UserError

__all__ = [
    "Spread",
    "check_edges",
    "graph_of_node",
    "incoming",
    "padded",
    "segment_softmax",
    "spread_of",
    "symmetric",
]


@dataclass(frozen=True)
class Spread:
    """The edges of a graph in the order of their receivers, ready to carry rows of nodes.

    Attributes:
        edges: (2, E) int64, sorted by receiver.
        weight: (E,) weight of each edge.
        starts: (M,) int64, the place of the first edge to each receiver.
        order: (E,) int64, places of the edges in the order of their senders.
        back: (M,) int64, the place within ``order`` of the first edge of each sender.
    """

    edges: Tensor
    weight: Tensor
    starts: Tensor
    order: Tensor
    back: Tensor

    def __call__(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """What arrives at each node: y_i = sum over edges e = (j, i) of w_e x_j, (M, D).

        It equals ``incoming(weight[:, None] * x[edges[0]], edges[1], M)`` and never holds the E
        rows, neither here nor in the backward pass of x.

        Args:
            x: (M, D).
            weight: (E,) in the order of ``edges``; None for ``self.weight``.
        """
        carried = self.weight if weight is None else weight
        if torch.compiler.is_exporting():  # a program holds the plain form
            return incoming(carried[:, None] * x[self.edges[0]], self.edges[1], x.shape[0])
        arrived: Tensor = _Carried.apply(x.to(carried.dtype), carried, self)
        return arrived


class _Carried(torch.autograd.Function):
    """Weighted sums of rows over edges; the gradient of the rows runs along the edges back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, spread: Spread) -> Tensor:
        ctx.spread = spread
        ctx.save_for_backward(x, weight)
        senders = spread.edges[0]
        return embedding_bag(senders, x, spread.starts, mode="sum", per_sample_weights=weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (arrived,) = gradients
        x, weight = ctx.saved_tensors
        spread = ctx.spread
        senders, receivers = spread.edges
        of_x, of_weight = None, None
        if ctx.needs_input_grad[0]:
            of_x = embedding_bag(
                receivers[spread.order],
                arrived.contiguous(),
                spread.back,
                mode="sum",
                per_sample_weights=weight[spread.order],
            )
        if ctx.needs_input_grad[1]:
            of_weight = (arrived[receivers] * x[senders]).sum(dim=1)
        return of_x, of_weight, None


def check_edges(edges: Tensor, nodes: int) -> None:
    """Refuse edges that are no (2, E) int64 of positions among the nodes.

    Raises:
        UserError: Names what was found.
    """
    if edges.ndim != 2 or len(edges) != 2 or edges.dtype != torch.int64:
        found = f"{tuple(edges.shape)} in {str(edges.dtype).removeprefix('torch.')}"
        raise UserError(f"Edges must be (2, E) int64, senders and receivers; found {found}.")
    if (
        edges.numel()
        and edges.device.type == "cpu"
        and not 0 <= int(edges.min()) <= int(edges.max()) < nodes
    ):
        worst = int(edges.max()) if int(edges.max()) >= nodes else int(edges.min())
        raise UserError(f"An edge names node {worst}; expected 0 to {nodes - 1}.")


def graph_of_node(sizes: Tensor) -> Tensor:
    """The number of the graph that each node belongs to, (M,) int64.

    >>> graph_of_node(torch.tensor([2, 1]))
    tensor([0, 0, 1])
    """
    return torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes)


def incoming(values: Tensor, receivers: Tensor, nodes: int) -> Tensor:
    """The sum of what arrives at each node: (E, ...) values of edges to (nodes, ...).

    >>> incoming(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 0, 2]), 3)
    tensor([3., 0., 4.])
    """
    return values.new_zeros(nodes, *values.shape[1:]).index_add(0, receivers, values)


def segment_softmax(logits: Tensor, segment: Tensor, segments: int) -> Tensor:
    """Softmax of (E,) or (E, H) logits among those of the same segment.

        alpha_e = exp(l_e) / sum over f with segment_f = segment_e of exp(l_f)

    >>> segment_softmax(torch.zeros(3), torch.tensor([0, 0, 1]), 2)
    tensor([0.5000, 0.5000, 1.0000])
    """
    index = segment.view(-1, *[1] * (logits.ndim - 1)).expand_as(logits)
    floor = logits.detach().new_full((segments, *logits.shape[1:]), -torch.inf)
    highest = floor.scatter_reduce(0, index, logits.detach(), "amax")
    shares = (logits - highest[segment]).exp()
    return shares / incoming(shares, segment, segments)[segment]


def symmetric(edges: Tensor, nodes: int, *, dtype: torch.dtype) -> Spread:
    """Edges with one loop at every node, and the weight of each.

        w(j -> i) = d_j^-1/2 d_i^-1/2,   d = number of edges that arrive, the loop among them

    Loops that are there already are not doubled.

    Args:
        edges: (2, E) int64.
        nodes: M.
        dtype: Of the weights.

    Example:
        >>> whole = symmetric(torch.tensor([[0], [1]]), 2, dtype=torch.float64)
        >>> whole(torch.tensor([[1.0], [0.0]])).tolist()
        [[1.0], [0.7071067811865475]]

    Source: Kipf and Welling 2017, "Semi-Supervised Classification with Graph Convolutional
    Networks", equation 2.
    """
    loops = torch.arange(nodes, device=edges.device).expand(2, nodes)
    if torch.compiler.is_exporting():
        return _weighed(edges, loops, dtype)
    check_edges(edges, nodes)
    others = edges[:, edges[0] != edges[1]]
    whole = torch.cat([others, loops], dim=1)
    whole = whole[:, torch.argsort(whole[1], stable=True)]
    order = torch.argsort(whole[0], stable=True)
    degree = torch.bincount(whole[1], minlength=nodes)
    sent = torch.bincount(whole[0], minlength=nodes)
    scale = degree.to(dtype).rsqrt()
    weight = scale[whole[0]] * scale[whole[1]]
    return Spread(whole, weight, degree.cumsum(0) - degree, order, sent.cumsum(0) - sent)


def _weighed(edges: Tensor, loops: Tensor, dtype: torch.dtype) -> Spread:
    """As ``symmetric``, with shapes that do not depend on the edges' values: loops that are there
    already stay and weigh nothing, and the edges are not sorted.
    """
    whole = torch.cat([edges, loops], dim=1)
    counted = torch.cat([(edges[0] != edges[1]).to(dtype), torch.ones_like(loops[0], dtype=dtype)])
    scale = incoming(counted, whole[1], loops.shape[1]).rsqrt()
    weight = counted * scale[whole[0]] * scale[whole[1]]
    return Spread(whole, weight, loops[0], whole[0], loops[0])


def spread_of(edges: Tensor | Spread, x: Tensor) -> Spread:
    """``symmetric`` of the edges between the nodes x (M, D), unless that was made before."""
    return edges if isinstance(edges, Spread) else symmetric(edges, x.shape[0], dtype=x.dtype)


def padded(nodes: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes (M, D) of N graphs as (N, L, D) with zeros behind, and their places (N, L) bool.

    >>> block, there = padded(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([1, 2]))
    >>> block[:, :, 0], there
    (tensor([[1., 0.],
            [2., 3.]]), tensor([[ True, False],
            [ True,  True]]))
    """
    longest = int(sizes.max()) if len(sizes) else 0
    there = torch.arange(longest, device=sizes.device) < sizes[:, None]
    block = nodes.new_zeros(len(sizes), longest, *nodes.shape[1:])
    places = there.flatten().nonzero()[:, 0]
    return block.flatten(0, 1).index_copy(0, places, nodes).view_as(block), there
