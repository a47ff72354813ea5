"""Anchors: the nodes within k hops of every node, as pairs, and which of them a site covers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.networks.graphs.cones import penumbral_logits
from nearfar.networks.graphs.edges import check_edges, graph_of_node, incoming

__all__ = ["anchor_targets", "hierarchy_scores", "k_hop", "kept_members", "overlap"]


def k_hop(edges: Tensor, nodes: int, hops: int) -> Tensor:
    """Pairs (anchor, member): the member reaches the anchor in at most ``hops`` edges.

    Args:
        edges: (2, E) int64.
        nodes: M.
        hops: At least 0; a node is always a member of its own anchor.

    Returns:
        (2, P) int64, sorted by anchor, then by member.

    Example:
        >>> k_hop(torch.tensor([[0, 1], [1, 2]]), 3, 1)
        tensor([[0, 1, 1, 2, 2],
                [0, 0, 1, 1, 2]])
    """
    check_edges(edges, nodes)
    if hops < 0:
        raise UserError(f"An anchor of {hops} hops was asked for; expected at least 0.")
    device = edges.device
    order = edges[1].argsort(stable=True)
    senders = edges[0][order]
    degree = torch.bincount(edges[1], minlength=nodes)
    start = degree.cumsum(0) - degree
    found = torch.arange(nodes, device=device) * (nodes + 1)
    for _ in range(hops):
        anchor, member = found // nodes, found % nodes
        count = degree[member]
        source = torch.repeat_interleave(torch.arange(len(member), device=device), count)
        within = torch.arange(len(source), device=device) - (count.cumsum(0) - count)[source]
        reached = anchor[source] * nodes + senders[start[member][source] + within]
        found = torch.unique(torch.cat([found, reached]))
    return torch.stack([found // nodes, found % nodes])


def hierarchy_scores(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    adjacency: Tensor,
    secondary: Tensor,
    distance: Tensor,
    *,
    structure: float = 0.5,
    nearness: float = 0.5,
    scale: float = 10.0,
) -> tuple[Tensor, Tensor]:
    """How much each member of an anchor belongs to a site, by cone attention inside the anchor.

        a_jl = softmax over l of penumbral(q_j, k_l), on edges and the member itself
        s_j = sum_l a_jl v_l + structure [j in a helix or strand] - nearness distance_j / scale

    Args:
        query: (..., n, d), d at least 2.
        key: (..., n, d).
        value: (..., n).
        adjacency: (..., n, n) bool, entry (j, l) where l sends to j; the diagonal counts as there.
        secondary: (..., n), 1 in a helix or strand.
        distance: (..., n) to the anchor's centre.
        structure: Bonus of helices and strands.
        nearness: Penalty of distance.
        scale: Unit of distance, above 0.

    Returns:
        (..., n, n) a and (..., n) s, whose sigmoid is the member's probability.

    Source: ProteinRPN 2024, hierarchy-aware node drop, put together here from its abstract and
    Tseng et al. 2023.
    """
    itself = torch.eye(query.shape[-2], dtype=torch.bool, device=query.device)
    logits = penumbral_logits(query, key)
    logits = logits.masked_fill(~(adjacency | itself), -torch.inf)
    share = logits.softmax(dim=-1)
    read = (share @ value[..., None])[..., 0]
    return share, read + structure * secondary.to(read) - nearness * distance / scale


def kept_members(scores: Tensor, there: Tensor, share: float) -> Tensor:
    """The ceil(share n) highest scores among the n members of each row; of equal scores the first.

    Args:
        scores: (B, L).
        there: (B, L) bool, which places hold a member.
        share: Above 0, at most 1.

    Returns:
        (B, L) bool.

    Example:
        >>> kept_members(torch.tensor([[3.0, 1.0, 2.0]]), torch.ones(1, 3, dtype=torch.bool), 0.5)
        tensor([[ True, False,  True]])
    """
    if not 0 < share <= 1:
        raise UserError(f"The share of members to keep is {share}; expected above 0 and at most 1.")
    order = scores.masked_fill(~there, -torch.inf).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(scores.shape[1], device=scores.device).expand_as(order)
    )
    wanted = (there.sum(dim=1).double() * share - 1e-9).ceil().long()
    return (rank < wanted[:, None]) & there


def anchor_targets(pairs: Tensor, sites: Tensor, sizes: Tensor, *, coverage: float = 0.7) -> Tensor:
    """Which anchors are functional: the centre is in a site of which enough lies within the anchor.

    Args:
        pairs: (2, P) int64, anchor and member.
        sites: (M, S) bool, the sites of each graph; an unused column is empty.
        sizes: (N,) nodes of each graph.
        coverage: Share of the site's nodes that must be members.

    Returns:
        (M,) bool.

    Example:
        >>> pairs = torch.tensor([[0, 0, 1, 2], [0, 1, 1, 2]])
        >>> anchor_targets(pairs, torch.tensor([[True], [True], [False]]), torch.tensor([3]))
        tensor([ True, False, False])

    Source: ProteinRPN 2024.
    """
    if not math.isfinite(coverage) or not 0 < coverage <= 1:
        raise UserError(f"The coverage of a site is {coverage}; expected above 0 and at most 1.")
    graph = graph_of_node(sizes)
    member = sites.double()
    whole = incoming(member, graph, len(sizes))
    within = incoming(member[pairs[1]], pairs[0], len(sites))
    return (sites.bool() & (within >= coverage * whole[graph] - 1e-9)).any(dim=1)


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of two sets of nodes, (M,) bool each; 0 for two empty ones.

    >>> overlap(torch.tensor([True, True, False]), torch.tensor([False, True, True]))
    tensor(0.3333)
    """
    union = (first | second).sum()
    return (first & second).sum() / union.clamp(min=1)
