"""Block contrast by meta-nodes: negatives between K clusters in the place of N x N pairs.

Source: Kulatilleke et al. 2022, "Efficient block contrastive learning via parameter-free meta-node
approximation" (PamC).
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.losses.kernels.similarity import (
    expect_shapes,
    expect_temperature,
    full_precision,
    unit,
)

__all__ = [
    "assignment_divergence",
    "clustering_graph",
    "influence",
    "meta_node_contrast",
    "node_contrast",
    "sharpened",
    "student_assignment",
]

_LEAST = 1e-10


def clustering_graph(adjacency: Tensor) -> Tensor:
    """A graph made symmetric, with a loop at every node, each row divided by its sum.

        A_0 <- max(A_0, A_0^T), diagonal 1;  A = D^-1 A_0

    Args:
        adjacency: (N, N) A_0, from 0 on.

    Example:
        >>> import torch
        >>> clustering_graph(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])

    Source: Kulatilleke et al. 2022, section 3.1.
    """
    whole = torch.maximum(adjacency, adjacency.T).clone().fill_diagonal_(1)
    return whole / whole.sum(dim=1, keepdim=True)


def influence(adjacency: Tensor, order: int, *, summed: bool = True) -> Tensor:
    """Powers of a row-normalised adjacency: S = A + A^2 + ... + A^order, or A^order alone.

    Args:
        adjacency: (N, N) A.
        order: R, from 1 on.
        summed: Whether the powers are summed.

    Example:
        >>> import torch
        >>> influence(torch.eye(2), 3)
        tensor([[3., 0.],
                [0., 3.]])

    Source: Kulatilleke et al. 2022, equation 4.
    """
    if order < 1:
        raise ValueError(f"Influence of order {order} was asked for; expected at least 1.")
    power = total = adjacency
    for _ in range(order - 1):
        power = power @ adjacency
        total = total + power
    return total if summed else power


@full_precision
def student_assignment(features: Tensor, centres: Tensor, *, freedom: float = 1.0) -> Tensor:
    """Soft clusters by Student's t.

        q_ik ~ (1 + |z_i - m_k|^2 / v)^-((v + 1) / 2), rows sum to 1

    Args:
        features: (N, D) z.
        centres: (K, D) m.
        freedom: v, above 0.

    Example:
        >>> import torch
        >>> student_assignment(torch.zeros(1, 1), torch.tensor([[0.0], [1.0]]))
        tensor([[0.6667, 0.3333]])

    Source: Xie et al. 2016, "Unsupervised Deep Embedding for Clustering Analysis", equation 1.
    """
    expect_shapes(features=(features, "N D"), centres=(centres, "K D"))
    expect_temperature(freedom, "freedom")
    distance = (features[:, None] - centres).square().sum(dim=2)
    return (-(freedom + 1) / 2 * (1 + distance / freedom).log()).softmax(dim=1)


@torch.no_grad()
def sharpened(assignment: Tensor) -> Tensor:
    """Targets that make clusters purer: p_ik ~ q_ik^2 / sum_i q_ik, rows sum to 1.

    >>> import torch
    >>> sharpened(torch.tensor([[0.8, 0.2], [0.2, 0.8]]))
    tensor([[0.9412, 0.0588],
            [0.0588, 0.9412]])

    Source: Xie et al. 2016, equation 3.
    """
    weight = assignment.square() / assignment.sum(dim=0)
    return weight / weight.sum(dim=1, keepdim=True)


@full_precision
def assignment_divergence(target: Tensor, assignment: Tensor) -> Tensor:
    """KL divergence of soft clusters from their targets: 1/N sum_ik p log(p / q).

    Args:
        target: (N, K) p; a constant.
        assignment: (N, K) q.

    Example:
        >>> import torch
        >>> assignment_divergence(torch.eye(2), torch.full((2, 2), 0.5))
        tensor(0.6931)

    Source: Xie et al. 2016, equation 2.
    """
    expect_shapes(target=(target, "N K"), assignment=(assignment, "N K"))
    p = target.detach()
    return (torch.xlogy(p, p) - torch.xlogy(p, assignment)).sum() / len(p)


@full_precision
def meta_node_contrast(
    z: Tensor,
    label: Tensor,
    edges: Tensor,
    strength: Tensor,
    *,
    clusters: int,
    temperature: float = 0.5,
) -> Tensor:
    """Nodes attract those they are influenced by; sums over clusters repel one another.

        pos_i = sum over edges (i, j) of S_ij exp(tau s_ij),  s = cosine, s_ii = 0
        neg_k = sum_l exp(tau t_kl),  t = cosine of meta-nodes m_k = sum of z in cluster k, t_kk = 0
        loss = -mean_i log(pos_i + 1e-10) + mean_k log(neg_k + 1e-10)

    tau multiplies. A cluster without nodes is left out.

    Args:
        z: (N, D).
        label: (N,) int64 clusters; constants.
        edges: (2, E) int64, i and j.
        strength: (E,) S.
        clusters: K.
        temperature: tau, above 0.

    Example:
        >>> import torch
        >>> loops = torch.arange(2).repeat(2, 1)
        >>> meta_node_contrast(torch.eye(2), torch.tensor([0, 1]), loops, torch.ones(2), clusters=2)
        tensor(0.6931)

    Source: Kulatilleke et al. 2022, equations 7 to 10.
    """
    expect_shapes(z=(z, "N D"), label=(label, "N"))
    expect_shapes(edges=(edges, "two E"), strength=(strength, "E"))
    expect_temperature(temperature)
    positive = _positives(unit(z), edges, strength, temperature)
    sums = z.new_zeros(clusters, z.shape[1]).index_add(0, label, z)
    there = torch.bincount(label, minlength=clusters) > 0
    rows = unit(sums[there])
    similarity = rows @ rows.T
    similarity = similarity - torch.diag(similarity.diagonal())
    negative = (temperature * similarity).exp().sum(dim=1)
    return (negative + _LEAST).log().mean() - (positive + _LEAST).log().mean()


@full_precision
def node_contrast(
    z: Tensor, edges: Tensor, strength: Tensor, *, temperature: float = 0.5
) -> Tensor:
    """The same with all pairs of nodes in the place of meta-nodes, at quadratic cost.

        loss = -mean_i log( pos_i / sum_j exp(tau s_ij) ),  s = cosine, s_ii = 0

    Args:
        z: (N, D).
        edges: (2, E) int64.
        strength: (E,) S.
        temperature: tau, above 0; multiplies.

    Example:
        >>> import torch
        >>> loops = torch.arange(2).repeat(2, 1)
        >>> node_contrast(torch.eye(2), loops, torch.ones(2))
        tensor(0.6931)

    Source: Kulatilleke et al. 2022, SCGC, equation 3.
    """
    expect_shapes(z=(z, "N D"), edges=(edges, "two E"))
    expect_temperature(temperature)
    rows = unit(z)
    positive = _positives(rows, edges, strength, temperature)
    similarity = rows @ rows.T
    similarity = similarity - torch.diag(similarity.diagonal())
    return ((temperature * similarity).logsumexp(dim=1) - positive.log()).mean()


def _positives(rows: Tensor, edges: Tensor, strength: Tensor, temperature: float) -> Tensor:
    cosine = (rows[edges[0]] * rows[edges[1]]).sum(dim=1)
    cosine = torch.where(edges[0] == edges[1], 0, cosine)
    pull = strength.to(rows) * (temperature * cosine).exp()
    return rows.new_zeros(len(rows)).index_add(0, edges[0], pull)
