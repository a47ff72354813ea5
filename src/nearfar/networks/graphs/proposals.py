"""Region proposals: every node's surroundings are scored as a site, its members kept or dropped."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nearfar.errors import UserError
from nearfar.networks.graphs.anchors import k_hop, kept_members
from nearfar.networks.graphs.attention import GraphAttention
from nearfar.networks.graphs.cones import penumbral_links
from nearfar.networks.graphs.convolution import GraphConvolution
from nearfar.networks.graphs.edges import (
    incoming,
    padded,
    segment_softmax,
    symmetric,
)
from nearfar.networks.graphs.proposed import Proposed

__all__ = ["Proposals", "Proposed"]

_NUMBERS = 2**21
"""Numbers in the products of a block of anchors: 8 MB in float32."""
_PAIRS = 2**15
"""Pairs of a block; each is read by a few others."""
_HELD = 2**25
"""Numbers of links kept for the backward pass; those of further blocks are computed again."""


class Proposals(nn.Module):
    """The proposal network of ProteinRPN.

        h^0 = x, h^l = GCN_l h^{l-1};  p = sigmoid(GAT h);  m_ij = (GAT' h)_i x_j for j in anchor i
        u_ij = sigmoid(score_j of cone attention among the m_i.)

    Queries, keys and values are computed a block of anchors at a time, and again in the backward
    pass, so that memory grows as the pairs and not as the pairs times the width.

    Args:
        features: Width of x.
        width: Of the context layers.
        hops: k, of context and anchors.
        keep: Share of an anchor's members that stays.
        attention: Width of queries, keys and values.
        activation: Whether ReLU stands between the context layers; the released code has none.
        structure: Bonus of a member in a helix or strand.
        nearness: Penalty of a member's distance from its anchor.
        distance_scale: Unit of that distance.
        own: Whether a node's own values also pass by the means over its neighbours, in the context
            layers and in the scores of members; else they drown in these means.

    Source: ProteinRPN 2024; Tseng et al. 2023 for the attention.
    """

    def __init__(
        self,
        features: int,
        width: int = 128,
        *,
        hops: int = 2,
        keep: float = 0.5,
        attention: int = 64,
        activation: bool = False,
        structure: float = 0.5,
        nearness: float = 0.5,
        distance_scale: float = 10.0,
        own: bool = False,
    ) -> None:
        super().__init__()
        if not 0 < keep <= 1:
            raise UserError(
                f"The share of members to keep is {keep}; expected above 0 and at most 1."
            )
        self.hops = hops
        self.keep = keep
        self.activation = activation
        self.structure = structure
        self.nearness = nearness
        self.distance_scale = distance_scale
        inputs = [features, *[width] * (hops - 1)]
        self.context = nn.ModuleList(GraphConvolution(size, width) for size in inputs)
        self.anchor = GraphAttention(width, 1)
        self.lift = GraphAttention(width, features)
        self.query = nn.Linear(features, attention, bias=False)
        self.key = nn.Linear(features, attention, bias=False)
        # Not one ``nn.Sequential``: its layers run once a block of anchors, and how many blocks
        # there are differs between processes, while a divided layer is gathered by all at once.
        self.value = nn.Linear(features, attention, bias=False)
        self.worth = nn.Linear(attention, 1, bias=False)
        self.own = own
        if own:
            self.itself = nn.ModuleList(nn.Linear(size, width, bias=False) for size in inputs)
            self.alone = nn.Linear(features, 1)

    def forward(
        self,
        x: Tensor,
        edges: Tensor,
        sizes: Tensor,
        *,
        secondary: Tensor | None = None,
        places: Tensor | None = None,
        pairs: Tensor | None = None,
    ) -> Proposed:
        """Score every anchor and its members.

        Args:
            x: (M, features); a constant where it multiplies.
            edges: (2, E) int64.
            sizes: (N,) nodes of each graph.
            secondary: (M,) 1 in a helix or strand; None for no bonus.
            places: (M, 3) coordinates; None for no penalty of distance.
            pairs: What ``k_hop`` gave for these edges, sorted by anchor, then by member; None to
                compute it.
        """
        pairs = k_hop(edges, len(x), self.hops) if pairs is None else pairs
        whole = symmetric(edges, len(x), dtype=x.dtype)
        h = x
        for place, layer in enumerate(self.context):
            made = layer(h, whole)
            if self.own:
                made = made + self.itself[place](h)
            h = made.relu() if self.activation else made
        anchors = self.anchor(h, whole)[:, 0]
        g = self.lift(h, whole)
        structure = x.new_zeros(len(x)) if secondary is None else secondary.to(x)
        where = x.new_zeros(len(x), 3) if places is None else places.to(x)
        parts: list[Tensor] = []
        kept: list[Tensor] = []
        held = 0
        for block, links, count in _blocks(pairs, whole.edges, sizes, x.shape[1]):
            given = (g, x.detach(), block, links, structure, where)
            held += links.shape[1] * self.query.out_features
            again = torch.is_grad_enabled() and held > _HELD
            scores = (
                checkpoint(self._scores, *given, use_reentrant=False)
                if again
                else self._scores(*given)
            )
            parts.append(scores)
            rows, there = padded(scores.detach(), count)
            kept.append(kept_members(rows, there, self.keep)[there])
        nodes = torch.cat(parts) if parts else x.new_zeros(0)
        keeping = torch.cat(kept) if kept else torch.zeros(0, dtype=torch.bool, device=x.device)
        return Proposed(pairs, anchors, nodes, keeping, sizes)

    def _scores(
        self,
        g: Tensor,
        x: Tensor,
        pairs: Tensor,
        links: Tensor,
        structure: Tensor,
        where: Tensor,
    ) -> Tensor:
        """(P,) scores of the pairs of a block of anchors: ``hierarchy_scores``, link by link.

        Args:
            g: (M, features) of the anchors.
            x: (M, features) of the members.
            pairs: (2, P) anchor and member.
            links: (2, T) positions among the pairs: which member attends to which of its anchor.
            structure: (M,) 1 in a helix or strand.
            where: (M, 3) coordinates.
        """
        anchor, member = pairs
        reader, read = links
        m = g.index_select(0, anchor) * x.index_select(0, member)
        logits = penumbral_links(self.query(m), self.key(m), links)
        share = segment_softmax(logits, reader, len(m))
        value = self.worth(self.value(m))[:, 0]
        heard = incoming(share * value.index_select(0, read), reader, len(m))
        if self.own:
            heard = heard + self.alone(m)[:, 0]
        offset = torch.nan_to_num(where[member] - where[anchor])
        distance = torch.linalg.vector_norm(offset, dim=-1)
        near = self.nearness * distance / self.distance_scale
        scores: Tensor = heard + self.structure * structure[member] - near
        return scores


def _blocks(
    pairs: Tensor, whole: Tensor, sizes: Tensor, width: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Pairs of consecutive anchors of one graph, their links, and how many members each anchor has.

    A link is two positions among the pairs of the block: a member, and one that sends to it within
    the same anchor.

    Args:
        pairs: (2, P), sorted by anchor, then by member.
        whole: (2, E) edges sorted by receiver, a loop at every node.
        sizes: (N,) nodes of each graph.
        width: Of the numbers that a pair holds.
    """
    nodes = int(sizes.sum())
    members = torch.bincount(pairs[0], minlength=nodes)
    ends = members.cumsum(0).tolist()
    sent = torch.bincount(whole[1], minlength=nodes).cumsum(0).tolist()
    begin = 0
    for size in sizes.tolist():
        first = ends[begin - 1] if begin else 0
        last = ends[begin + size - 1]
        links = whole[:, (sent[begin - 1] if begin else 0) : sent[begin + size - 1]] - begin
        longest = max(1, int(members[begin : begin + size].max()))
        height = max(1, min(_PAIRS, _NUMBERS // width) // longest)
        for start in range(begin, begin + size, height):
            stop = min(start + height, begin + size)
            first = ends[start - 1] if start else 0
            last = ends[stop - 1]
            block = pairs[:, first:last]
            yield block, _links(block, start, stop - start, begin, size, links), members[start:stop]
        begin += size


def _links(pairs: Tensor, start: int, anchors: int, begin: int, size: int, edges: Tensor) -> Tensor:
    """(2, T) positions among the pairs of some anchors of one graph: reader and read.

    Args:
        pairs: (2, P) of the anchors from ``start`` on.
        start: The first anchor.
        anchors: How many anchors there are.
        begin: The first node of the graph.
        size: Nodes of the graph.
        edges: (2, E) of the graph, its nodes counted from 0.
    """
    place = torch.full((size, anchors), -1, dtype=torch.int64, device=pairs.device)
    positions = torch.arange(pairs.shape[1], device=pairs.device)
    place[pairs[1] - begin, pairs[0] - start] = positions
    there = place >= 0
    senders, receivers = edges
    both = there.index_select(0, senders) & there.index_select(0, receivers)
    edge, anchor = both.nonzero(as_tuple=True)
    known = place.flatten()
    reader = known.index_select(0, receivers.index_select(0, edge) * anchors + anchor)
    read = known.index_select(0, senders.index_select(0, edge) * anchors + anchor)
    return torch.stack([reader, read])
