"""Contrast of two views of a heterogeneous graph, with weighted negatives and prototypes.

Source: Yu and Li 2023, "Heterogeneous Graph Contrastive Learning with Meta-path Contexts and
Weighted Negative Samples" (MEOW), and its adaptive form (AdaMEOW) 2024.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nearfar.losses.kernels.similarity import expect_shapes, expect_temperature, full_precision

__all__ = [
    "adaptive_contrast",
    "cluster_weights",
    "concentration",
    "prototype_contrast",
    "weighted_negatives",
]

_BLOCK = 1 << 24
"""Numbers in a block of pairs of the learned weights."""


def cluster_weights(assignments: Sequence[Tensor]) -> Tensor:
    """How many clusterings tell each two samples apart, 0 for a sample and itself.

        W_ij = number of clusterings r with c^r_i != c^r_j

    Args:
        assignments: R tensors (N,) int64.

    Returns:
        (N, N) float64, 0 to R.

    Example:
        >>> import torch
        >>> cluster_weights([torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])])
        tensor([[0., 1., 2.],
                [1., 0., 1.],
                [2., 1., 0.]], dtype=torch.float64)

    Source: Yu and Li 2023, equation 9.
    """
    if not assignments:
        raise ValueError("Weights of negatives need at least one clustering; found none.")
    return torch.stack([(one[:, None] != one).double() for one in assignments]).sum(dim=0)


@full_precision
def weighted_negatives(
    query: Tensor, key: Tensor, weight: Tensor, *, temperature: float | Tensor = 0.4
) -> Tensor:
    """Each query must find its own key; the positive is not in the denominator.

        loss = mean_i [ log( sum_j W_ij exp(q_i . k_j / tau) ) - q_i . k_i / tau ]

    A query whose weights are all 0 has log 1e-12 in the place of its sum's.

    Args:
        query: (N, D) unit rows of the coarse view; NOT made unit rows here.
        key: (N, D) unit rows of the fine view.
        weight: (N, N) from 0 on; a constant.
        temperature: tau, above 0; a scalar tensor receives its gradient.

    Example:
        >>> import torch
        >>> weighted_negatives(torch.eye(2), torch.eye(2), 1 - torch.eye(2), temperature=1.0)
        tensor(-1.)

    Source: Yu and Li 2023, equation 10.
    """
    expect_shapes(query=(query, "N D"), key=(key, "N D"), weight=(weight, "N N"))
    expect_temperature(temperature)
    similarity = query @ key.T / temperature
    held = weight.detach().to(similarity)
    empty = held.sum(dim=1) == 0
    weighted = torch.where(empty[:, None], 0.0, similarity + held.log()).logsumexp(dim=1)
    log_sum = torch.where(empty, math.log(1e-12), weighted)
    return (log_sum - similarity.diagonal()).mean()


@full_precision
def adaptive_contrast(
    query: Tensor,
    key: Tensor,
    weigh: Callable[[Tensor], Tensor],
    *,
    temperature: float | Tensor = 0.9,
    normalise: bool = False,
) -> Tensor:
    """As ``weighted_negatives``, with weights that a network learns, the positive's among them.

        loss = mean_i [ log sum_j w_ij exp(q_i . k_j / tau) - q_i . k_i / tau ]
        w_ij = sigmoid(weigh(q_i + k_j))

    Weights are computed a block of queries at a time.

    Args:
        query: (N, D) unit rows of the fine view; NOT made unit rows here.
        key: (N, D) unit rows of the coarse view.
        weigh: Maps (..., D) to (..., 1) logits.
        temperature: tau, above 0.
        normalise: Whether each row's weights are divided by their mean, which keeps them from 0.

    Example:
        >>> import torch
        >>> weigh = torch.nn.Linear(2, 1)
        >>> _ = torch.nn.init.zeros_(weigh.weight), torch.nn.init.zeros_(weigh.bias)
        >>> adaptive_contrast(torch.eye(2), torch.eye(2), weigh, temperature=1.0).detach()
        tensor(-0.3799)

    Source: AdaMEOW 2024, equations 11 and 12.
    """
    expect_shapes(query=(query, "N D"), key=(key, "N D"))
    expect_temperature(temperature)
    height = max(1, _BLOCK // max(1, key.numel()))
    losses = []
    for start in range(0, len(query), height):
        part = slice(start, start + height)
        logits = weigh(query[part, None] + key)[..., 0]
        logs = torch.nn.functional.logsigmoid(logits)
        if normalise:
            logs = logs - logs.logsumexp(dim=1, keepdim=True) + math.log(len(key))
        similarity = query[part] @ key.T / temperature
        own = similarity.diagonal(start)
        losses.append((similarity + logs).logsumexp(dim=1) - own)
    return torch.cat(losses).mean()


def concentration(
    features: Tensor,
    assignment: Tensor,
    centroids: Tensor,
    *,
    temperature: float = 0.4,
    distance: str = "euclidean",
) -> Tensor:
    """How spread each cluster is, as a temperature of its own.

        phi_k = mean of |x - m_k| over the cluster / log(n_k + 5)

    A cluster of one sample takes the largest phi; then phi is clipped to its 10th and 90th
    percentile and scaled to the mean ``temperature``.

    Args:
        features: (N, D).
        assignment: (N,) int64.
        centroids: (K, D), as they are.
        temperature: Mean of the result, above 0.
        distance: "euclidean", or "product" with the root of max(x . m_k, 0), as the released
            code has it.

    Returns:
        (K,), without gradient.

    Example:
        >>> import torch
        >>> x, label = torch.tensor([[0.0], [2.0], [9.0]]), torch.tensor([0, 0, 1])
        >>> concentration(x, label, torch.tensor([[1.0], [9.0]]))
        tensor([0.4000, 0.4000])

    Source: Li et al. 2021, "Prototypical Contrastive Learning of Unsupervised Representations",
    equation 12, in the authors' code.
    """
    expect_shapes(features=(features, "N D"), assignment=(assignment, "N"))
    expect_temperature(temperature)
    if distance not in ("euclidean", "product"):
        raise ValueError(f"Unknown distance {distance!r}: valid are 'euclidean' and 'product'.")
    x, centre = features.detach(), centroids.detach()[assignment]
    far = (
        (x - centre).norm(dim=1)
        if distance == "euclidean"
        else (x * centre).sum(1).clamp(min=0).sqrt()
    )
    count = torch.bincount(assignment, minlength=len(centroids)).to(x)
    total = x.new_zeros(len(centroids)).index_add_(0, assignment, far)
    spread = total / count.clamp(min=1) / (count + 5).log()
    several = count > 1
    most = spread[several].max() if bool(several.any()) else spread.new_ones(())
    spread = torch.where(several, spread, most)
    low, high = torch.quantile(spread, spread.new_tensor([0.1, 0.9]))
    spread = spread.clamp(low, high)
    return temperature * spread / spread.mean()


@full_precision
def prototype_contrast(
    query: Tensor,
    assignments: Sequence[Tensor],
    prototypes: Sequence[Tensor],
    concentrations: Sequence[Tensor],
) -> Tensor:
    """Each query must find the prototype of its cluster, in each of several clusterings.

        loss = mean over r and i of
               log( N/K_r sum_k exp(q_i . m_k / phi_k) ) - q_i . m_c(i) / phi_c(i)

    Args:
        query: (N, D) unit rows; NOT made unit rows here.
        assignments: R tensors (N,) int64.
        prototypes: R tensors (K_r, D) of unit centroids; constants.
        concentrations: R tensors (K_r,) phi, above 0; constants.

    Example:
        >>> import torch
        >>> label, ones = torch.tensor([0, 1]), torch.ones(2)
        >>> prototype_contrast(torch.eye(2), [label], [torch.eye(2)], [ones])
        tensor(0.3133)

    Source: Yu and Li 2023, equation 12; Li et al. 2021.
    """
    if not assignments or not len(assignments) == len(prototypes) == len(concentrations):
        found = f"{len(assignments)}, {len(prototypes)} and {len(concentrations)}"
        raise ValueError(
            f"Assignments, prototypes and concentrations of the same clusterings; found {found}."
        )
    losses = []
    for label, centre, phi in zip(assignments, prototypes, concentrations, strict=True):
        logits = query @ centre.detach().to(query).T / phi.detach().to(query)
        own = logits.gather(1, label[:, None])[:, 0]
        losses.append(logits.logsumexp(dim=1) + math.log(len(query) / len(centre)) - own)
    return torch.stack(losses).mean()
