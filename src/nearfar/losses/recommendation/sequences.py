"""Contrast of item sequences, with a margin against trivial views.

Source: Qin et al. 2023, "Meta-optimized Contrastive Learning for Sequential Recommendation"
(MCLRec).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import relu

from nearfar.losses.kernels.similarity import expect_rows, expect_temperature, full_precision

__all__ = ["margin_regulariser", "meta_contrast", "product_contrast"]


@full_precision
def product_contrast(first: Tensor, second: Tensor, *, temperature: float = 1.0) -> Tensor:
    """NT-Xent of products in the place of cosines.

        loss = mean over the 2 N rows i of
               -log( exp(r_i . r_j / tau) / sum_{k != i} exp(r_i . r_k / tau) ), j its partner

    Args:
        first: (N, D) of one view; NOT made unit rows here.
        second: (N, D) of another.
        temperature: tau, above 0.

    Example:
        >>> import torch
        >>> product_contrast(torch.zeros(2, 3), torch.zeros(2, 3))
        tensor(1.0986)

    Source: Qin et al. 2023, equation 6.
    """
    positive, negatives = _logits(first, second, temperature)
    whole = torch.cat([positive[:, None], negatives], dim=1)
    return (whole.logsumexp(dim=1) - positive).mean()


@full_precision
def margin_regulariser(first: Tensor, second: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Positives come down and negatives up to the margin between them.

        a_i = min(p_i, max_j n_ij),  b_i = max(p_i, max_j n_ij)
        R = mean_i max(p_i - a_i, 0) + mean_ij max(b_i - n_ij, 0)

    p and n are the positive and the negatives of each row in ``product_contrast``. One sample,
    which has no negatives, has 0.

    Args:
        first: (N, D) of one view.
        second: (N, D) of another.
        temperature: tau, above 0.

    Example:
        >>> import torch
        >>> margin_regulariser(torch.eye(2), torch.eye(2))
        tensor(2.)

    Source: Qin et al. 2023, equation 10.
    """
    positive, negatives = _logits(first, second, temperature)
    if not negatives.shape[1]:
        return 0 * positive.sum()
    largest = negatives.amax(dim=1)
    low, high = torch.minimum(positive, largest), torch.maximum(positive, largest)
    return relu(positive - low).mean() + relu(high[:, None] - negatives).mean()


@full_precision
def meta_contrast(
    first: Tensor,
    second: Tensor,
    first_made: Tensor,
    second_made: Tensor,
    *,
    temperature: float = 1.0,
    weight: float = 0.1,
) -> Tensor:
    """Contrast with views that learned augmenters make.

        L = sum of product_contrast + weight * sum of margin_regulariser
        over the pairs (s0, s3), (s1, s2), (s2, s3)

    Args:
        first: (N, D) s0, a sequence in one view.
        second: (N, D) s1, in another.
        first_made: (N, D) s2, made of s0.
        second_made: (N, D) s3, made of s1.
        temperature: tau, above 0.
        weight: From 0 on.

    Example:
        >>> import torch
        >>> z = torch.eye(2)
        >>> meta_contrast(z, z, z, z, weight=0.0)
        tensor(1.6543)

    Source: Qin et al. 2023, equation 11.
    """
    if not weight >= 0:
        raise ValueError(f"The weight of the regulariser is {weight}; expected at least 0.")
    pairs = ((first, second_made), (second, first_made), (first_made, second_made))
    contrasts = [product_contrast(a, b, temperature=temperature) for a, b in pairs]
    margins = [margin_regulariser(a, b, temperature=temperature) for a, b in pairs]
    return torch.stack(contrasts).sum() + weight * torch.stack(margins).sum()


def _logits(first: Tensor, second: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The positive (2 N,) and the negatives (2 N, 2 N - 2) of each row."""
    expect_rows(first=first, second=second)
    expect_temperature(temperature)
    rows, n = torch.cat([first, second]), len(first)
    similarity = rows @ rows.T / temperature
    place = torch.arange(2 * n, device=rows.device)
    partner = (place + n) % (2 * n)
    others = (place != place[:, None]) & (place != partner[:, None])
    return similarity[place, partner], similarity[others].view(2 * n, 2 * n - 2)
