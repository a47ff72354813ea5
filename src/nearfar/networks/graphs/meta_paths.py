"""Meta-paths of a heterogeneous graph: filtered counts, normalisation, attention over views."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nearfar.errors import UserError

__all__ = [
    "SemanticAttention",
    "normalised_adjacency",
    "path_similarity_filter",
    "whole_layer_norm",
]


def path_similarity_filter(counts: Tensor, keep: int) -> Tensor:
    """Counts of instances of a meta-path, of which each row keeps the most similar.

        s_ij = 2 A_ij / (A_ii + A_jj) where A_ij > 0

    Args:
        counts: (N, N) A, from 0 on, with the diagonal.
        keep: Entries of a row that stay, the diagonal among them; of equal ones the first.

    Returns:
        (N, N) in the counts' type; not symmetric.

    Example:
        >>> path_similarity_filter(torch.tensor([[2, 1, 2], [1, 1, 0], [2, 0, 9]]), 2).tolist()
        [[2, 1, 0], [1, 1, 0], [2, 0, 9]]

    Source: Sun et al. 2011, "PathSim", as MEOW 2023 uses it.
    """
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or keep < 1:
        raise UserError(f"Counts (N, N) and entries to keep; found {tuple(counts.shape)}, {keep}.")
    own = counts.diagonal().double()
    scale = own[:, None] + own
    score = torch.where(counts > 0, 2 * counts.double() / scale.clamp(min=1e-12), -1.0)
    order = score.argsort(dim=1, descending=True, stable=True)[:, :keep]
    kept = torch.zeros_like(counts, dtype=torch.bool).scatter_(1, order, True)
    return torch.where(kept, counts, torch.zeros_like(counts))


def normalised_adjacency(adjacency: Tensor) -> Tensor:
    """D^-1/2 A^T D^-1/2 with D the row sums of (N, N) A; a row without entries gives 0.

    >>> normalised_adjacency(torch.tensor([[1.0, 1.0], [0.0, 1.0]]))
    tensor([[0.5000, 0.0000],
            [0.7071, 1.0000]])

    Source: MEOW 2023, authors' code.
    """
    held = adjacency if adjacency.is_floating_point() else adjacency.double()
    total = held.sum(dim=1)
    scale = torch.where(total > 0, total, 1).rsqrt() * (total > 0)
    return scale[:, None] * held.T * scale


def whole_layer_norm(x: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """Layer norm with one mean and one variance for the whole matrix.

    >>> whole_layer_norm(torch.tensor([[1.0, -1.0], [1.0, -1.0]])).round()
    tensor([[ 1., -1.],
            [ 1., -1.]])

    Source: MEOW 2023, authors' encoder.
    """
    return torch.nn.functional.layer_norm(x, x.shape, eps=epsilon)


class SemanticAttention(nn.Module):
    """A weighted sum of K views of the same nodes.

        w_k = a . mean_i tanh(F z_ki + b),  beta = softmax(w),  z = sum_k beta_k z_k

    Source: Wang et al. 2019, "Heterogeneous Graph Attention Network", equations 7 to 9.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lift = nn.Linear(width, width)
        self.attention = nn.Parameter(torch.empty(1, width))
        nn.init.xavier_normal_(self.lift.weight, gain=1.414)
        nn.init.xavier_normal_(self.attention, gain=1.414)

    def forward(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """(N, width) z and (K,) beta of views (K, N, width)."""
        logits = self.lift(views).tanh().mean(dim=1) @ self.attention[0]
        share = logits.softmax(dim=0)
        return torch.einsum("k,knd->nd", share, views), share
