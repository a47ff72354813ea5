"""Several losses in one, each weighted by a learned uncertainty."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.losses.kernels.similarity import full_precision

__all__ = ["log_variance_weighted", "scale_weighted"]


def _expect_one_each(losses: Tensor, learned: Tensor) -> None:
    if losses.ndim != 1 or losses.shape != learned.shape or not len(losses):
        raise UserError(
            f"Expected as many losses as learned numbers, (K,) each, at least one;"
            f" found {tuple(losses.shape)} and {tuple(learned.shape)}."
        )


@full_precision
def log_variance_weighted(
    losses: Tensor, log_variance: Tensor, factors: Sequence[float] | None = None
) -> Tensor:
    """sum_k c_k exp(-s_k) L_k + s_k / 2.

    Args:
        losses: (K,) the losses L.
        log_variance: (K,) learned numbers s; SiT begins at 1.
        factors: c: 1 for classifications, 0.5 for L1 and squared errors; None for 1.

    Example:
        >>> import torch
        >>> from nearfar.losses.dense.uncertainty import log_variance_weighted
        >>> log_variance_weighted(torch.tensor([1.0, 2.0]), torch.zeros(2), (1.0, 0.5))
        tensor(2.)

    Source: Kendall et al. 2018; as in SiT's first version (Atito et al. 2021).
    """
    _expect_one_each(losses, log_variance)
    weights = [1.0] * len(losses) if factors is None else list(factors)
    if len(weights) != len(losses):
        raise UserError(f"{len(losses)} losses need as many factors; found {len(weights)}.")
    scaled = losses.new_tensor(weights) * (-log_variance).exp() * losses
    return (scaled + log_variance / 2).sum()


@full_precision
def scale_weighted(losses: Tensor, scale: Tensor) -> Tensor:
    """L_k / (2 s_k^2) + ln(1 + s_k^2) of each loss.

    Args:
        losses: (K,) the losses L.
        scale: (K,) learned numbers s, not 0; SiT begins at 1.

    Returns:
        (K,), to be summed.

    Example:
        >>> import torch
        >>> from nearfar.losses.dense.uncertainty import scale_weighted
        >>> scale_weighted(torch.tensor([2.0]), torch.tensor([1.0]))
        tensor([1.6931])

    Source: Liebel and Koerner 2018; as in SiT's second version.
    """
    _expect_one_each(losses, scale)
    square = scale.square()
    return losses / (2 * square) + torch.log1p(square)
