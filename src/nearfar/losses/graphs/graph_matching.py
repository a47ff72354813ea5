"""Matching of two graphs as a loss: a solver in the forward pass, a second one for its gradient.

Two views of n images are two graphs. A matching v assigns the nodes of the one to those of the
other, and two edges (i, j) and (a, b) are matched where both their ends are.

    v* = argmin over permutations v of sum_ia C_ia v_ia + sum_(ij)(ab) E_(ij)(ab) v_ia v_jb
    loss = sum_ia v*_ia (1 - [i = a]) + (1 - v*_ia) [i = a]

The loss is piecewise constant. Its gradient is that of an interpolation: with C' = C + lambda
dloss/dv the solver gives v', and dloss/dC = (v' - v*) / lambda.

Source: Nguyen et al. 2023, "LVM-Med: Learning Large-Scale Self-Supervised Vision Models for Medical
Imaging via Second-order Graph Matching"; Vlastelica et al. 2020, "Differentiation of Blackbox
Combinatorial Solvers".
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import softplus

from nearfar.errors import UserError, unknown_name
from nearfar.losses.kernels.similarity import expect_shapes, full_precision, unit

__all__ = [
    "affinities",
    "graph_matching",
    "nearest_edges",
    "position_pairs",
    "solve_matching",
]

_EXACT = 6
"""Nodes up to which all permutations are tried."""


def nearest_edges(z: Tensor, neighbours: int) -> Tensor:
    """Edges from each node to its nearest others, (2, n k) int64; of equally near ones the first.

    Args:
        z: (n, D); distances are Euclidean.
        neighbours: k, from 1 to n - 1.

    Example:
        >>> import torch
        >>> nearest_edges(torch.tensor([[0.0], [1.0], [3.0]]), 1)
        tensor([[0, 1, 2],
                [1, 0, 1]])

    Source: Nguyen et al. 2023, section 3.1.
    """
    if not 1 <= neighbours < len(z):
        raise UserError(f"{neighbours} neighbours of {len(z)} nodes; expected 1 to {len(z) - 1}.")
    distance = torch.cdist(z.detach(), z.detach()).fill_diagonal_(torch.inf)
    near = distance.argsort(dim=1, stable=True)[:, :neighbours]
    senders = torch.arange(len(z), device=z.device).repeat_interleave(neighbours)
    return torch.stack([senders, near.flatten()])


@full_precision
def affinities(
    first: Tensor, second: Tensor, edges: Tensor, other_edges: Tensor, *, kind: str = "cosine"
) -> tuple[Tensor, Tensor]:
    """How alike the nodes and the edges of two graphs are.

        cosine    A_ia = cos(s_i, t_a),  E_(ij)(ab) = cos(s_i - s_j, t_a - t_b)
        softplus  log(1 + exp(product)) - 1/2 in the place of the cosine

    Args:
        first: (n, D) s.
        second: (n, D) t.
        edges: (2, E) int64 of the first graph, (i, j).
        other_edges: (2, F) int64 of the second, (a, b).
        kind: "cosine" or "softplus".

    Returns:
        (n, n) and (E, F).

    Example:
        >>> import torch
        >>> edges = torch.tensor([[0], [1]])
        >>> affinities(torch.eye(2), torch.eye(2).flip(0), edges, edges)[1].round()
        tensor([[-1.]])

    Source: Nguyen et al. 2023, equations 3 and 4.
    """
    expect_shapes(first=(first, "n D"), second=(second, "n D"))
    if kind not in ("cosine", "softplus"):
        raise unknown_name("kind of affinity", kind, ["cosine", "softplus"])
    one, other = (x[e[0]] - x[e[1]] for x, e in ((first, edges), (second, other_edges)))
    if kind == "cosine":
        return unit(first) @ unit(second).T, unit(one) @ unit(other).T
    return softplus(first @ second.T) - 0.5, softplus(one @ other.T) - 0.5


def solve_matching(
    nodes: NDArray[np.float64],
    pairs: NDArray[np.float64],
    edges: NDArray[np.int64],
    other_edges: NDArray[np.int64],
) -> NDArray[np.int64]:
    """The cheapest permutation: exact up to six nodes, else an assignment improved by swaps.

    Args:
        nodes: (n, n) costs C of matching i with a.
        pairs: (E, F) costs of matching two edges.
        edges: (2, E).
        other_edges: (2, F).

    Returns:
        (n,) int64, the partner of each node.

    Example:
        >>> none = np.zeros((2, 0), dtype=np.int64)
        >>> solve_matching(np.eye(2), np.zeros((0, 0)), none, none).tolist()
        [1, 0]

    Source: Nguyen et al. 2023, equation 5; the swaps stand in for their solver.
    """
    n = len(nodes)
    quadratic = np.zeros((n, n, n, n))
    i, j = edges[:, :, None]
    a, b = other_edges[:, None]
    np.add.at(quadratic, (i, j, a, b), pairs)

    def costs(orders: NDArray[np.int64]) -> NDArray[np.float64]:
        place = np.arange(n)
        linear = nodes[place, orders].sum(axis=1)
        left, right = place[:, None], place[None]
        both = quadratic[left, right, orders[:, :, None], orders[:, None]]
        return np.asarray(linear + both.sum(axis=(1, 2)))

    if n <= _EXACT:
        every = np.array(list(itertools.permutations(range(n))), dtype=np.int64)
        return np.asarray(every[costs(every).argmin()])
    best = np.asarray(linear_sum_assignment(nodes)[1], dtype=np.int64)
    swaps = np.array(list(itertools.combinations(range(n), 2)))
    lowest = costs(best[None])[0]
    while True:
        tried = best[None].repeat(len(swaps), axis=0)
        row = np.arange(len(swaps))
        tried[row, swaps[:, 0]], tried[row, swaps[:, 1]] = best[swaps[:, 1]], best[swaps[:, 0]]
        found = costs(tried)
        if found.min() >= lowest - 1e-12:
            return best
        best, lowest = tried[found.argmin()], found.min()


class _Matching(torch.autograd.Function):
    """Matchings of nodes and edges; the gradient is that of the interpolation."""

    @staticmethod
    def forward(
        ctx: Any, nodes: Tensor, pairs: Tensor, edges: Tensor, other: Tensor, strength: float
    ) -> tuple[Tensor, Tensor]:
        matched = _matched(nodes, pairs, edges, other)
        ctx.save_for_backward(nodes, pairs, edges, other, *matched)
        ctx.strength = strength
        return matched

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        nodes, pairs, edges, other, *matched = ctx.saved_tensors
        moved = nodes + ctx.strength * upstream[0]
        again = _matched(moved, pairs + ctx.strength * upstream[1], edges, other)
        slopes = [(new - old) / ctx.strength for new, old in zip(again, matched, strict=True)]
        return *slopes, None, None, None


@full_precision
def graph_matching(
    first: Tensor,
    second: Tensor,
    edges: Tensor,
    other_edges: Tensor,
    *,
    strength: float = 80.0,
    noise: tuple[Tensor, Tensor] | None = None,
    margin: float = 0.0,
    kind: str = "cosine",
    node_affinity: Tensor | None = None,
) -> Tensor:
    """Two views of the same images must be matched image by image.

        with noise g:   C = -(A + g - 1/2),   E = -1/2 (affinity of edges + g' - 1/2)
        without:        C = -A + margin I,    E = -1/2 affinity of edges

    and the loss of the module's text, a whole number from 0 to 2 n.

    Args:
        first: (n, D) nodes of the first view.
        second: (n, D) of the second, in the same order.
        edges: (2, E) int64 of the first graph.
        other_edges: (2, F) int64 of the second.
        strength: lambda, above 0; a large one gives the gradient of a perceptron.
        noise: (n, n) and (E, F) draws, Gumbel times 0.05 in the paper; None for none.
        margin: Makes the true match harder where there is no noise.
        kind: As in ``affinities``.
        node_affinity: (n, n) A, such as a mixture of global and local affinities; None for that of
            the nodes.

    Example:
        >>> import torch
        >>> edges = torch.tensor([[0, 1], [1, 0]])
        >>> z = torch.eye(2, requires_grad=True)
        >>> graph_matching(z, torch.eye(2).flip(0), edges, edges).item()
        4.0

    Source: Nguyen et al. 2023, equations 5 to 8.
    """
    if not strength > 0:
        raise ValueError(f"The strength of the interpolation is {strength}; expected above 0.")
    alike, edge_alike = affinities(first, second, edges, other_edges, kind=kind)
    alike = alike if node_affinity is None else node_affinity
    truth = torch.eye(len(first), dtype=alike.dtype, device=alike.device)
    if noise is None:
        nodes, pairs = -alike + margin * truth, -0.5 * edge_alike
    else:
        own, between = (one.to(alike) for one in noise)
        nodes, pairs = -(alike + own - 0.5), -0.5 * (edge_alike + between - 0.5)
    matching, _ = _Matching.apply(nodes, pairs, edges, other_edges, strength)
    return _hamming(matching, truth)


def position_pairs(
    first: Tensor, second: Tensor, keys: Tensor, other_keys: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Positions of one map with their nearest positions of another.

    Of all positions of the first map those ``count`` remain whose nearest partner is closest.

    Args:
        first: (N, P, C) features at P positions.
        second: (N, R, C).
        keys: (N, P, K) what is compared: the features, or places in the original image.
        other_keys: (N, R, K).
        count: gamma, from 1 to P.

    Returns:
        (N, count, C) features of the first map, in the order of positions, and of their partners.

    Example:
        >>> import torch
        >>> x, y = torch.tensor([[[0.0], [5.0]]]), torch.tensor([[[4.0], [9.0]]])
        >>> position_pairs(x, y, x, y, 1)
        (tensor([[[5.]]]), tensor([[[4.]]]))

    Source: Bardes et al. 2022, "VICRegL", section 3.2, as LVM-Med uses it.
    """
    if not 1 <= count <= first.shape[1]:
        raise ValueError(
            f"{count} pairs of {first.shape[1]} positions; expected that many at most."
        )
    distance = torch.cdist(keys, other_keys, compute_mode="donot_use_mm_for_euclid_dist")
    closest, partner = distance.min(dim=2)
    chosen = closest.argsort(dim=1, stable=True)[:, :count].sort(dim=1)[0]
    theirs = partner.gather(1, chosen)

    def at(x: Tensor, place: Tensor) -> Tensor:
        return x.gather(1, place[..., None].expand(-1, -1, x.shape[2]))

    return at(first, chosen), at(second, theirs)


def _matched(nodes: Tensor, pairs: Tensor, edges: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """The matching (n, n) of nodes, and that of edges (E, F), in the costs' type."""
    costs, edge_costs = (one.detach().cpu().double().numpy() for one in (nodes, pairs))
    order = solve_matching(costs, edge_costs, edges.cpu().numpy(), other.cpu().numpy())
    partner = torch.from_numpy(order).to(nodes.device)
    matching = torch.nn.functional.one_hot(partner, len(order)).to(nodes)
    starts, ends = matching[edges[0]][:, other[0]], matching[edges[1]][:, other[1]]
    return matching, starts * ends


def _hamming(matching: Tensor, truth: Tensor) -> Tensor:
    return (matching * (1 - truth) + (1 - matching) * truth).sum()
