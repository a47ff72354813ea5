"""Supervised contrast with weights: a row must find the rows that are its own kind."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.losses.kernels.logsumexp import self_logsumexp
from nearfar.losses.kernels.similarity import (
    expect_no_nan,
    expect_shapes,
    expect_temperature,
    full_precision,
    similarity_bound,
    unit,
)

__all__ = ["masked_supcon"]


@full_precision
def masked_supcon(z: Tensor, weight: Tensor, *, temperature: float | Tensor = 0.1) -> Tensor:
    """Each row must find the other rows by the weight that they have for it.

        loss_i = - sum_{j != i} w_ij log( exp(s_ij) / sum_{l != i} exp(s_il) ) / sum_{j != i} w_ij
        s = cosine / tau

    The loss is the mean over the rows that have a positive weight; without any it is 0.

    Args:
        z: (N, D), made unit rows here.
        weight: (N, N) numbers from 0 on, or bool; a constant. The diagonal does not count.
        temperature: tau, above 0; a scalar tensor receives its gradient.

    Example:
        >>> import torch
        >>> z = torch.eye(2).repeat(2, 1)
        >>> masked_supcon(z, torch.eye(2).repeat(2, 2), temperature=0.5)
        tensor(0.2395)

    Source: Khosla et al. 2020, "Supervised Contrastive Learning", equation 2, with weights.
    """
    expect_shapes(z=(z, "N D"), weight=(weight, "N N"))
    expect_temperature(temperature)
    expect_no_nan("masked_supcon", weight=weight)
    rows = unit(z)
    share = weight.detach().to(rows)
    share = share - torch.diag(share.diagonal())
    total = share.sum(dim=1)
    found = total > 0
    if len(rows) == 1:
        return 0 * rows.sum()
    others = self_logsumexp(rows * (1 / temperature) ** 0.5, bound=similarity_bound(temperature))
    positive = ((share @ rows) * rows).sum(dim=1) / temperature
    losses = others - positive / torch.where(found, total, 1)
    return torch.where(found, losses, 0).sum() / found.sum().clamp(min=1)
