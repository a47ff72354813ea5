"""Attention along edges: a graph attention layer, and one that weighs functional nodes in full."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from nearfar.errors import UserError
from nearfar.networks.graphs.edges import (
    Spread,
    check_edges,
    incoming,
    segment_softmax,
    spread_of,
)

__all__ = ["FunctionalAttention", "GraphAttention", "functional_attention"]


class GraphAttention(nn.Module):
    """One head of graph attention with self loops.

        h = W x,  e_ij = LeakyReLU(a . h_j + b . h_i),  x'_i = c + sum_j softmax_j(e_ij) h_j

    Source: Velickovic et al. 2018, "Graph Attention Networks", equations 1 to 4.
    """

    def __init__(self, inputs: int, width: int, *, slope: float = 0.2) -> None:
        super().__init__()
        self.slope = slope
        self.lift = nn.Linear(inputs, width, bias=False)
        self.sender = nn.Linear(width, 1, bias=False)
        self.receiver = nn.Linear(width, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))
        for layer in (self.lift, self.sender, self.receiver):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, x: Tensor, edges: Tensor | Spread) -> Tensor:
        """(M, inputs) and (2, E) int64, or what ``symmetric`` made of them, to (M, width)."""
        whole = spread_of(edges, x)
        senders, receivers = whole.edges
        h = self.lift(x)
        logits = self.sender(h)[senders, 0] + self.receiver(h)[receivers, 0]
        share = segment_softmax(leaky_relu(logits, self.slope), receivers, len(x))
        return whole(h, share.to(h.dtype)) + self.bias


def functional_attention(
    h: Tensor,
    edges: Tensor,
    functional: Tensor,
    sender: Tensor,
    receiver: Tensor,
    *,
    context: float = 0.5,
    slope: float = 0.01,
    flag: str = "sender",
) -> tuple[Tensor, Tensor]:
    """Attention in which what a contextual node sends has its logit scaled down.

        e_ij = LeakyReLU(a . h_j + b . h_i) (f_j + context (1 - f_j))
        alpha_ij = softmax of e_ij over the senders j of i,  y_i = sum_j alpha_ij h_j

    Args:
        h: (M, D) nodes.
        edges: (2, E) int64, senders and receivers.
        functional: (M,) f, 1 for functional nodes and 0 for contextual ones.
        sender: (D,) a.
        receiver: (D,) b.
        context: What remains of a contextual sender's logit, in [0, 1].
        slope: Of the leaky ReLU.
        flag: Whose flag scales an edge: the "sender"'s as intended, or the "receiver"'s, which only
            softens a node's own attention, as the released code has it.

    Returns:
        (M, D) y, 0 for a node that nothing reaches, and (E,) alpha.

    Example:
        >>> h, edges = torch.eye(2), torch.tensor([[0, 1], [0, 0]])
        >>> y, alpha = functional_attention(h, edges, torch.tensor([1.0, 0.0]), h[0], h[1])
        >>> alpha
        tensor([0.7311, 0.2689])

    Source: ProteinRPN 2024, functional node attention, with the flag of the sender as intended.
    """
    check_edges(edges, len(h))
    if functional.shape != (len(h),):
        found = tuple(functional.shape)
        raise UserError(f"The functional flags must be ({len(h)},), one a node; found {found}.")
    if flag not in ("sender", "receiver"):
        raise UserError(f"The flag is of the {flag!r}; expected 'sender' or 'receiver'.")
    held = functional.to(h)[edges[0 if flag == "sender" else 1]]
    logits = leaky_relu((h @ sender)[edges[0]] + (h @ receiver)[edges[1]], slope)
    share = segment_softmax(logits * (held + context * (1 - held)), edges[1], len(h))
    return incoming(share[:, None] * h[edges[0]], edges[1], len(h)), share


class FunctionalAttention(nn.Module):
    """``functional_attention`` over W x with learned W, a and b; the width stays.

    Source: ProteinRPN 2024.
    """

    def __init__(self, width: int, *, context: float = 0.5, slope: float = 0.01) -> None:
        super().__init__()
        self.context = context
        self.slope = slope
        self.lift = nn.Linear(width, width, bias=False)
        self.sender = nn.Parameter(torch.empty(1, width))
        self.receiver = nn.Parameter(torch.empty(1, width))
        for weight in (self.lift.weight, self.sender, self.receiver):
            nn.init.xavier_uniform_(weight)

    def forward(self, x: Tensor, edges: Tensor, functional: Tensor) -> Tensor:
        """(M, width) of (M, width), (2, E) int64 and flags (M,)."""
        h = self.lift(x)
        y, _ = functional_attention(
            h,
            edges,
            functional,
            self.sender[0],
            self.receiver[0],
            context=self.context,
            slope=self.slope,
        )
        return y
