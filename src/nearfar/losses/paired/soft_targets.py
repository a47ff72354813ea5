"""InfoNCE with soft targets: a row's right answer is a distribution, or weights, over all
candidates.

    loss_i = - sum_j t_ij log softmax_j(s_ij) = (sum_j t_ij) log sum_j exp(s_ij) - sum_j t_ij s_ij,
      s = cosine / tau

The log-sum-exps come from the blockwise core and the last term is a product with the weighted sum
of the candidates, so no matrix of logits is kept. Inputs are made unit rows here; wrong shapes
raise ValueError.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nearfar.losses.instance.contrastive import info_nce
from nearfar.losses.kernels.blocks import in_row_blocks
from nearfar.losses.kernels.logsumexp import mutual_logsumexp, row_logsumexp
from nearfar.losses.kernels.similarity import (
    expect_rows,
    expect_shapes,
    expect_temperature,
    full_precision,
    reduce,
    unit,
)

__all__ = ["cwcl", "mixed_clip", "soft_clip", "soft_info_nce"]


@full_precision
def soft_info_nce(
    query: Tensor,
    key: Tensor,
    target: Tensor,
    *,
    temperature: float | Tensor = 0.1,
    reduction: str = "mean",
) -> Tensor:
    """Each query must give the target's weights to the keys.

    Args:
        query: (N, D).
        key: (M, D).
        target: (N, M) weights; rows that sum to 1 are distributions. The identity gives
            ``info_nce``.
        temperature: tau, above 0; a scalar tensor receives its gradient.
        reduction: "mean" over the N queries, or "none": (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses import soft_info_nce
        >>> query, key, target = torch.eye(3), torch.eye(3), torch.full((3, 3), 1 / 3)
        >>> soft_info_nce(query, key, target, temperature=0.5)
        tensor(1.5729)

    Source: van den Oord et al. 2018 with the cross-entropy of a soft label.
    """
    expect_temperature(temperature)
    expect_shapes(query=(query, "N D"), key=(key, "M D"), target=(target, "N M"))
    scaled = unit(query) / temperature
    key = unit(key)
    target = target.to(query.dtype)
    attraction = (scaled * (target @ key)).sum(dim=1)
    return reduce(target.sum(dim=1) * row_logsumexp(scaled, key) - attraction, reduction)


@full_precision
def cwcl(
    trained: Tensor,
    frozen: Tensor,
    *,
    temperature: float | Tensor = 0.07,
    trusted: Tensor | None = None,
) -> Tensor:
    """CWCL's loss: every pair is a positive, as much as its samples are alike in the modality that
    is already trained.

        w_ij = (cos(f_i, f_j) + 1) / 2;   loss = soft InfoNCE of f against z with targets w_ij /
                sum_j w_ij  +  InfoNCE of z against f

    As w is the sum of a constant and of a product of unit rows, it is never made: w z = (sum_j z_j
    + f (f^T z)) / 2.

    Args:
        trained: z, (N, D) of the modality that learns.
        frozen: f, (N, D) of the other.
        temperature: tau, above 0; a scalar tensor receives its gradient.
        trusted: (N, E) features whose similarities are the weights, a constant; None for
            ``frozen``.

    Example:
        >>> import torch
        >>> from nearfar.losses.paired.soft_targets import cwcl
        >>> cwcl(torch.eye(3), torch.eye(3), temperature=0.5)
        tensor(1.4791)

    Source: Srinivasa et al. 2023, "CWCL: Cross-Modal Transfer with Continuously Weighted
    Contrastive Loss", equations 4 to 6; the sum of the directions as a later paper has it.
    """
    expect_rows(trained=trained, frozen=frozen)
    expect_temperature(temperature)
    z = unit(trained)
    f = unit(frozen)
    if trusted is not None:
        expect_shapes(trained=(trained, "N D"), trusted=(trusted, "N E"))
    alike = unit((f if trusted is None else trusted).detach().to(z.dtype))
    scaled = f / temperature
    pulled = (z.sum(dim=0) + alike @ (alike.T @ z)) / 2
    total = (len(z) + alike @ alike.sum(dim=0)) / 2
    forth = row_logsumexp(scaled, z) - (scaled * pulled).sum(dim=1) / total
    return forth.mean() + info_nce(z, f, temperature=temperature)


@full_precision
def mixed_clip(
    mixed: Tensor,
    other: Tensor,
    share: Tensor,
    partner: Tensor,
    *,
    temperature: float | Tensor = 0.1,
) -> Tensor:
    """M3Co's loss: a mixture of two samples must find both in the other modality, each by its
    share; and be found by them.

        t_ii = share_i, t_i,partner(i) += 1 - share_i
        loss = 1/2 mean_i - sum_j t_ij log softmax_j(s_ij)  +  1/2 mean_j - sum_i t_ij
                log softmax_i(s_ij)

    Args:
        mixed: (N, D) of the mixtures share_i x_i + (1 - share_i) x_partner(i).
        other: (N, D) of the unmixed samples in the other modality.
        share: (N,) in [0, 1].
        partner: (N,) int64; where it is the sample itself, the shares add up to 1 (the released
            code overwrites one of them).
        temperature: tau, above 0; a scalar tensor receives its gradient.

    Example:
        >>> import torch
        >>> from nearfar.losses.paired.soft_targets import mixed_clip
        >>> z, share, partner = torch.eye(3), torch.full((3,), 0.5), torch.tensor([1, 2, 0])
        >>> mixed_clip(z + z[partner], z, share, partner)
        tensor(0.6936)

    Source: Kumar et al. 2024, "Harnessing Shared Relations via Multimodal Mixup Contrastive
    Learning", equations 3 and 4.
    """
    expect_rows(mixed=mixed, other=other)
    expect_shapes(mixed=(mixed, "N D"), share=(share, "N"), partner=(partner, "N"))
    expect_temperature(temperature)
    scaled = unit(mixed) / temperature
    other = unit(other)
    share = share.to(mixed.dtype)
    rows, columns = mutual_logsumexp(scaled, other, bound=math.inf)
    attraction = (scaled * (share[:, None] * other + (1 - share)[:, None] * other[partner])).sum(
        dim=1
    )
    found_by = share.index_add(0, partner, 1 - share)  # a column's targets need not sum to 1
    return (rows + found_by * columns - 2 * attraction).mean() / 2


@full_precision
def soft_clip(first: Tensor, second: Tensor, *, temperature: float = 0.125) -> Tensor:
    """MultiSClip's loss: the targets are the second modality's own similarities, and pass gradients
    too.

        T = softmax_j(second_i . second_j / tau);
          loss = 1/2 mean_i - sum_j T_ij [ log softmax_j(first_i . second_j / tau)
                                                                             + log
                                                                             softmax_j(second_i .
                                                                             first_j / tau) ]

    Args:
        first: (N, D).
        second: (N, D).
        temperature: tau, above 0.

    Example:
        >>> import torch
        >>> from nearfar.losses.paired.soft_targets import soft_clip
        >>> soft_clip(torch.eye(3), torch.eye(3))
        tensor(0.0060)

    Source: Kumar et al. 2024, "Harnessing Shared Relations via Multimodal Mixup Contrastive
    Learning", equation 5.
    """
    expect_rows(first=first, second=second)
    expect_temperature(temperature)
    first = unit(first)
    second = unit(second)

    def losses(block: slice) -> Tensor:
        target = torch.softmax(second[block] @ second.T / temperature, dim=1)
        forth = torch.log_softmax(first[block] @ second.T / temperature, dim=1)
        back = torch.log_softmax(second[block] @ first.T / temperature, dim=1)
        return -(target * (forth + back)).sum(dim=1) / 2

    return in_row_blocks(losses, first).mean()
